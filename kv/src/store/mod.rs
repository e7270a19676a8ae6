//! One store: its ranges, the concurrency control over them, and the background work.

mod clock_keeper;
mod detach;
mod execute;
mod garbage;
mod janitor;
mod latching;
mod lock_compaction;
mod open;
mod proposal;
mod range_list;
mod resolving;
mod split;
mod split_key;
mod together;
mod verdict;
mod waiting;

use std::sync::{Arc, OnceLock, atomic::AtomicU64};

use basalt_base::{HlcClock, Timestamp};
use basalt_env::Env;
use basalt_kv_api::{Error, Result};
use basalt_raft::{RaftCounts, RaftHandle, StoreIdent};

use crate::{
    concurrency::{Latches, LockTable, TimestampCache, TxnMarkers},
    config::StoreConfig,
    counts::{Counters, KvCounts},
    replica::RangeStates,
    routing::RangeCache,
};

pub use proposal::raft_error;
pub use range_list::RangeInfo;

/// See [`Store::open`].
pub struct Store {
    env: Env,
    config: StoreConfig,
    ident: StoreIdent,
    incarnation: u64,
    clock: HlcClock,
    raft: OnceLock<RaftHandle>,
    pub(crate) states: Arc<RangeStates>,
    latches: Arc<Latches>,
    locks: Arc<LockTable>,
    reads: TimestampCache,
    markers: TxnMarkers,
    pub(crate) cache: RangeCache,
    pub(crate) counters: Counters,
    janitor: janitor::Janitor,
    resolving: resolving::Resolving,
    lock_compaction: lock_compaction::LockCompaction,
    splitter: split::Splitter,
    last_range_id: AtomicU64,
}

impl Store {
    /// A reading of the node's hybrid logical clock.
    pub fn now(&self) -> Result<Timestamp> {
        self.clock.now().map_err(|error| Error::Unavailable(error.to_string()))
    }

    pub fn counts(&self) -> KvCounts {
        self.counters.snapshot()
    }

    pub fn raft_counts(&self) -> RaftCounts {
        self.raft().counts()
    }

    pub fn ident(&self) -> StoreIdent {
        self.ident
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Ended transactions whose locks are on their way out.
    pub fn transactions_resolving(&self) -> usize {
        self.resolving.len()
    }

    /// Latches declared now: zero when nothing is in flight.
    pub fn latches_held(&self) -> usize {
        self.latches.len()
    }

    /// Stops cleanly: what was applied is flushed, and the next start need not skip time.
    pub async fn shutdown(&self) -> Result<()> {
        // Requests go on until the log stops; none of them may read the clock above what is recorded.
        let clock = self.clock.freeze();
        self.raft().shutdown(Some(clock)).await.map_err(raft_error)
    }

    /// Waits until the store has failed for good, and gives the cause: the log's disk, or the state engine. Never
    /// completes for a store that is shut down. What was synced is safe, but no request will succeed any more.
    pub async fn until_failed(&self) -> String {
        match self.raft().until_stopped().await {
            basalt_raft::Error::Stopped => std::future::pending().await,
            basalt_raft::Error::Poisoned(cause) => cause,
            error => error.to_string(),
        }
    }

    fn raft(&self) -> &RaftHandle {
        self.raft.get().expect("set before the store is handed out")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The background tasks look whether the store still exists, and end.
        self.splitter.wake().notify_one();
        self.janitor.wake().notify_one();
        self.lock_compaction.wake().notify_one();
    }
}
