//! Counters of a store, for metrics and budgets.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the store was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct KvCounts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Default)]
        pub(crate) struct Counters { $(pub $name: AtomicU64,)* }

        impl Counters {
            pub fn snapshot(&self) -> KvCounts {
                KvCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Batches sent to one range.
    batches,
    gets,
    scans,
    puts,
    deletes,
    end_txns,
    pushes,
    resolves,
    refreshes,
    /// Requests of all other kinds.
    others,
    commits_one_phase,
    /// Of these, those over several ranges.
    commits_together,
    commits_two_phase,
    aborts,
    /// Commits staged, pushes that met one, and what became of those that somebody else than their owner has decided.
    stagings,
    staging_pushes,
    recovered_commits,
    recovered_aborts,
    /// Commands proposed, and those that the apply checks turned down.
    proposals,
    rejections,
    latch_waits,
    lock_waits,
    deadlocks,
    write_too_old,
    /// Reads that met a value of which it was not certain that it was written later than they began.
    uncertain_reads,
    /// Evaluations repeated in place at a higher timestamp.
    forwarded,
    splits,
    /// Of these, those of ranges that were busy.
    splits_by_load,
    gc_runs,
    /// Batches that crossed a range boundary, and those whose routing was stale.
    batches_divided,
    routing_refreshes,
    /// Batches sent to other nodes, and taken from them.
    batches_sent,
    batches_taken,
    /// Passed on between two nodes that can't reach each other.
    batches_relayed,
    /// Batches answered by a replica for which no lease was needed, and those that it had to leave to the leaseholder.
    follower_reads,
    follower_refusals,
    /// Leases proposed, of these those that follow another node's, and leases given to other nodes.
    lease_proposals,
    lease_takeovers,
    lease_transfers,
    /// Leases and replicas that moved so that nodes have equal parts of the work.
    leases_balanced,
    replicas_balanced,
    /// Replicas added to ranges served here, and removed from them.
    replicas_added,
    replicas_removed,
    /// Replicas that left this store.
    replicas_destroyed,
}

impl Counters {
    pub fn increment(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}
