//! Which kinds of faults are about.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;

use crate::workload::Context;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Crash,
    Split,
    DiskFull,
    Clock,
    Partition,
    Lease,
    Outage,
    Freeze,
    Restart,
    Loss,
    SyncError,
    Misplaced,
    Links,
    Drain,
    Decommission,
}

const KINDS: [Kind; 15] = [
    Kind::Crash,
    Kind::Split,
    Kind::DiskFull,
    Kind::Clock,
    Kind::Partition,
    Kind::Lease,
    Kind::Outage,
    Kind::Freeze,
    Kind::Restart,
    Kind::Loss,
    Kind::SyncError,
    Kind::Misplaced,
    Kind::Links,
    Kind::Drain,
    Kind::Decommission,
];

/// Clones share it.
#[derive(Clone)]
pub(super) struct Weather {
    kinds: Arc<Mutex<BTreeSet<Kind>>>,
}

impl Weather {
    /// Fixed weather has everything.
    pub fn new(changes: bool) -> Self {
        let kinds = if changes { BTreeSet::new() } else { BTreeSet::from(KINDS) };
        Self { kinds: Arc::new(Mutex::new(kinds)) }
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.lock().contains(&kind)
    }

    /// Draws anew. Now and then nothing is about, so that what was broken is mended.
    pub fn change(&self, context: &Context) -> BTreeSet<Kind> {
        let calm = context.one_in(6);
        let drawn: BTreeSet<Kind> = KINDS.into_iter().filter(|_| context.one_in(4)).collect();
        let kinds = if calm { BTreeSet::new() } else { drawn };
        *self.kinds.lock() = kinds.clone();
        kinds
    }
}
