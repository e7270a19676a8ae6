//! Counters of the coordinator.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters of a [`crate::TxnClient`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// A reading of the counters.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct TxnCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> TxnCounts {
                TxnCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    begins,
    /// Commits acknowledged, read-only ones too.
    commits,
    /// Commits in one phase.
    one_phase,
    /// Commits in one round over several ranges; those that were staged and went on above; and those that were found to
    /// be committed or aborted after an answer was lost.
    staged,
    staged_in_vain,
    found_committed,
    found_aborted,
    rollbacks,
    /// Successful moves of a read timestamp.
    refreshes,
    refresh_failures,
    /// Batches sent again after a refresh.
    batch_retries,
    /// Restarts of whole transactions.
    restarts,
    /// Write batches sent before commit.
    flushes,
    /// Commits whose outcome is unknown.
    ambiguous,
    heartbeats,
    /// Resolutions that ran before the acknowledgement because too many were under way.
    resolutions_inline,
}

pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
