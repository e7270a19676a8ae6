//! What a transaction knows of itself between two requests.

use std::time::Duration;

use basalt_base::{Key, Span, Timestamp, TxnId};
use basalt_kv_api::{IgnoredSeqs, LockWait, Observed, SeqNum, TxnMeta};
use tokio::sync::oneshot;

use crate::{Error, Result, buffer::WriteBuffer, footprint::Footprint};

/// A transaction that loses so often begins to win conflicts. Sooner, retries on a hot row would abort each other.
const RESTARTS_PER_PRIORITY: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Active,
    /// A commit is under way. If its caller vanishes, the outcome is unknown to everybody here.
    Committing,
    Committed,
    RolledBack,
    /// The store aborted it; only rollback and restart are left.
    Aborted,
    /// Nobody knows whether it committed.
    Ambiguous,
}

#[derive(Debug)]
pub(crate) struct State {
    /// `read_seq` is the current statement's.
    pub(crate) meta: TxnMeta,
    pub(crate) phase: Phase,
    /// The newest sequence number given out.
    pub(crate) seq: SeqNum,
    /// The newest sequence number that a statement or savepoint may come back to.
    pub(crate) boundary: SeqNum,
    pub(crate) buffer: WriteBuffer,
    /// Bytes of the buffer that are being sent.
    pub(crate) flushing_bytes: usize,
    /// Dropped to have the flush in the background given up.
    pub(crate) flush_stop: Option<oneshot::Sender<()>>,
    /// Why a flush in the background has failed, and the statement boundary of that time.
    pub(crate) flush_failed: Option<(SeqNum, Error)>,
    /// For requests that may wait for locks.
    pub(crate) lock_wait: LockWait,
    /// Grows when sent writes leave the buffer.
    pub(crate) flush_generation: u64,
    /// What was read at `meta.read_ts`.
    pub(crate) reads: Footprint,
    pub(crate) reads_in_flight: u32,
    /// Keys with (possibly) a replicated lock.
    pub(crate) locks: Footprint,
    /// Keys with (possibly) an unreplicated lock.
    pub(crate) held: Footprint,
    /// A record may exist: a heartbeat was sent.
    pub(crate) record: bool,
    /// Some of what is buffered may have been sent, and be stored, already.
    pub(crate) is_resending: bool,
    /// A staged commit may be under way: whether it has come to pass is not known yet.
    pub(crate) is_staging: bool,
    /// It has, and the record does not say so yet.
    pub(crate) is_unsaid: bool,
    /// Known to the heartbeat loop.
    pub(crate) registered: bool,
    /// Every successful early flush makes later ones small: the transaction writes through.
    pub(crate) write_through: bool,
    pub(crate) deadline: Option<Timestamp>,
    /// Grows when the transaction gets a new id.
    pub(crate) incarnation: u32,
    pub(crate) began: Duration,
    pub(crate) restarts: u32,
    /// Bytes counted in the node's total.
    pub(crate) accounted: usize,
}

impl State {
    pub(crate) fn new(meta: TxnMeta, deadline: Option<Timestamp>, began: Duration, keys_max: usize) -> Self {
        Self {
            meta,
            phase: Phase::Active,
            seq: 0,
            boundary: 0,
            buffer: WriteBuffer::default(),
            flushing_bytes: 0,
            flush_stop: None,
            flush_failed: None,
            lock_wait: LockWait::Block,
            flush_generation: 0,
            reads: Footprint::new(keys_max),
            reads_in_flight: 0,
            locks: Footprint::new(keys_max),
            held: Footprint::new(keys_max),
            record: false,
            is_resending: false,
            is_staging: false,
            is_unsaid: false,
            registered: false,
            write_through: false,
            deadline,
            incarnation: 0,
            began,
            restarts: 0,
            accounted: 0,
        }
    }

    pub(crate) fn check_active(&self) -> Result<()> {
        match self.phase {
            Phase::Active => Ok(()),
            Phase::Aborted => Err(aborted()),
            Phase::Committing => Err(Error::Ended("committing")),
            Phase::Committed => Err(Error::Ended("committed")),
            Phase::RolledBack => Err(Error::Ended("rolled back")),
            Phase::Ambiguous => Err(Error::Ended("in an unknown state")),
        }
    }

    /// Whether a read may go ahead: not if a flush has failed since an earlier statement sent it off. The failure is told
    /// once; what was to be sent is still buffered.
    pub(crate) fn check_readable(&mut self) -> Result<()> {
        self.check_active()?;
        match self.flush_failed.take_if(|(boundary, _)| *boundary != self.boundary) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Has the flush in the background end where it is. Writes on their way to the log still arrive.
    pub(crate) fn stop_flush(&mut self) {
        self.flush_stop = None;
    }

    /// The next write's sequence number.
    pub(crate) fn next_seq(&mut self) -> Result<SeqNum> {
        self.seq = self.seq.checked_add(1).ok_or(Error::LimitExceeded("writes in a transaction"))?;
        Ok(self.seq)
    }

    /// Replicated locks may exist.
    pub(crate) fn has_replicated(&self) -> bool {
        !self.locks.is_empty()
    }

    /// Something would stay behind if the transaction just vanished.
    pub(crate) fn leaves_traces(&self) -> bool {
        self.has_replicated() || !self.held.is_empty() || self.record
    }

    pub(crate) fn set_anchor(&mut self, key: &Key) {
        if self.meta.anchor.is_empty() {
            self.meta.anchor = key.clone();
        }
    }

    /// Whether the store may choose a later read timestamp for the next batch.
    pub(crate) fn can_forward(&self) -> bool {
        self.reads.is_empty() && self.reads_in_flight == 0
    }

    /// Adds `(from, to]` to the rolled-back sequence numbers; `to` is the newest one there is.
    pub(crate) fn ignore_seqs(&mut self, from: SeqNum, to: SeqNum) {
        let IgnoredSeqs(intervals) = &mut self.meta.ignored;
        intervals.retain(|&(start, _)| start < from);
        match intervals.last_mut() {
            Some(last) if last.1 >= from => last.1 = to,
            _ => intervals.push((from, to)),
        }
    }

    /// Remembers what nodes that were visited have shown. An earlier attempt's visits say nothing about this one, if that
    /// began later.
    pub(crate) fn observe(&mut self, answered: &TxnMeta) {
        if answered.id == self.meta.id {
            self.meta.observed.merge(&answered.observed);
        }
    }

    /// A new epoch (same id) or a new transaction (`id`), reading at `now`.
    pub(crate) fn begin_again(
        &mut self,
        id: Option<TxnId>,
        now: Timestamp,
        offset_max: Duration,
        monotonic: Duration,
    ) {
        let now = now.max(self.meta.write_ts);
        let limit = now.add_ms(u64::try_from(offset_max.as_millis()).unwrap_or(u64::MAX));
        self.meta.read_ts = now;
        self.meta.write_ts = now;
        self.meta.ignored = IgnoredSeqs::default();
        self.restarts += 1;
        if self.restarts.is_multiple_of(RESTARTS_PER_PRIORITY) {
            self.meta.priority.0 = self.meta.priority.0.saturating_add(1);
        }
        self.meta.read_seq = self.seq;
        self.boundary = self.seq;
        self.buffer.clear();
        self.is_resending = false;
        self.flush_failed = None;
        self.reads.clear();
        self.phase = Phase::Active;
        match id {
            Some(id) => {
                self.meta.id = id;
                self.meta.anchor = Key::new();
                self.meta.epoch = 0;
                self.meta.min_ts = now;
                self.meta.global_limit = limit;
                self.meta.observed = Observed::default();
                self.locks.clear();
                self.held.clear();
                self.record = false;
                self.registered = false;
                self.write_through = false;
                self.incarnation += 1;
                self.began = monotonic;
            }
            None => {
                self.meta.epoch += 1;
                self.meta.global_limit = self.meta.global_limit.max(now);
            }
        }
    }

    /// The buffer's writes as one span, with the anchor: what must lie in one range for a one-phase commit.
    pub(crate) fn one_phase_hull(&self) -> Option<Span> {
        let (first, last) = self.buffer.first_and_last()?;
        let (mut start, mut last) = (first, last);
        if !self.meta.anchor.is_empty() {
            start = start.min(&self.meta.anchor);
            last = last.max(&self.meta.anchor);
        }
        Some(Span::new(start.clone(), basalt_base::keys::prefix_end(last)))
    }
}

pub(crate) fn aborted() -> Error {
    Error::Store(basalt_kv_api::Error::TxnAborted { reason: "aborted by another transaction".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let meta = TxnMeta {
            id: TxnId(1),
            anchor: Key::new(),
            epoch: 0,
            read_ts: Timestamp(5),
            write_ts: Timestamp(5),
            min_ts: Timestamp(5),
            global_limit: Timestamp(5),
            priority: Default::default(),
            read_seq: 0,
            ignored: IgnoredSeqs::default(),
            observed: Observed::default(),
        };
        State::new(meta, None, Duration::ZERO, 100)
    }

    #[test]
    fn ignored_intervals_stay_ascending_and_disjoint() {
        let mut state = state();
        state.ignore_seqs(2, 4);
        state.ignore_seqs(6, 8);
        assert_eq!(state.meta.ignored.0, vec![(2, 4), (6, 8)]);
        state.ignore_seqs(7, 10);
        assert_eq!(state.meta.ignored.0, vec![(2, 4), (6, 10)]);
        state.ignore_seqs(3, 12);
        assert_eq!(state.meta.ignored.0, vec![(2, 12)]);
        state.ignore_seqs(1, 13);
        assert_eq!(state.meta.ignored.0, vec![(1, 13)]);
        assert!(!state.meta.ignored.contains(1) && state.meta.ignored.contains(13));
    }

    #[test]
    fn a_new_epoch_keeps_locks_and_a_new_transaction_does_not() {
        let mut state = state();
        state.locks.add_key(&Key::from_static(b"a"));
        state.set_anchor(&Key::from_static(b"a"));
        state.begin_again(None, Timestamp(9), Duration::ZERO, Duration::ZERO);
        assert_eq!((state.meta.epoch, state.meta.min_ts, state.has_replicated()), (1, Timestamp(5), true));
        state.begin_again(Some(TxnId(2)), Timestamp(9), Duration::ZERO, Duration::ZERO);
        assert_eq!((state.meta.epoch, state.meta.min_ts, state.has_replicated()), (0, Timestamp(9), false));
    }
}
