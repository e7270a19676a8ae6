//! Counters of a store, for metrics and budgets.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the store was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct RaftCounts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Default)]
        pub(crate) struct Counters { $(pub $name: AtomicU64,)* }

        impl Counters {
            pub fn snapshot(&self) -> RaftCounts {
                RaftCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// `fdatasync` calls of the log.
    fsyncs,
    /// Bytes written to the log, framing included.
    log_bytes,
    /// Entries appended to the log.
    entries,
    /// Turns of the store loop that had something to do.
    rounds,
    /// Commands accepted by Raft.
    proposals,
    /// Entries handed to the state machine.
    applied,
    /// Calls of the state machine's `apply`.
    apply_batches,
    /// Times a replica here began to lead.
    leader_changes,
    /// Messages handed to the transport.
    messages,
    /// Snapshots made for, and installed from, other replicas.
    snapshots_sent,
    snapshots_installed,
    /// Learners added, learners that became voters, and joint configurations entered, as replicas here have applied it.
    learners_added,
    promotions,
    joint_changes,
    /// Flushes of the state machine that the log asked for.
    flushes,
    /// Segment files removed.
    segments_removed,
    /// Entry reads that missed the cache.
    cache_misses,
    /// Walks over the whole cache of entries.
    cache_recounts,
    /// Times a replica here fell asleep because its group was idle.
    sleeps,
    /// Timer ticks of the loop; an idle store of lone voters, or of sleeping groups, has none.
    ticks,
}

impl Counters {
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
