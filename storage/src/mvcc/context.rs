//! What a caller says about its transaction, and what it gets back.

use std::collections::BTreeMap;

use basalt_base::{Key, Timestamp, TxnId};

use super::lock::LockRecord;

/// Rolled-back sequence numbers: intervals `(from, to]`, ascending and disjoint.
pub type IgnoredSeqs<'a> = &'a [(u32, u32)];

/// True if `seq` was rolled back.
pub fn ignores(ignored: IgnoredSeqs<'_>, seq: u32) -> bool {
    ignored.iter().any(|&(from, to)| from < seq && seq <= to)
}

/// The reader's own transaction: which of its provisional values it sees.
#[derive(Clone, Copy, Debug)]
pub struct OwnTxn<'a> {
    pub id: TxnId,
    pub epoch: u32,
    /// Own writes above it are invisible (a statement does not see itself).
    pub read_seq: u32,
    pub ignored: IgnoredSeqs<'a>,
}

/// The end of a transaction whose locks may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTxn {
    pub epoch: u32,
    /// `None`: it was aborted.
    pub commit_ts: Option<Timestamp>,
    pub ignored: Vec<(u32, u32)>,
}

/// Ended transactions by id.
pub type FinishedTxns = BTreeMap<TxnId, FinishedTxn>;

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext<'a> {
    pub read_ts: Timestamp,
    pub txn: Option<OwnTxn<'a>>,
    /// Their intents are read as what they will become, instead of being in the way.
    pub finished: Option<&'a FinishedTxns>,
    /// Values in `(read_ts, global_limit]` may have been committed before the reader began. `read_ts` means none are.
    pub global_limit: Timestamp,
    /// Of those, only values whose local timestamp is at or below this are uncertain on this store.
    pub local_limit: Timestamp,
}

impl<'a> ReadContext<'a> {
    /// A read without uncertainty and without a transaction.
    pub fn at(read_ts: Timestamp) -> Self {
        Self { read_ts, txn: None, finished: None, global_limit: read_ts, local_limit: read_ts }
    }

    #[must_use]
    pub fn with_txn(mut self, txn: OwnTxn<'a>) -> Self {
        self.txn = Some(txn);
        self
    }

    #[must_use]
    pub fn with_finished(mut self, finished: &'a FinishedTxns) -> Self {
        self.finished = Some(finished);
        self
    }

    #[must_use]
    pub fn with_limits(mut self, global: Timestamp, local: Timestamp) -> Self {
        self.global_limit = global;
        self.local_limit = local;
        self
    }

    /// True if something written at `ts` by a clock that stood at `local_ts` may precede the reader's begin.
    pub(crate) fn uncertain(&self, ts: Timestamp, local_ts: Timestamp) -> bool {
        ts > self.read_ts && ts <= self.global_limit && local_ts <= self.local_limit
    }

    /// The highest timestamp the read has to look at.
    pub(crate) fn horizon(&self) -> Timestamp {
        self.read_ts.max(self.global_limit)
    }
}

/// The writer's transaction.
#[derive(Clone, Copy, Debug)]
pub struct WriteTxn<'a> {
    pub id: TxnId,
    /// Key that addresses the transaction record.
    pub anchor: &'a Key,
    pub epoch: u32,
    /// Lower bound of the commit timestamp.
    pub min_ts: Timestamp,
    pub priority: u32,
    pub ignored: IgnoredSeqs<'a>,
}

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct WriteContext<'a> {
    pub txn: WriteTxn<'a>,
    pub seq: u32,
    /// Where the value goes if nothing pushes it.
    pub write_ts: Timestamp,
    /// A version committed above it makes the write too old.
    pub read_ts: Timestamp,
    /// This store's clock: the value cannot have been visible before it.
    pub local_ts: Timestamp,
    /// Refuse to write over a row that the transaction sees.
    pub if_absent: bool,
}

/// A lock somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLock {
    pub key: Key,
    /// Without `value` and `history`: a foreign transaction's values are nobody's business.
    /// `write_ts` above the reader's timestamp means that the lock is only *uncertain*: ask for its status first.
    pub lock: LockRecord,
}

/// What became of a write or a lock acquisition. Only `Written` put something into the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Done (or found done: a replay) at this timestamp, which may exceed the one asked for.
    Written(Timestamp),
    /// A newer version is committed; this is the lowest timestamp at which the write could go.
    WriteTooOld(Timestamp),
    /// Foreign locks in the way, at most [`super::write::CONFLICTS_MAX`].
    Conflict(Vec<FoundLock>),
    /// The write was to happen only if there is no row, and there is one.
    Exists,
    /// The transaction has moved on to a later epoch: the request is stale.
    StaleEpoch,
    /// The sequence number was used before with another value: a bug of the caller.
    ReplayMismatch,
}
