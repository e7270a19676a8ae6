//! One store: its ranges, the concurrency control over them, and the background work.

mod above;
mod admission;
mod allocator;
mod balance;
mod balance_plan;
mod clock_keeper;
mod cluster_ranges;
mod damage;
mod detach;
mod drain;
mod execute;
mod fencing;
mod following;
mod frames;
mod fullness;
mod garbage;
mod invariants;
mod janitor;
mod latching;
mod lease;
mod leaving;
mod lock_compaction;
mod network;
mod node_states;
pub(crate) mod open;
mod proposal;
mod range_list;
mod recovering;
mod removal;
mod replicate;
mod resolving;
mod split;
mod split_key;
mod split_load;
mod sweeping;
mod tidying;
mod together;
mod verdict;
mod waiting;
mod watcher;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use basalt_base::{HlcClock, NodeId, RangeId, ReplicaId, Timestamp};
use basalt_env::Env;
use basalt_kv_api::{Directory, Error, Result};
use basalt_raft::{RaftCounts, RaftHandle, StoreIdent};
use parking_lot::Mutex;

use crate::{
    concurrency::{Dependents, Latches, LockTable, TimestampCache, TxnMarkers},
    config::StoreConfig,
    counts::{Counters, KvCounts},
    peer::Peers,
    replica::{Applies, RangeStates},
    routing::{Breakers, RangeCache, Resolutions},
};

pub use above::Above;
pub use balance::NodeLoad;
pub use cluster_ranges::ClusterRange;
pub use drain::DrainProgress;
pub(crate) use execute::decides;
pub use network::Network;
pub use node_states::{LeaveProgress, NodeState};
pub use open::StoreLog;
pub use proposal::raft_error;
pub use range_list::{RangeInfo, ReplicaInfo};

/// See [`Store::open`].
pub struct Store {
    env: Env,
    config: StoreConfig,
    ident: StoreIdent,
    incarnation: u64,
    clock: Arc<HlcClock>,
    watcher: OnceLock<Arc<dyn Applies>>,
    raft: OnceLock<RaftHandle>,
    pub(crate) states: Arc<RangeStates>,
    latches: Arc<Latches>,
    locks: Arc<LockTable>,
    reads: TimestampCache,
    markers: TxnMarkers,
    dependents: Dependents,
    pub(crate) cache: RangeCache,
    pub(crate) breakers: Breakers,
    pub(crate) resolutions: Resolutions,
    pub(crate) counters: Counters,
    janitor: janitor::Janitor,
    resolving: resolving::Resolving,
    recoveries: recovering::Recoveries,
    lock_compaction: lock_compaction::LockCompaction,
    splitter: split::Splitter,
    leases: lease::Leases,
    peers: Arc<Peers>,
    directory: Arc<dyn Directory>,
    wires: Arc<network::RaftWires>,
    suspects: removal::Suspects,
    balance: balance::Balance,
    load_splits: split_load::LoadSplits,
    fence: fencing::Fence,
    above: OnceLock<Arc<dyn Above>>,
    fullness: fullness::Fullness,
    draining: drain::Draining,
    node_states: node_states::NodeStates,
    /// When this process began, of the monotonic clock.
    started: Duration,
    /// When each other node was last seen up.
    seen_up: Mutex<BTreeMap<NodeId, Duration>>,
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

    pub(crate) fn config(&self) -> &StoreConfig {
        &self.config
    }

    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// All nodes of the cluster but this one.
    pub(crate) fn other_nodes(&self) -> Vec<NodeId> {
        let nodes = self.directory.nodes().into_iter().map(|node| node.node_id);
        nodes.filter(|node| *node != self.ident.node_id).collect()
    }

    pub(crate) fn leader_of(&self, range_id: RangeId) -> Option<ReplicaId> {
        self.raft().status(range_id)?.leader
    }

    /// A node came or went: groups that sleep with it must look.
    pub(crate) fn liveness_changed(&self, node_id: NodeId, is_up: bool) {
        tracing::info!(node = %node_id, is_up, "another node");
        for replica in self.states.ranges.all() {
            if let Some(replica_id) = replica.descriptor().replica_on(node_id) {
                if !is_up {
                    self.raft().report_unreachable(replica.range_id, replica_id);
                    self.raft().doubt_leader(replica.range_id, replica_id);
                }
                self.raft().wake(replica.range_id);
            }
        }
    }

    /// Moves the clock past a reading of another node. One that is too far ahead is not believed.
    pub(crate) fn hear_of(&self, reading: Timestamp) {
        if let Err(error) = self.clock.update(reading) {
            tracing::debug!(%error, "a reading of another clock was ignored");
        }
    }

    /// Ended transactions whose locks are on their way out.
    pub fn transactions_resolving(&self) -> usize {
        self.resolving.count(self.env.clock.monotonic())
    }

    /// Latches declared now: zero when nothing is in flight.
    pub fn latches_held(&self) -> usize {
        self.latches.len()
    }

    /// Stops cleanly: nobody is left without an answer, what was applied is flushed, and the next start need not skip time.
    pub async fn shutdown(&self) -> Result<()> {
        self.say_goodbye().await;
        // This node's own requests go on until the log stops; none of them may read the clock above what is recorded.
        let clock = self.clock.freeze();
        self.raft().shutdown(Some(clock)).await.map_err(raft_error)
    }

    /// Waits until the store has failed for good, and gives the cause: the log's disk, the state engine, or the clock. Never
    /// completes for a store that is shut down. What was synced is safe, but no request will succeed any more.
    pub async fn until_failed(&self) -> String {
        let stopped = tokio::select! {
            biased;
            cause = self.until_fenced() => return cause,
            stopped = self.raft().until_stopped() => stopped,
        };
        if stopped != basalt_raft::Error::Stopped {
            self.note_damage().await;
        }
        match stopped {
            basalt_raft::Error::Stopped => std::future::pending().await,
            basalt_raft::Error::Poisoned(cause) => cause,
            error => error.to_string(),
        }
    }

    /// For how long the disk has kept the log waiting: milliseconds, unless it stalls. Other nodes take over meanwhile what
    /// this one serves.
    pub fn held_up_for(&self) -> Duration {
        self.raft().held_up_for(self.env.clock.monotonic())
    }

    fn raft(&self) -> &RaftHandle {
        self.raft.get().expect("set before the store is handed out")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The background tasks look whether the store still exists, and end.
        self.peers.stop();
        self.splitter.wake().notify_one();
        self.janitor.wake().notify_one();
        self.lock_compaction.wake().notify_one();
    }
}
