//! Counters of the traffic between nodes.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the node has started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PeerCounts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Default)]
        pub(super) struct Counters { $(pub $name: AtomicU64,)* }

        impl Counters {
            pub fn snapshot(&self) -> PeerCounts {
                PeerCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    frames_received,
    /// Frames that nobody can read, or that are too large.
    frames_malformed,
    /// Of another cluster, or of a version that this one does not speak.
    frames_foreign,
    /// From or to an earlier incarnation of a node.
    frames_stale,
    /// Frames whose clock reading is further ahead than clocks may differ.
    clocks_too_far_ahead,
    calls_sent,
    calls_lost,
    /// Calls and replies that were sent once more because they may have been lost.
    frames_resent,
    calls_served,
    calls_cancelled,
    /// Calls that had arrived before.
    calls_repeated,
    calls_refused,
    peers_lost,
}

impl Counters {
    pub fn increment(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}
