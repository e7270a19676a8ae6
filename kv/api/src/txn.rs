//! What requests say about their transaction, and what the store remembers of it.

use basalt_base::{Key, NodeId, Span, Timestamp, TxnId};

/// Orders the writes of one transaction; increases for ever within it, across epochs too.
pub type SeqNum = u32;

/// Half-open intervals `(from, to]` of rolled-back sequence numbers, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoredSeqs(pub Vec<(SeqNum, SeqNum)>);

impl IgnoredSeqs {
    pub fn contains(&self, seq: SeqNum) -> bool {
        self.0.iter().any(|&(from, to)| from < seq && seq <= to)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Nodes whose readings are remembered. Of others everything is uncertain, as at the first visit.
const OBSERVED_MAX: usize = 8;

/// What the clocks of other nodes showed when a transaction, already begun, first came there. What a node has written later
/// by its clock was not acknowledged before the transaction began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed(pub Vec<(NodeId, Timestamp)>);

impl Observed {
    pub fn at(&self, node: NodeId) -> Option<Timestamp> {
        self.0.iter().find(|(known, _)| *known == node).map(|(_, reading)| *reading)
    }

    /// The first reading counts.
    pub fn note(&mut self, node: NodeId, reading: Timestamp) {
        if self.0.len() < OBSERVED_MAX && self.at(node).is_none() {
            self.0.push((node, reading));
        }
    }

    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(node, reading)| self.note(*node, *reading));
    }
}

/// Decides who wins a push. Higher wins; equal waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TxnPriority(pub u32);

/// The part of a transaction that travels with every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnMeta {
    pub id: TxnId,
    /// Where the record lives: the first key locked or written. Empty until then.
    pub anchor: Key,
    /// Bumped by a retry that keeps the transaction's locks.
    pub epoch: u32,
    pub read_ts: Timestamp,
    pub write_ts: Timestamp,
    /// The lower bound of any commit timestamp: when the transaction began.
    pub min_ts: Timestamp,
    /// Values above it are certainly after the transaction began.
    pub global_limit: Timestamp,
    pub priority: TxnPriority,
    /// Reads of this request see the transaction's own writes up to here.
    pub read_seq: SeqNum,
    pub ignored: IgnoredSeqs,
    pub observed: Observed,
}

/// The state of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnStatus {
    Pending,
    /// Committed if the writes that the record lists are done. Whoever needs to know asks for them.
    Staging,
    Committed,
    Aborted,
}

/// The transaction record, stored at the anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRecord {
    pub id: TxnId,
    pub status: TxnStatus,
    pub epoch: u32,
    pub write_ts: Timestamp,
    pub last_heartbeat: Timestamp,
    /// What must be resolved before the record may go.
    pub lock_spans: Vec<Span>,
    pub ignored: IgnoredSeqs,
    /// The writes on which a staged commit depends.
    pub in_flight: Vec<(Key, SeqNum)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reading_of_a_node_counts_and_there_are_only_so_many() {
        let mut observed = Observed::default();
        observed.note(NodeId(1), Timestamp(5));
        observed.merge(&Observed(vec![(NodeId(1), Timestamp(9)), (NodeId(2), Timestamp(7))]));
        assert_eq!(observed.at(NodeId(1)), Some(Timestamp(5)));
        assert_eq!(observed.at(NodeId(2)), Some(Timestamp(7)));
        (3..100).for_each(|node| observed.note(NodeId(node), Timestamp(1)));
        assert_eq!((observed.0.len(), observed.at(NodeId(99))), (OBSERVED_MAX, None));
    }
}
