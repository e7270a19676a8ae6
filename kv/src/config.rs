//! Limits and intervals of a store.

use std::time::Duration;

use basalt_base::{NodeId, StoreId, limits::RANGE_BYTES_MAX};
use basalt_raft::StoreIdent;

/// Smallest permitted [`StoreConfig::range_bytes_max`].
pub const RANGE_BYTES_MIN: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Used at bootstrap only.
    pub node_id: NodeId,
    pub store_id: StoreId,
    /// Of the cluster that a new store begins; random if `None`. Used at bootstrap only.
    pub cluster_id: Option<u128>,
    /// A range above this size splits. At least [`RANGE_BYTES_MIN`].
    pub range_bytes_max: u64,
    /// How long old versions stay readable.
    pub version_ttl: Duration,
    /// A range is garbage-collected when its garbage exceeds this many bytes and a fifth of its size.
    pub garbage_bytes_min: u64,
    /// How often ranges that changed are looked at for garbage.
    pub gc_interval: Duration,
    /// A transaction without a sign of life for this long may be aborted by others.
    pub txn_expiry: Duration,
    /// How long a reader waits for a lock before it pushes the holder.
    pub read_push_delay: Duration,
    /// How long a writer waits for a lock before it looks whether the holder is alive; doubles up to a
    /// quarter of a second.
    pub write_push_delay: Duration,
    /// Unreplicated locks of one transaction.
    pub txn_locks_max: usize,
    /// Requests waiting for one key.
    pub lock_queue_max: usize,
    /// Entries per generation of the timestamp cache.
    pub timestamp_cache_entries: usize,
    /// Entries per generation of the transaction markers.
    pub txn_markers_max: usize,
    /// Ranges of one one-phase commit, if this store has their only replicas; one at least.
    pub together_ranges_max: usize,
    /// How far clocks of different nodes may differ.
    pub clock_offset_max: Duration,
    /// The cluster that a new store joins; `None` makes a cluster of its own.
    pub join: Option<StoreIdent>,
    /// How long a lease lasts when it is not extended.
    pub lease_duration: Duration,
    /// Replicas of each range: 1, 3 or 5. Fewer while there are fewer nodes.
    pub replicas_wanted: usize,
    /// How far behind the clock of its leaseholder a range with several replicas is closed to writes.
    pub closed_lag: Duration,
    /// How often ranges are looked at for replicas to add or remove.
    pub replicate_interval: Duration,
    /// Whether leases and replicas move so that nodes have equal parts of the work, and busy ranges split.
    pub balances: bool,
    /// A range that is asked for more in a second splits, so that nodes can share it.
    pub split_requests: u64,
    /// A node that was silent for so long is taken for dead: its replicas are replaced.
    pub dead_after: Duration,
    /// How long a request looks for somebody who serves its range.
    pub routing_patience: Duration,
    /// How long a request waits for the log of a range with several replicas, or for the latches of one that does.
    pub proposal_patience: Duration,
    /// Checks the invariants that cost more than a comparison, too: for simulations.
    pub verify: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            node_id: NodeId(1),
            store_id: StoreId(1),
            cluster_id: None,
            range_bytes_max: RANGE_BYTES_MAX,
            version_ttl: Duration::from_secs(600),
            garbage_bytes_min: 1 << 20,
            gc_interval: Duration::from_secs(10),
            txn_expiry: Duration::from_secs(2),
            read_push_delay: Duration::from_millis(5),
            write_push_delay: Duration::from_millis(100),
            txn_locks_max: 100_000,
            lock_queue_max: 10_000,
            timestamp_cache_entries: 128 << 10,
            txn_markers_max: 64 << 10,
            together_ranges_max: 16,
            clock_offset_max: Duration::from_millis(250),
            join: None,
            lease_duration: Duration::from_secs(2),
            replicas_wanted: 3,
            closed_lag: Duration::from_secs(3),
            replicate_interval: Duration::from_secs(1),
            balances: true,
            split_requests: 2_500,
            dead_after: Duration::from_secs(30),
            routing_patience: Duration::from_secs(10),
            proposal_patience: Duration::from_secs(5),
            verify: false,
        }
    }
}
