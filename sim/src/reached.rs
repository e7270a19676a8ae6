//! Corners that a run came to.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// A check says nothing about what never happens: so workloads count it. Clones share the counts.
#[derive(Clone, Default)]
pub struct Reached {
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Reached {
    /// Everything that some seeds must come to.
    pub const ALL: [&'static str; 15] = [
        "anchor without a write",
        "anchor without a write, split meanwhile",
        "cancelled statement",
        "cancelled flush",
        "cancelled background flush",
        "cancelled commit",
        "rollback after a cancel",
        "restart after a cancel",
        "rollback to a savepoint after a cancel",
        "dropped after a cancel",
        "insert",
        "duplicate told by the store",
        "nowait refused",
        "locked rows skipped",
        "free again at the answer",
    ];

    pub fn count(&self, what: &'static str) {
        debug_assert!(Self::ALL.contains(&what), "{what}");
        *self.counts.lock().entry(what).or_default() += 1;
    }

    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts.lock())
    }
}
