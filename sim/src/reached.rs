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

    /// Everything that some seeds of a cluster must come to. Not yet joint configurations: nobody asks for several changes
    /// of a membership at once.
    pub const CLUSTER: [&'static str; 31] = [
        "partition: one node alone",
        "partition: two halves",
        "partition: everybody sees another majority",
        "partition: one direction",
        "partition: one pair",
        "partition: messages wait",
        "crash",
        "disk full",
        "disk stall",
        "message dropped",
        "message duplicated",
        "message slow",
        "split",
        "lease transfer",
        "lease of another node taken over",
        "leader elected",
        "snapshot installed",
        "learner added",
        "learner promoted",
        "replica added",
        "replica removed",
        "replica destroyed",
        "push",
        "refresh",
        "transaction refreshed",
        "deadlock",
        "commit of one phase",
        "commit of two phases",
        "commit with unknown outcome",
        "batch sent to another node",
        "rejected command",
    ];

    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&self, what: &'static str, count: u64) {
        debug_assert!(Self::ALL.contains(&what) || Self::CLUSTER.contains(&what), "{what}");
        if count > 0 {
            *self.counts.lock().entry(what).or_default() += count;
        }
    }

    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts.lock())
    }
}
