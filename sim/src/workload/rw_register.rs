//! Reads and writes of several registers in a transaction, some of the writes blind; see
//! [`crate::check::rw_register`]. Each register alone is linearizable too.

use std::time::Duration;

use basalt_base::{Key, Timestamp, timestamp::LOGICAL_BITS};
use basalt_txn::{ReadOptions, Result, Txn};
use bytes::Bytes;

use super::{
    Context,
    recorded::{Recorded, Rotation},
    row_key, row_number, row_value, versions,
};
use crate::Parameters;
use crate::check::{
    Level,
    history::{Operation, Transaction},
    linearizable,
    rw_register::{self, Inference},
};

const REGISTERS: u8 = b'v';
const SLOTS: u64 = 4;
const USES_MAX: u64 = 200;
/// How far back reads of the past go, at most: farther than ranges are closed late.
const PAST_MS: u64 = 6_000;
/// Keys that they read, the newest.
const PAST_KEYS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    /// One after the other, or in one batch.
    Read {
        keys: Vec<u64>,
        together: bool,
    },
    Write {
        key: u64,
        value: u64,
        padding: usize,
    },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct RwRegister {
    context: Context,
    keys: Rotation,
    recorded: Recorded,
}

impl RwRegister {
    pub fn new(context: Context) -> Self {
        let recorded = Recorded::new(context.clone(), "rw-register");
        Self { context, keys: Rotation::new(SLOTS, USES_MAX), recorded }
    }

    /// The same registers for a client that has a connection to one node only.
    #[must_use]
    pub fn at(&self, place: usize) -> Self {
        Self { recorded: self.recorded.at(place), ..self.clone() }
    }

    pub async fn step(&self, client: usize) {
        let plan = (0..=self.context.below(4)).map(|_| self.draw()).collect();
        self.run_plan(client, plan).await;
    }

    pub async fn read(&self, client: usize) {
        self.run_plan(client, vec![self.draw_read()]).await;
    }

    /// A state of the past, recent or not, from whichever node.
    pub async fn read_past(&self, client: usize) {
        let lag = u64::try_from(self.context.parameters.closed_lag.as_millis()).unwrap_or(u64::MAX);
        // Most at what was closed a moment ago.
        let back =
            if self.context.one_in(4) { self.context.below(PAST_MS) } else { lag + self.context.below(300) };
        let back = back << LOGICAL_BITS | self.context.below(1 << LOGICAL_BITS);
        let at = Timestamp(self.recorded.latest_commit().saturating_sub(back).max(1));
        let mut keys = self.keys.keys();
        let older = keys.len().saturating_sub(PAST_KEYS);
        let step = Step::Read { keys: keys.split_off(older), together: self.context.rng.coin() };
        let body = move |txn: Txn| {
            let step = step.clone();
            async move {
                let mut done = Vec::new();
                run(&txn, &step, &mut done).await?;
                Ok(done)
            }
        };
        self.recorded.read_past(client, at, body).await;
    }

    async fn run_plan(&self, client: usize, plan: Vec<Step>) {
        let intended = plan.iter().filter_map(|step| match step {
            Step::Write { key, value, .. } => Some(Operation::Write { key: *key, value: *value }),
            Step::Read { .. } => None,
        });
        let intended = intended.collect();
        let executor = self.context.cluster.executor().clone();
        let pause = self.draw_pause();
        let body = move |txn: Txn| {
            let (plan, executor) = (plan.clone(), executor.clone());
            async move {
                let mut done = Vec::new();
                for step in &plan {
                    run(&txn, step, &mut done).await?;
                    txn.flush_if_needed().await?;
                }
                if let Some(pause) = pause {
                    executor.sleep(pause).await;
                }
                Ok(done)
            }
        };
        self.recorded.transact(client, intended, body).await;
    }

    /// Some transactions dawdle until their ranges are closed to writes where they write.
    fn draw_pause(&self) -> Option<Duration> {
        let Parameters { leases_only, closed_lag, .. } = &*self.context.parameters;
        if *leases_only || !self.context.one_in(8) {
            return None;
        }
        let more = u64::try_from(closed_lag.as_micros()).unwrap_or(u64::MAX);
        Some(*closed_lag + Duration::from_micros(self.context.below(more)))
    }

    fn draw(&self) -> Step {
        let context = &self.context;
        if context.rng.coin() {
            return self.draw_read();
        }
        Step::Write { key: self.keys.key(context), value: context.event(), padding: context.padding() }
    }

    fn draw_read(&self) -> Step {
        let context = &self.context;
        let keys = (0..=context.below(3)).map(|_| self.keys.key(context)).collect();
        Step::Read { keys, together: context.rng.coin() }
    }

    /// Reads every register and judges the history.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let started = self.context.event();
        let mut operations = Vec::new();
        run(txn, &Step::Read { keys: self.keys.keys(), together: false }, &mut operations).await?;
        let clocks_hold = self.context.parameters.clocks_hold();
        self.recorded.judge(started, operations, |history: &[Transaction]| {
            if !clocks_hold {
                return rw_register::check(history, Level::Serializable, Inference::Transactions);
            }
            let mut found = rw_register::check(history, Level::Serializable, Inference::RealTime);
            found.extend(linearizable::check_keys(None, &linearizable::by_key(history)));
            found
        });
        Ok(())
    }

    /// Judges the versions that the nodes hold. Not while there are locks.
    pub fn check_versions(&self) {
        let key = |number| number % 1_000_000 * SLOTS + number / 1_000_000;
        if let Some(dump) = versions::dump(&self.context, REGISTERS, key, row_number) {
            self.recorded.judge_versions(&dump);
        }
    }

    pub fn committed(&self) -> usize {
        self.recorded.committed()
    }
}

/// Does one step as a statement of its own.
async fn run(txn: &Txn, step: &Step, done: &mut Vec<Operation>) -> Result<()> {
    txn.statement();
    let number = |value: Option<Bytes>| value.as_deref().and_then(row_number);
    match step {
        Step::Read { keys, together: true } => {
            let rows: Vec<Key> = keys.iter().map(|key| register_key(*key)).collect();
            let values = txn.get_many(&rows, ReadOptions::default()).await?;
            let reads = keys.iter().zip(values);
            done.extend(reads.map(|(key, value)| Operation::Read { key: *key, value: number(value) }));
        }
        Step::Read { keys, together: false } => {
            for key in keys {
                let value = number(txn.get(&register_key(*key), ReadOptions::default()).await?);
                done.push(Operation::Read { key: *key, value });
            }
        }
        Step::Write { key, value, padding } => {
            txn.put(register_key(*key), row_value(*value, *padding))?;
            done.push(Operation::Write { key: *key, value: *value });
        }
    }
    Ok(())
}

/// Registers that follow each other lie apart, so that splits come between them.
fn register_key(key: u64) -> Key {
    row_key(REGISTERS, key % SLOTS * 1_000_000 + key / SLOTS)
}
