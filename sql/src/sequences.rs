//! The values of sequences.
//!
//! `nextval` is not part of the transaction that asks: what it gave is never taken back, so that nobody waits for
//! another's transaction. A value must not be given twice, not even after a crash; therefore the stored value runs ahead
//! of what has been given, by up to [`AHEAD`] values, and one write serves that many calls. A crash skips the rest.
//!
//! | key | value |
//! |---|---|
//! | `05 ‖ 'S' ‖ sequence ‖ generation` | i64 last value that may have been given, u8 whether it has been |

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, codec, keys};
use basalt_planner::{Table, TableKind, catalog::Sequence};
use basalt_txn::{ReadOptions, TxnClient, TxnConfig};
use basalt_types::{Oid, Result, SqlError, SqlState};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use crate::error::sql_error;

/// Values written ahead, as PostgreSQL logs them.
const AHEAD: usize = 32;

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub last: i64,
    pub called: bool,
    /// Values that may still be given without a write.
    pub ahead: usize,
}

/// The sequences that this node has used.
#[derive(Default)]
pub struct Sequences {
    states: Mutex<BTreeMap<(Oid, u32), Arc<tokio::sync::Mutex<Option<Position>>>>>,
}

impl Sequences {
    fn state(&self, table: &Table, sequence: &Sequence) -> Arc<tokio::sync::Mutex<Option<Position>>> {
        self.states.lock().entry((table.id, sequence.generation)).or_default().clone()
    }

    /// Gives the next value.
    pub async fn next(&self, client: &TxnClient, table: &Table) -> Result<i64> {
        let sequence = parameters(table)?;
        let state = self.state(table, sequence);
        let mut state = state.lock().await;
        let mut position = match *state {
            Some(position) => position,
            None => load(client, table, sequence).await?,
        };
        let value = advance(&position, sequence, &table.name)?;
        if position.ahead == 0 {
            let mut far = Position { last: value, called: true, ahead: 0 };
            while far.ahead < AHEAD {
                let Ok(next) = advance(&far, sequence, &table.name) else { break };
                far = Position { last: next, called: true, ahead: far.ahead + 1 };
            }
            store(client, table, sequence, far.last, true).await?;
            position.ahead = far.ahead + 1;
        }
        *state = Some(Position { last: value, called: true, ahead: position.ahead - 1 });
        Ok(value)
    }

    /// Sets the value that was given last (`called`) or that comes next.
    pub async fn set(&self, client: &TxnClient, table: &Table, value: i64, called: bool) -> Result<()> {
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
        store(client, table, sequence, value, called).await?;
        *state = Some(Position { last: value, called, ahead: 0 });
        Ok(())
    }

    pub async fn position(&self, client: &TxnClient, table: &Table) -> Result<Position> {
        let sequence = parameters(table)?;
        let state = self.state(table, sequence);
        let mut state = state.lock().await;
        let position = match *state {
            Some(position) => position,
            None => load(client, table, sequence).await?,
        };
        *state = Some(position);
        Ok(position)
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
    let (last, called) = match stored.map_err(sql_error)? {
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

async fn store(
    client: &TxnClient,
    table: &Table,
    sequence: &Sequence,
    last: i64,
    called: bool,
) -> Result<()> {
    let key = value_key(table.id, sequence.generation);
    let mut value = BytesMut::with_capacity(9);
    value.put_i64(last);
    value.put_u8(u8::from(called));
    let value = value.freeze();
    client
        .run(TxnConfig::default(), |txn| {
            let (key, value) = (key.clone(), value.clone());
            async move {
                txn.put(key, value)?;
                Ok::<_, basalt_txn::Error>(())
            }
        })
        .await
        .map_err(sql_error)
}

/// Where the value of a sequence is stored.
pub fn value_key(sequence: Oid, generation: u32) -> Key {
    let mut key = BytesMut::with_capacity(10);
    key.put_slice(&[keys::SYSTEM_PREFIX, b'S']);
    codec::encode_u32(&mut key, sequence.0);
    codec::encode_u32(&mut key, generation);
    Bytes::from(key)
}
