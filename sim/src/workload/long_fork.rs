//! Single blind writes, each to a key of its own, and reads of whole groups of keys; see [`crate::check::long_fork`].
//! Nothing orders the writes but the store, and all readers must see one order.

use std::sync::Arc;

use basalt_base::Key;
use basalt_txn::{ReadOptions, Result, Txn};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Context, recorded::Recorded, row_key, row_number, row_value};
use crate::check::{history::Operation, long_fork};

const KEYS: u8 = b'k';
/// Keys in a group.
const GROUP: u64 = 4;

/// Cheap to clone.
#[derive(Clone)]
pub struct LongFork {
    context: Context,
    /// The next key to be written.
    next: Arc<Mutex<u64>>,
    recorded: Recorded,
}

impl LongFork {
    pub fn new(context: Context) -> Self {
        let recorded = Recorded::new(context.clone(), "long fork");
        Self { context, next: Arc::default(), recorded }
    }

    pub async fn step(&self, client: usize) {
        if self.context.one_in(4) {
            self.write(client).await;
        } else {
            // The group that is being written, or the one before.
            let group = (*self.next.lock() / GROUP).saturating_sub(self.context.below(2));
            let together = self.context.rng.coin();
            let body = move |txn: Txn| async move { read(&txn, group, together).await };
            self.recorded.transact(client, Vec::new(), body).await;
        }
    }

    async fn write(&self, client: usize) {
        let key = {
            let mut next = self.next.lock();
            *next += 1;
            *next - 1
        };
        let write = Operation::Write { key, value: key };
        let intended = vec![write.clone()];
        let body = move |txn: Txn| {
            let write = write.clone();
            async move {
                txn.put(fork_key(key), row_value(key, 0))?;
                Ok(vec![write])
            }
        };
        self.recorded.transact(client, intended, body).await;
    }

    /// Judges the history; a last read could not tell orders apart.
    pub async fn check(&self, _txn: &Txn) -> Result<()> {
        let started = self.context.event();
        self.recorded.judge(started, Vec::new(), long_fork::check);
        Ok(())
    }

    pub fn committed(&self) -> usize {
        self.recorded.committed()
    }
}

/// All keys of a group.
async fn read(txn: &Txn, group: u64, together: bool) -> Result<Vec<Operation>> {
    let keys: Vec<u64> = (0..GROUP).map(|position| group * GROUP + position).collect();
    let rows: Vec<Key> = keys.iter().map(|key| fork_key(*key)).collect();
    let values = if together {
        txn.get_many(&rows, ReadOptions::default()).await?
    } else {
        let mut values = Vec::new();
        for row in rows {
            values.push(txn.get(&row, ReadOptions::default()).await?);
        }
        values
    };
    let number = |value: Option<Bytes>| value.as_deref().and_then(row_number);
    let reads = keys.into_iter().zip(values);
    Ok(reads.map(|(key, value)| Operation::Read { key, value: number(value) }).collect())
}

/// The keys of a group lie apart, so that splits come between them.
fn fork_key(key: u64) -> Key {
    row_key(KEYS, key % GROUP * 1_000_000 + key / GROUP)
}
