//! What a leaseholder that gives its lease away tells the next one about reads.
//!
//! Every write must land above every read of its key, and every commit above the reads that its transaction was pushed
//! for. Who takes a lease over knows of neither, so its writers go above the lease's start, and transactions that began
//! before pay with a refresh. Who is given a lease is told: the latest reads and pushes one by one, and a low-water mark
//! for the others. Then only writers of what was read move.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Span, Timestamp, TxnId};

use super::ReadMark;

/// See the module's documentation. Forgetting an entry raises the low-water mark beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Everything may have been read up to here.
    pub low_water: Timestamp,
    /// By the timestamp cache's hash of the key.
    pub points: Vec<(u64, ReadMark)>,
    pub spans: Vec<(Span, ReadMark)>,
    /// Every transaction may have been pushed to here.
    pub pushes_low_water: Timestamp,
    pub pushes: BTreeMap<TxnId, Timestamp>,
}

/// What writers and transactions of a range must go above, whatever a node knows of single keys and transactions.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// What another node wrote under an earlier lease says nothing about this node's clock.
    pub lease_start: Timestamp,
    pub reads: Timestamp,
    pub pushes: Timestamp,
    /// Of transactions aborted under earlier leases.
    pub inherited: Arc<super::Tombstones>,
}

impl Marks {
    /// Nothing is known of what came before `start`.
    pub fn blank(start: Timestamp) -> Self {
        let inherited = super::Tombstones { low_water: start, ..super::Tombstones::default() };
        Self { lease_start: start, reads: start, pushes: start, inherited: Arc::new(inherited) }
    }
}

/// The value with the `count` highest ones above it, or zero if there are no more than that.
pub(super) fn threshold(mut timestamps: Vec<Timestamp>, count: usize) -> Timestamp {
    let excess = timestamps.len().saturating_sub(count);
    if excess == 0 {
        return Timestamp::ZERO;
    }
    *timestamps.select_nth_unstable(excess - 1).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_leaves_no_more_than_wanted_above() {
        let at = |of: &[u64]| of.iter().map(|at| Timestamp(*at)).collect::<Vec<_>>();
        assert_eq!(threshold(at(&[5, 1, 4]), 3), Timestamp::ZERO);
        assert_eq!(threshold(at(&[5, 1, 4, 2]), 3), Timestamp(1));
        assert_eq!(threshold(at(&[5, 5, 5, 2]), 1), Timestamp(5));
        assert_eq!(threshold(at(&[7]), 0), Timestamp(7));
    }
}
