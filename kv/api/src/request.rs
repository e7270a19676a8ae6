//! Requests and responses. A batch is evaluated atomically on each range that it touches.

use std::{sync::Arc, time::Duration};

use basalt_base::{Key, NodeId, Span, Timestamp};
use bytes::Bytes;

use crate::{IgnoredSeqs, ScanBatch, ScanProgram, SeqNum, TxnMeta, TxnRecord, TxnStatus};

/// `None < Shared < Exclusive`; a stored provisional value counts above both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockStrength {
    Shared,
    Exclusive,
}

/// What to do when a lock is held by somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockWait {
    #[default]
    Block,
    /// At most this long, then [`crate::Error::LockNotAvailable`].
    Timeout(Duration),
    /// NOWAIT.
    Error,
    /// SKIP LOCKED.
    Skip,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadConsistency {
    #[default]
    Consistent,
    /// Newest committed versions without locks or waiting: only for routing lookups.
    Inconsistent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushType {
    /// Asks that the pushee commit above `push_to`, so that a reader need not wait.
    Timestamp,
    /// Asks that the pushee abort, so that a writer need not wait.
    Abort,
    /// Asks for the status only; an expired transaction is aborted.
    Touch,
}

/// What all requests of a batch share.
#[derive(Clone, Debug, Default)]
pub struct BatchHeader {
    /// `None`: a non-transactional batch at `timestamp` (or now when zero).
    pub txn: Option<TxnMeta>,
    /// For non-transactional batches.
    pub timestamp: Timestamp,
    pub lock_wait: LockWait,
    pub consistency: ReadConsistency,
    /// Most rows (counted by the program, if any) that all scans of the batch return together; 0 = no limit.
    pub rows_max: u64,
    /// The batch stops after this many bytes of scan output; 0 = no limit. At least one row is returned.
    pub bytes_max: u64,
    /// Any replica that has come as far may answer: the batch only reads, at a timestamp that is past and does not move.
    pub from_any_replica: bool,
    /// The server may forward the read timestamp: the transaction has read nothing outside this batch.
    pub can_forward_read_ts: bool,
}

#[derive(Clone, Debug)]
pub enum Request {
    Get {
        key: Key,
        /// Takes an unreplicated lock on the key (present or absent) before reading.
        lock: Option<LockStrength>,
    },
    Scan {
        span: Span,
        reverse: bool,
        lock: Option<LockStrength>,
        program: Option<Arc<dyn ScanProgram>>,
    },
    Put {
        key: Key,
        value: Bytes,
        seq: SeqNum,
        /// Fails with [`crate::Error::KeyExists`] if the transaction sees a value of the key.
        if_absent: bool,
    },
    Delete {
        key: Key,
        seq: SeqNum,
    },
    /// Ends the transaction. With writes of the same batch on the anchor's range and nothing elsewhere, this is the
    /// one-phase commit; otherwise it writes the record.
    EndTxn {
        commit: bool,
        /// Every key the transaction wrote or locked as a replicated lock; the whole footprint.
        lock_spans: Vec<Span>,
        /// All writes of the transaction are in this batch. If they turn out to lie in several ranges and `lock_spans`
        /// is empty, the answer is [`crate::Error::RangeMismatch`] and nothing was done.
        one_phase: bool,
        /// The commit timestamp may not pass it (descriptor leases).
        deadline: Option<Timestamp>,
    },
    /// Commits the transaction, provided that the writes listed turn out to be done. Sent beside them. Writes a record
    /// with the status [`TxnStatus::Staging`], unless all of them are in this very batch: then the commit is done.
    StageTxn {
        /// As of [`Request::EndTxn`].
        lock_spans: Vec<Span>,
        /// Of each key written by this commit, the newest write. The transaction is committed as soon as all of them are
        /// stored in its epoch at or below the timestamp of the record.
        in_flight: Vec<(Key, SeqNum)>,
        deadline: Option<Timestamp>,
    },
    /// Whether a write that a staged record lists is done: stored in that epoch at or below `at`.
    QueryWrite {
        key: Key,
        id: basalt_base::TxnId,
        epoch: u32,
        seq: SeqNum,
        at: Timestamp,
        /// If it is not done, it never will be: nobody, its transaction included, writes there at or below `at` any more.
        prevent: bool,
    },
    /// What the writes of a staged record say of its transaction. Addressed to the anchor; without effect if the record
    /// is not that of this epoch and timestamp any more.
    RecoverTxn {
        anchor: Key,
        id: basalt_base::TxnId,
        epoch: u32,
        staged_at: Timestamp,
        /// All are done; otherwise one never will be.
        committed: bool,
    },
    HeartbeatTxn {
        anchor: Key,
        now: Timestamp,
    },
    /// Changes the pushee's fate if the pusher (the batch's transaction) wins, and says what it is now; never waits for
    /// it. Finds out what became of a staged one. Addressed to the pushee's anchor.
    PushTxn {
        /// `read_ts` is its last known sign of life: when the lock that the pusher met was taken.
        pushee: TxnMeta,
        push_type: PushType,
        push_to: Timestamp,
        /// Wins whatever the priorities (deadlock victims, expired transactions).
        force: bool,
        /// Who waits for the pusher, so that waits that go round are noticed.
        dependents: Vec<basalt_base::TxnId>,
    },
    QueryTxn {
        anchor: Key,
        id: basalt_base::TxnId,
    },
    ResolveLock {
        key: Key,
        txn: ResolvedTxn,
    },
    /// Resolves at most `keys_max` locks of the transaction in the span and reports where to go on.
    ResolveLockRange {
        span: Span,
        txn: ResolvedTxn,
        keys_max: u64,
    },
    /// Fails if a foreign version or lock in the span is in `(from, to]`; else no one can write there at or below `to`.
    Refresh {
        span: Span,
        from: Timestamp,
        to: Timestamp,
    },
    /// Physically removes a span that nothing references any more. Not transactional.
    ClearRange {
        span: Span,
    },
    /// Drops versions that no reader at or above `threshold` can see.
    GarbageCollect {
        span: Span,
        threshold: Timestamp,
        keys_max: u64,
    },
    /// Adds to the counter at `key` (absent: zero) and tells the sum. Not transactional; a lost answer loses numbers.
    Increment {
        key: Key,
        by: u64,
    },
    /// Replaces the range descriptor at `key`, a meta entry, unless one of this generation or a later one is there: the
    /// ranges decide, meta follows, in any order. Not transactional.
    PutMeta {
        key: Key,
        generation: u64,
        descriptor: Bytes,
    },
    /// Splits the range that holds `key` so that `key` begins the right half.
    AdminSplit {
        key: Key,
    },
    /// Gives the lease of the range that holds `key` to a node that has a replica of it.
    AdminTransferLease {
        key: Key,
        to: NodeId,
    },
}

/// The fate of a transaction, as a resolver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTxn {
    pub id: basalt_base::TxnId,
    pub epoch: u32,
    pub status: TxnStatus,
    /// The commit timestamp, or the timestamp pushed to.
    pub timestamp: Timestamp,
    pub ignored: IgnoredSeqs,
}

#[derive(Clone, Debug, Default)]
pub struct BatchRequest {
    pub header: BatchHeader,
    pub requests: Vec<Request>,
}

#[derive(Debug)]
pub enum Response {
    Get {
        value: Option<Bytes>,
    },
    Scan {
        batch: ScanBatch,
        /// What was not scanned because of a limit.
        resume: Option<Span>,
    },
    Put,
    Delete,
    EndTxn {
        commit_ts: Timestamp,
        one_phase: bool,
    },
    StageTxn {
        /// At which the transaction is committed, if all its writes are.
        staged_at: Timestamp,
        /// It is: the record says so.
        committed: bool,
    },
    QueryWrite {
        done: bool,
    },
    RecoverTxn {
        record: Option<TxnRecord>,
    },
    HeartbeatTxn {
        record: TxnRecord,
    },
    PushTxn {
        /// The pushee as it now is.
        record: TxnRecord,
        /// Decided by a record, or decided now. Otherwise nothing is known of the pushee here any more: to whoever met its
        /// locks that is as good as an abort, but it may have committed and be long over.
        known: bool,
    },
    QueryTxn {
        record: Option<TxnRecord>,
        /// Who waits for the transaction, directly or not, as far as is known there.
        dependents: Vec<basalt_base::TxnId>,
    },
    ResolveLock,
    ResolveLockRange {
        resume: Option<Span>,
    },
    Refresh,
    ClearRange,
    GarbageCollect {
        resume: Option<Span>,
    },
    Increment {
        sum: u64,
    },
    PutMeta,
    AdminSplit,
    AdminTransferLease,
}

#[derive(Debug, Default)]
pub struct BatchResponse {
    /// One per request, in order. A request cut off by a limit has an empty scan batch and its whole span as resume.
    pub responses: Vec<Response>,
    /// The transaction's timestamps after the batch (`write_ts` may have been forwarded; `read_ts` too, if permitted).
    pub txn: Option<TxnMeta>,
    /// A clock reading of the answering node.
    pub now: Timestamp,
}
