//! Appends to lists and reads of whole lists, a few of each in a transaction. Any anomaly shows in the reads; see
//! [`crate::check::list_append`].

use basalt_base::Key;
use basalt_kv_api::LockStrength;
use basalt_txn::{Error, ReadOptions, Result, Txn};
use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Context,
    recorded::{Recorded, Rotation},
    row_key, versions,
};
use crate::check::{Level, history::Operation, list_append};

const LISTS: u8 = b'y';
const SLOTS: u64 = 5;
/// Appends and reads of a list, about.
const USES_MAX: u64 = 120;

/// What a transaction will do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append { key: u64, value: u64, lock: Option<LockStrength> },
    Read { key: u64 },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct ListAppend {
    context: Context,
    keys: Rotation,
    recorded: Recorded,
}

impl ListAppend {
    pub fn new(context: Context) -> Self {
        let recorded = Recorded::new(context.clone(), "list-append");
        Self { context, keys: Rotation::new(SLOTS, USES_MAX), recorded }
    }

    pub async fn step(&self, client: usize) {
        let plan: Vec<Step> = (0..=self.context.below(4)).map(|_| self.draw()).collect();
        let intended = plan.iter().filter_map(|step| match step {
            Step::Append { key, value, .. } => Some(Operation::Append { key: *key, value: *value }),
            Step::Read { .. } => None,
        });
        let intended = intended.collect();
        let body = move |txn: Txn| {
            let plan = plan.clone();
            async move {
                let mut done = Vec::new();
                for step in plan {
                    done.push(run(&txn, step).await?);
                    txn.flush_if_needed().await?;
                }
                Ok(done)
            }
        };
        self.recorded.transact(client, intended, body).await;
    }

    fn draw(&self) -> Step {
        let context = &self.context;
        let key = self.keys.key(context);
        if context.rng.coin() {
            return Step::Read { key };
        }
        // The event is unique.
        let lock = context.one_in(3).then_some(LockStrength::Exclusive);
        Step::Append { key, value: context.event(), lock }
    }

    /// Reads every list and judges the history.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let started = self.context.event();
        let mut operations = Vec::new();
        for key in self.keys.keys() {
            operations.push(run(txn, Step::Read { key }).await?);
        }
        self.recorded.judge(started, operations, |history| list_append::check(history, Level::Serializable));
        Ok(())
    }

    /// Judges the versions that the nodes hold. Not while there are locks.
    pub fn check_versions(&self) {
        let key = |number| number % 1_000_000 * SLOTS + number / 1_000_000;
        let last = |list: &[u8]| list.last_chunk().map(|element| u64::from_be_bytes(*element));
        if let Some(dump) = versions::dump(&self.context, LISTS, key, last) {
            self.recorded.judge_versions(&dump);
        }
    }

    pub fn committed(&self) -> usize {
        self.recorded.committed()
    }
}

/// Does one step as a statement of its own.
async fn run(txn: &Txn, step: Step) -> Result<Operation> {
    txn.statement();
    match step {
        Step::Append { key, value, lock } => {
            let row = list_key(key);
            let list = txn.get(&row, ReadOptions { lock, ..ReadOptions::default() }).await?;
            let mut longer = BytesMut::from(list.as_deref().unwrap_or_default());
            longer.put_u64(value);
            txn.put(row, longer.freeze())?;
            Ok(Operation::Append { key, value })
        }
        Step::Read { key } => {
            let list = txn.get(&list_key(key), ReadOptions::default()).await?;
            Ok(Operation::ReadList { key, values: list.map(elements).transpose()? })
        }
    }
}

/// Lists that follow each other lie apart, so that splits come between them.
fn list_key(key: u64) -> Key {
    row_key(LISTS, key % SLOTS * 1_000_000 + key / SLOTS)
}

fn elements(list: Bytes) -> Result<Vec<u64>> {
    let (elements, rest) = list.as_chunks();
    if !rest.is_empty() {
        let text = format!("workload: a list of {} bytes", list.len());
        return Err(Error::Store(basalt_kv_api::Error::Internal(text)));
    }
    Ok(elements.iter().map(|element| u64::from_be_bytes(*element)).collect())
}
