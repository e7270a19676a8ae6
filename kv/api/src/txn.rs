//! What requests say about their transaction, and what the store remembers of it.

use basalt_base::{Key, Span, Timestamp, TxnId};

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
