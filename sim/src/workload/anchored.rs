//! Counters behind locks of rows that nobody writes. Such a row is the transaction's anchor: its record, which the
//! heartbeats of a slow transaction have made, lies in a range in which the commit writes nothing else.
//!
//! A counter is two rows, and counts the acknowledged commits: one applied by half, or twice, can't hide.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, Result, Txn, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, row_key, row_number, row_value, transact};
use crate::nemesis::begin_split;

const LOCKS: u8 = b'l';
const COUNTERS: u8 = b'w';
const COUNT: u64 = 3;
/// Room for splits behind a row of locks.
const LOCK_DISTANCE: u64 = 1_000_000;

/// After two seconds every transaction has a record.
const PAUSE_MIN_MS: u64 = 2_100;

#[derive(Clone, Copy, Default)]
struct Tally {
    acknowledged: u64,
    unknown: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Anchored {
    context: Context,
    tallies: Arc<Mutex<BTreeMap<u64, Tally>>>,
}

impl Anchored {
    pub fn new(context: Context) -> Self {
        Self { context, tallies: Arc::default() }
    }

    pub async fn step(&self, client: usize) {
        let context = self.context.clone();
        let counter = context.below(COUNT);
        let split = context.rng.coin();
        let in_session = context.clone();
        let body = move |txn: Txn| {
            let context = in_session.clone();
            async move { count_up(&context, &txn, counter, split).await }
        };
        let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry(counter).or_default();
        match &ended {
            Ended::Committed(apart, _) => {
                tally.acknowledged += 1;
                if *apart {
                    let what = if split {
                        "anchor without a write, split meanwhile"
                    } else {
                        "anchor without a write"
                    };
                    context.reached.count(what);
                }
            }
            Ended::Unknown(Some(_)) => tally.unknown += 1,
            Ended::Unknown(None) | Ended::Failed(_) | Ended::NotStarted => {}
        }
        context.trace.line(|| format!("client {client} counts {counter} split {split}: {ended:?}"));
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        for counter in 0..COUNT {
            let (low, high) = read(txn, counter).await?;
            let tally = self.tallies.lock().get(&counter).copied().unwrap_or_default();
            let possible = tally.acknowledged..=tally.acknowledged + tally.unknown;
            if low != high || !possible.contains(&low) {
                self.context.violations.report(format!(
                    "anchored: counter {counter} is {low} and {high} after {} commits and {} perhaps",
                    tally.acknowledged, tally.unknown
                ));
            }
        }
        Ok(())
    }
}

/// Says whether no write is in the anchor's range.
async fn count_up(context: &Context, txn: &Txn, counter: u64, split: bool) -> Result<bool> {
    let anchor = row_key(LOCKS, counter * LOCK_DISTANCE);
    txn.get(&anchor, ReadOptions::locking(LockStrength::Exclusive)).await?;
    let pause = Duration::from_millis(PAUSE_MIN_MS + context.below(900));
    context.cluster.executor().sleep(pause).await;
    let (low, high) = read(txn, counter).await?;
    let rows = rows(counter);
    txn.put(rows[0].clone(), row_value(low + 1, 0))?;
    txn.put(rows[1].clone(), row_value(high + 1, 0))?;
    txn.flush_if_needed().await?;
    let start = context.cluster.range_start(&anchor);
    let apart = rows.iter().all(|row| context.cluster.range_start(row) != start);
    if split {
        // Under way when the commit begins.
        let key = row_key(LOCKS, counter * LOCK_DISTANCE + 1 + context.below(LOCK_DISTANCE - 1));
        drop(begin_split(context, &context.cluster, key));
        context.cluster.executor().steps(context.below(60)).await;
    }
    Ok(apart)
}

fn rows(counter: u64) -> [basalt_base::Key; 2] {
    [row_key(COUNTERS, counter), row_key(COUNTERS, 1_000 + counter)]
}

async fn read(txn: &Txn, counter: u64) -> Result<(u64, u64)> {
    let values = txn.get_many(&rows(counter), ReadOptions::default()).await?;
    let number = |value: &Option<bytes::Bytes>| value.as_deref().and_then(row_number).unwrap_or(0);
    Ok((number(&values[0]), number(&values[1])))
}
