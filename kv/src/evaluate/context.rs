//! What the evaluation of one batch on one range has and gathers.

use std::{collections::BTreeSet, sync::atomic::AtomicU64};

use basalt_base::{Key, Span, Timestamp, TxnId};
use basalt_env::{Bug, planted};
use basalt_kv_api::{BatchHeader, Error, LockStrength, TxnMeta, TxnRecord};
use basalt_storage::{
    OpenBatch, Reader, WriteBatch,
    mvcc::{FinishedTxns, FoundLock, OwnTxn, ReadContext, Strength, WriteContext, WriteOutcome, WriteTxn},
};

use super::unlocked_reader::UnlockedReader;
use crate::{
    concurrency::{Blocked, Dependents, HolderInfo, LockTable, Marks, TimestampCache, TxnMarkers, Want},
    replica::{RangeDescriptor, ResolveOp, StatsDelta, Trigger},
};

/// A lock in the way of a request.
#[derive(Clone, Debug)]
pub struct Conflict {
    pub key: Key,
    pub want: Want,
    /// Found in the lock family (with its strength), as opposed to the lock table.
    pub discovered: Option<(HolderInfo, LockStrength)>,
    pub blocked: Blocked,
}

/// Why evaluation stopped without a result.
#[derive(Debug)]
pub enum Stop {
    /// Wait for these locks, then evaluate again.
    Conflicts(Vec<Conflict>),
    /// Evaluate again with the read timestamp at (at least) this; permitted by the batch's header.
    Forward(Timestamp),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<basalt_storage::Error> for Stop {
    fn from(error: basalt_storage::Error) -> Self {
        Self::Error(storage_error(error))
    }
}

pub fn storage_error(error: basalt_storage::Error) -> Error {
    match error {
        basalt_storage::Error::DiskFull => Error::DiskFull,
        basalt_storage::Error::Corruption(what) => Error::Corruption(what),
        other => Error::Unavailable(other.to_string()),
    }
}

pub type Evaluated<T> = Result<T, Stop>;

/// A read to be remembered in the timestamp cache before the latches go.
#[derive(Clone, Debug)]
pub enum ReadSpan {
    Point(Key),
    Span(Span),
    /// At a timestamp of its own.
    Refreshed(Span, Timestamp),
}

/// What happens in memory once the command was applied (or at once, if there is nothing to apply).
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The transaction is over: its unreplicated locks go. With its commit timestamp, if it committed.
    pub finished: Option<(TxnId, Option<Timestamp>)>,
    /// No record may be created for it any more.
    pub entombed: Option<(TxnId, Timestamp)>,
    /// Locks resolved, for the waiters.
    pub resolved: Vec<ResolveOp>,
    /// A finished transaction's record, to be deleted when its locks are gone.
    pub record: Option<(Key, TxnId)>,
    /// Everything in it was removed, replicated locks included.
    pub cleared: Option<Span>,
    /// Its heartbeat arrived.
    pub alive: Option<TxnId>,
    /// A push met a staged transaction: before it is answered, somebody should find out what became of it.
    pub recovery: Option<Recovery>,
}

/// A staged transaction whose fate somebody wants to know.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub anchor: Key,
    pub record: TxnRecord,
    /// It must be decided now: its owner seems dead, or asks itself.
    pub prevent: bool,
}

/// Parts of the store that evaluation consults.
pub struct Shared<'a> {
    pub locks: &'a LockTable,
    pub reads: &'a TimestampCache,
    pub markers: &'a TxnMarkers,
    pub dependents: &'a Dependents,
    /// The monotonic clock.
    pub since_start: std::time::Duration,
    pub txn_expiry_ms: u64,
    pub gc_threshold: Timestamp,
    /// Of earlier leases of the range.
    pub marks: &'a Marks,
    /// The range is closed to writes, or about to be, up to here.
    pub promised: Timestamp,
    /// This node's clock.
    pub now: Timestamp,
    pub uncertain_reads: &'a AtomicU64,
}

impl Shared<'_> {
    /// The lowest timestamp ≥ `write_ts` at which `txn` may write `key`.
    pub fn forward(&self, key: &[u8], write_ts: Timestamp, txn: Option<TxnId>) -> Timestamp {
        let forwarded = self.reads.forward(key, write_ts, txn).max(self.marks.reads.next());
        if forwarded > self.promised || planted(Bug::WriteBelowClosed) {
            return forwarded;
        }
        // Just above it would be closed again soon.
        self.promised.next().max(self.now)
    }

    /// The lowest timestamp at which the transaction may commit.
    pub fn pushed_to(&self, id: TxnId) -> Timestamp {
        self.markers.pushed_to(id).max(self.marks.pushes)
    }

    /// Whether a record of the transaction, begun at `min_ts`, may be created.
    pub fn may_create_record(&self, id: TxnId, min_ts: Timestamp) -> bool {
        self.marks.inherited.permit(id, min_ts) && self.markers.may_create_record(id, min_ts)
    }
}

pub struct Evaluation<'a> {
    pub shared: Shared<'a>,
    pub descriptor: &'a RangeDescriptor,
    pub header: &'a BatchHeader,
    /// The state before the batch.
    pub base: &'a dyn Reader,
    /// As above without the locks of transactions that can't commit below the read timestamp any more.
    pub visible: &'a dyn Reader,
    /// Ended transactions whose locks need not be resolved to be read.
    pub finished: &'a FinishedTxns,
    /// With the timestamps as the batch moves them.
    pub txn: Option<TxnMeta>,
    /// Of the request in the lock queues.
    pub order: Option<u64>,
    /// This node's clock.
    pub now: Timestamp,
    /// The same for what is written: not above the end of the lease, which the next lease may begin at.
    pub local_ts: Timestamp,
    pub rows_left: u64,
    pub bytes_left: u64,
    /// A limit was hit: the remaining scans do not run.
    pub exhausted: bool,
    /// What the batch has written so far, and reads back.
    pub open: OpenBatch,
    pub resolves: Vec<ResolveOp>,
    pub trigger: Trigger,
    pub stats: StatsDelta,
    pub lowest_write: Timestamp,
    pub reads: Vec<ReadSpan>,
    pub effects: Effects,
    /// Writes commit at once, at the transaction's write timestamp.
    pub one_phase: bool,
    /// What this node's clock showed when the transaction had begun, if that is known. What was written here later is
    /// certainly later, and what was written elsewhere was written before the low-water mark.
    pub observed: Option<Timestamp>,
}

impl Evaluation<'_> {
    /// Whose reads these are, for the timestamp cache.
    pub fn txn_id(&self) -> Option<TxnId> {
        self.txn.as_ref().map(|txn| txn.id)
    }

    pub fn read_ts(&self) -> Timestamp {
        self.txn.as_ref().map_or(self.header.timestamp, |txn| txn.read_ts)
    }

    /// Runs `read` over the state under the batch so far.
    pub fn over_base<T>(&self, read: impl FnOnce(&dyn Reader) -> T) -> T {
        if self.open.is_empty() { read(self.base) } else { read(&self.open.over(self.base)) }
    }

    /// As above, for reads without locks.
    pub fn over_visible<T>(&self, read: impl FnOnce(&dyn Reader) -> T) -> T {
        if planted(Bug::IgnoreLocks) {
            return read(&UnlockedReader(self.visible));
        }
        if self.open.is_empty() { read(self.visible) } else { read(&self.open.over(self.visible)) }
    }

    pub fn read_context(&self) -> ReadContext<'_> {
        match &self.txn {
            None => ReadContext::at(self.header.timestamp).with_finished(self.finished),
            Some(txn) => ReadContext::at(txn.read_ts)
                .with_finished(self.finished)
                .with_txn(OwnTxn {
                    id: txn.id,
                    epoch: txn.epoch,
                    read_seq: txn.read_seq,
                    ignored: &txn.ignored.0,
                })
                .with_limits(txn.global_limit.max(txn.read_ts), self.local_limit(txn)),
        }
    }

    fn local_limit(&self, txn: &TxnMeta) -> Timestamp {
        let Some(observed) = self.observed else { return txn.global_limit };
        let earlier =
            if planted(Bug::ObserveMovedLease) { Timestamp::ZERO } else { self.shared.marks.lease_start };
        observed.max(earlier).min(txn.global_limit)
    }

    pub fn write_context(txn: &TxnMeta, seq: u32, local_ts: Timestamp, if_absent: bool) -> WriteContext<'_> {
        WriteContext {
            txn: WriteTxn {
                id: txn.id,
                anchor: &txn.anchor,
                epoch: txn.epoch,
                min_ts: txn.min_ts,
                priority: txn.priority.0,
                ignored: &txn.ignored.0,
            },
            seq,
            write_ts: txn.write_ts,
            read_ts: txn.read_ts,
            local_ts,
            if_absent,
        }
    }

    /// Adds writes to the batch.
    pub fn write(&mut self, batch: WriteBatch) {
        let bytes = i64::try_from(crate::replica::apply::data_bytes(&batch)).unwrap_or(i64::MAX);
        self.stats.bytes += bytes + batch.provisional_bytes;
        self.stats.garbage += bytes;
        self.open.append(batch);
    }

    pub fn note_write_at(&mut self, ts: Timestamp) {
        if self.lowest_write.is_zero() || ts < self.lowest_write {
            self.lowest_write = ts;
        }
    }

    /// A write met what storage reports: turns it into the timestamp written at.
    pub fn written(&self, key: &Key, outcome: WriteOutcome) -> Evaluated<Timestamp> {
        match outcome {
            WriteOutcome::Written(ts) => Ok(ts),
            WriteOutcome::WriteTooOld(next) => Err(self.too_old(next)),
            WriteOutcome::Conflict(found) => {
                let want = Want::Lock(LockStrength::Exclusive);
                Err(Stop::Conflicts(
                    found.into_iter().map(|lock| discovered(key.clone(), want, lock)).collect(),
                ))
            }
            WriteOutcome::Exists => Err(Error::KeyExists { key: key.clone() }.into()),
            WriteOutcome::StaleEpoch => {
                Err(Error::TxnAborted { reason: "a later attempt of the transaction has begun".into() }
                    .into())
            }
            WriteOutcome::ReplayMismatch => {
                Err(Error::Internal("a sequence number was used for two different writes".to_owned()).into())
            }
        }
    }

    /// A version just below `next` is in the way.
    pub fn too_old(&self, next: Timestamp) -> Stop {
        if self.header.can_forward_read_ts || self.txn.is_none() {
            Stop::Forward(next)
        } else {
            Stop::Error(Error::WriteTooOld { existing: next.prev() })
        }
    }

    /// Nothing may commit below what a key's readers have seen.
    pub fn forward_over_reads(&mut self, key: &Key) {
        let id = self.txn_id();
        if let Some(txn) = &mut self.txn {
            txn.write_ts = self.shared.forward(key, txn.write_ts, id);
        }
    }
}

/// A foreign lock found in the lock family.
pub fn discovered(key: Key, want: Want, found: FoundLock) -> Conflict {
    let lock = found.lock;
    let info = HolderInfo {
        id: lock.txn_id,
        anchor: lock.anchor,
        epoch: lock.epoch,
        // Where its holder may commit yet.
        write_ts: lock.first_ts,
        min_ts: lock.min_ts,
        acquired: lock.local_ts,
        priority: basalt_kv_api::TxnPriority(lock.priority),
    };
    let strength =
        if lock.strength == Strength::Shared { LockStrength::Shared } else { LockStrength::Exclusive };
    Conflict { key, want, blocked: Blocked::Held(info.clone()), discovered: Some((info, strength)) }
}

/// Transactions whose locks a read passes by.
pub type PassedTxns = BTreeSet<TxnId>;
