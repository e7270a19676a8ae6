//! Corners that a run came to.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use crate::tally::Tally;

/// A check says nothing about what never happens: so workloads count it. Clones share the counts.
#[derive(Clone, Default)]
pub struct Reached {
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Reached {
    /// Everything that some seeds must come to, whatever the number of nodes.
    pub const ALL: [&'static str; 14] = [
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
    ];

    /// What some seeds of one node must come to besides: between nodes a release may be on its way.
    const ALONE: [&'static str; 1] = ["free again at the answer"];

    /// What befalls clusters, besides [`Tally::WORK`], which is what they do.
    const CLUSTER: [&'static str; 22] = [
        "message reordered",
        "torn write",
        "clock jump",
        "cut off and taken back",
        "sent and taken back",
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
        "clock set",
        "ended itself",
        "node drained",
        "node drained in part",
        "node decommissioned",
    ];

    /// What befalls them in long runs only.
    const LONG: [&'static str; 16] = [
        "clock drift",
        "lost write",
        "misdirected write",
        "clock beyond the bound",
        "failed sync",
        "off until it counts as dead",
        "frozen",
        "rolling restart",
        "joined later",
        "disk lost",
        "lost node replaced",
        "damage found",
        "state damage found",
        "damage at the log's end found",
        "write misplaced",
        "misplaced write found",
    ];

    /// Everything that some seeds of one node must come to.
    pub fn of_one_node() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().chain(Self::ALONE)
    }

    /// Everything that some seeds of a cluster must come to, besides [`Reached::ALL`].
    pub fn of_clusters() -> impl Iterator<Item = &'static str> {
        Self::CLUSTER.into_iter().chain(Tally::WORK)
    }

    /// Everything that some long runs of a cluster must come to.
    pub fn of_long_runs() -> impl Iterator<Item = &'static str> {
        Self::of_clusters().chain(Self::LONG)
    }

    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&self, what: &'static str, count: u64) {
        debug_assert!(Self::of_one_node().chain(Self::of_long_runs()).any(|known| known == what), "{what}");
        if count > 0 {
            *self.counts.lock().entry(what).or_default() += count;
        }
    }

    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts.lock())
    }
}
