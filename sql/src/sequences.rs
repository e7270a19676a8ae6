//! The values of sequences.
//!
//! `nextval` is not part of the transaction that asks: what it gave is never taken back, so that nobody waits for
//! another's transaction. A value must not be given twice, not even after a crash; therefore the stored value runs ahead
//! of what has been given, by up to [`AHEAD`] values, and one write serves that many calls. A crash skips the rest.
//! Nodes take turns with the stored value, and so give different ones, each from its own share, as PostgreSQL's sessions do
//! with a sequence that has a cache. After `setval` all nodes forget their shares before it returns.
//!
//! | key | value |
//! |---|---|
//! | `05 ‖ 'S' ‖ sequence ‖ generation` | i64 last value that may have been given, u8 whether it has been |

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use basalt_base::{Key, Timestamp, codec, keys};
use basalt_kv_api::LockStrength;
use basalt_planner::{Table, TableKind, catalog::Sequence};
use basalt_txn::{ReadOptions, TxnClient, TxnConfig};
use basalt_types::{Oid, Result, SqlError, SqlState};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use crate::{cluster::rows, error::sql_error, services::SqlServices};

/// Values written ahead, as PostgreSQL logs them.
const AHEAD: usize = 32;
/// Attempts to write a value that others write, too.
const ATTEMPTS_MAX: u32 = 20;

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub last: i64,
    pub called: bool,
    /// Values that may still be given without a write.
    pub ahead: usize,
}

/// One sequence's share, and how often shares had been forgotten when it was taken.
type Shared = Arc<tokio::sync::Mutex<Option<(Position, u64)>>>;

/// The sequences that this node has used.
#[derive(Default)]
pub struct Sequences {
    /// How often the node has forgotten its shares.
    forgotten: AtomicU64,
    states: Mutex<BTreeMap<(Oid, u32), Shared>>,
}

impl Sequences {
    fn state(&self, table: &Table, sequence: &Sequence) -> Shared {
        self.states.lock().entry((table.id, sequence.generation)).or_default().clone()
    }

    /// Gives the next value.
    pub async fn next(&self, client: &TxnClient, table: &Table) -> Result<i64> {
        let sequence = parameters(table)?;
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let state = self.state(table, sequence);
        let mut state = state.lock().await;
        let share = match *state {
            Some((position, since)) if position.ahead > 0 && since == forgotten => Position {
                last: advance(&position, sequence, &table.name)?,
                called: true,
                ahead: position.ahead - 1,
            },
            _ => take_share(client, table, sequence).await?,
        };
        *state = Some((share, forgotten));
        Ok(share.last)
    }

    /// Sets the value that was given last (`called`) or that comes next.
    pub async fn set(
        &self,
        services: &Arc<SqlServices>,
        table: &Table,
        value: i64,
        called: bool,
    ) -> Result<()> {
        let sequence = parameters(table)?;
        if value < sequence.min || value > sequence.max {
            return Err(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    table.name, sequence.min, sequence.max
                ),
            ));
        }
        let state = self.state(table, sequence);
        let mut state = state.lock().await;
        let others = services.cluster.as_ref().filter(|member| member.has_others());
        let commit = store(services, table, sequence, (value, called), others.is_some()).await?;
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        *state = Some((Position { last: value, called, ahead: 0 }, forgotten));
        drop(state);
        if let Some(member) = others {
            crate::cluster::all_know(services, member, commit).await;
        }
        Ok(())
    }

    pub async fn position(&self, client: &TxnClient, table: &Table) -> Result<Position> {
        let sequence = parameters(table)?;
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let state = self.state(table, sequence);
        let mut state = state.lock().await;
        let position = match *state {
            Some((position, since)) if position.ahead > 0 && since == forgotten => position,
            _ => load(client, table, sequence).await?,
        };
        *state = Some((position, forgotten));
        Ok(position)
    }

    /// Gives up what this node has been given and has not used.
    pub fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
    }
}

/// A sequence's parameters; `42809` for any other relation.
pub fn parameters(table: &Table) -> Result<&Sequence> {
    match &table.kind {
        TableKind::Sequence(sequence) => Ok(sequence),
        _ => Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a sequence", table.name))),
    }
}

fn advance(position: &Position, sequence: &Sequence, name: &str) -> Result<i64> {
    if !position.called {
        return Ok(position.last);
    }
    let next = position.last.checked_add(sequence.increment);
    if let Some(next) = next.filter(|next| (sequence.min..=sequence.max).contains(next)) {
        return Ok(next);
    }
    let (bound, value, restart) = if sequence.increment > 0 {
        ("maximum", sequence.max, sequence.min)
    } else {
        ("minimum", sequence.min, sequence.max)
    };
    if sequence.cycle {
        return Ok(restart);
    }
    Err(SqlError::new(
        SqlState(*b"2200H"),
        format!("nextval: reached {bound} value of sequence \"{name}\" ({value})"),
    ))
}

async fn load(client: &TxnClient, table: &Table, sequence: &Sequence) -> Result<Position> {
    let txn = client.begin(TxnConfig::default()).map_err(sql_error)?;
    let stored = txn.get(&value_key(table.id, sequence.generation), ReadOptions::default()).await;
    txn.rollback().await;
    decode(stored.map_err(sql_error)?, table, sequence)
}

fn decode(stored: Option<Bytes>, table: &Table, sequence: &Sequence) -> Result<Position> {
    let (last, called) = match stored {
        Some(mut bytes) if bytes.len() == 9 => (bytes.get_i64(), bytes.get_u8() != 0),
        Some(_) => {
            return Err(SqlError::new(
                SqlState::DATA_CORRUPTED,
                format!("the value of sequence \"{}\" is damaged", table.name),
            ));
        }
        None => sequence.first,
    };
    Ok(Position { last, called, ahead: 0 })
}

/// Takes the next values, to be given by this node alone: the first of them is to be given now.
async fn take_share(client: &TxnClient, table: &Table, sequence: &Sequence) -> Result<Position> {
    let key = value_key(table.id, sequence.generation);
    let taken = client.run(TxnConfig::default(), |txn| {
        let key = key.clone();
        async move {
            let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
            let first = decode(stored, table, sequence)
                .and_then(|position| advance(&position, sequence, &table.name));
            let first = match first {
                Ok(first) => first,
                Err(error) => return Ok::<_, basalt_txn::Error>(Err(error)),
            };
            let mut far = Position { last: first, called: true, ahead: 0 };
            while far.ahead < AHEAD {
                let Ok(next) = advance(&far, sequence, &table.name) else { break };
                far = Position { last: next, called: true, ahead: far.ahead + 1 };
            }
            txn.put(key, encode(far.last, true))?;
            Ok(Ok(Position { last: first, called: true, ahead: far.ahead }))
        }
    });
    taken.await.map_err(sql_error)?
}

fn encode(last: i64, called: bool) -> Bytes {
    let mut value = BytesMut::with_capacity(9);
    value.put_i64(last);
    value.put_u8(u8::from(called));
    value.freeze()
}

/// Writes a value, and has other nodes forget their shares if there are any.
async fn store(
    services: &SqlServices,
    table: &Table,
    sequence: &Sequence,
    (last, called): (i64, bool),
    tells: bool,
) -> Result<Timestamp> {
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let mut attempt = 1;
    loop {
        let written = async {
            txn.put(value_key(table.id, sequence.generation), encode(last, called))?;
            if tells {
                txn.put(rows::sequences_key(), rows::fresh(&*services.env.rng))?;
                rows::tell(&services.env, &txn)?;
            }
            txn.commit().await
        };
        match written.await {
            Ok(commit) => return Ok(commit),
            Err(error) => match error.restart() {
                Some(how) if attempt < ATTEMPTS_MAX => txn.restart(how).await.map_err(sql_error)?,
                _ => return Err(sql_error(error)),
            },
        }
        attempt += 1;
    }
}

/// Where the value of a sequence is stored.
pub fn value_key(sequence: Oid, generation: u32) -> Key {
    let mut key = BytesMut::with_capacity(10);
    key.put_slice(&[keys::SYSTEM_PREFIX, b'S']);
    codec::encode_u32(&mut key, sequence.0);
    codec::encode_u32(&mut key, generation);
    Bytes::from(key)
}
