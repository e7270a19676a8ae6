//! Gives back what the locks of large transactions have left.
//!
//! A resolved lock is a deleted entry, which every cursor over the lock family must step over until the engine has
//! rewritten the files. That comes by itself only when more is written there; after a large transaction it is asked for:
//! one span at a time, never more often than every few seconds, on a thread of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::Span;
use basalt_storage::Family;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Store, open::alive};

/// Locks that are worth a compaction.
pub const LOCKS_MIN: u64 = 20_000;
const PAUSE: Duration = Duration::from_secs(2);
/// Spans waiting; what does not find room is compacted when more is written there.
const QUEUE_MAX: usize = 1_024;

/// The spans that wait.
#[derive(Default)]
pub struct LockCompaction {
    queue: Mutex<VecDeque<Span>>,
    wake: Arc<Notify>,
}

impl LockCompaction {
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// The locks of a transaction in these spans are gone, so many of them.
    pub fn add(&self, spans: &[Span], locks: u64) {
        if locks < LOCKS_MIN {
            return;
        }
        let mut queue = self.queue.lock();
        for span in spans {
            if queue.len() < QUEUE_MAX && !queue.contains(span) {
                queue.push_back(span.clone());
            }
        }
        self.wake.notify_one();
    }
}

impl Store {
    pub(super) async fn run_lock_compaction(store: Weak<Self>, wake: Arc<Notify>) {
        loop {
            let next = {
                let Some(store) = alive(&store) else { return };
                let next = store.lock_compaction.queue.lock().pop_front();
                if let Some(span) = &next {
                    if let Err(error) = store.states.engine.compact_deleted(Family::Lock, span) {
                        tracing::debug!(%error, "locks that are gone were not compacted");
                    }
                    store.env.spawner.sleep(PAUSE).await;
                }
                next
            };
            if next.is_none() {
                wake.notified().await;
            }
        }
    }
}
