//! Commits over several ranges in one round.
//!
//! The last writes and a record that depends on them leave side by side. When all writes were done at or below the
//! timestamp of the record, the transaction *is* committed: nobody can undo a write that is stored, so whoever asks for
//! the writes comes to the same conclusion. That is acknowledged, and said in the record afterwards.
//!
//! * Refused, with nothing staged: the ordinary way.
//! * Staged, but a write was refused or had to move up: nobody can find it committed at the staged timestamp. The
//!   transaction goes on above it, and ends with an ordinary decision.
//! * An answer is missing: the transaction may be committed or become it. It is decided like that of a dead coordinator,
//!   by asking for the writes and preventing what is not done. If that can't be done either, the outcome is unknown.

use std::time::Duration;

use basalt_base::{Key, Timestamp};
use basalt_env::{Bug, planted};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error as StoreError, LockWait, PushType, Request, Response,
    SeqNum, TxnStatus,
};

use crate::{
    Error, Result,
    cleanup::{RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX},
    counts::bump,
    flush::covers,
    read::unexpected,
    state::{Phase, aborted},
    transaction::Inner,
};

/// Writes of one staged commit: who recovers it asks for each.
const IN_FLIGHT_MAX: usize = 200;
/// Attempts to find out what became of a commit, and the pause between them.
const QUESTIONS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// While it lives, no heartbeat may say that the transaction has gone on above what it has staged.
struct Staging<'a>(&'a Inner);

impl<'a> Staging<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.state().is_staging = true;
        Self(inner)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        self.0.state().is_staging = false;
    }
}

impl Inner {
    /// Commits in one round. `None`: not this way, or not any more; what is left to do is as if it had not been tried.
    ///
    /// Once for each write: a refusal says that it is not done only if it can't have been done before.
    pub(crate) async fn commit_staged(&self) -> Result<Option<Timestamp>> {
        let write_ts = self.state().meta.write_ts;
        self.refresh_to(write_ts).await.map_err(|error| self.fail_commit(error))?;
        let staging = Staging::begin(self);
        let Some((batch, upto)) = self.staged_batch() else { return Ok(None) };
        let error = match self.shared.sender.send(batch).await {
            Ok(response) => {
                let Some((staged_at, in_record)) = staged(&response) else {
                    return Err(self.fail_commit(unexpected("a staged commit")));
                };
                let reached = response.txn.map_or(staged_at, |txn| txn.write_ts);
                if in_record || reached <= staged_at || planted(Bug::AckBeforeProof) {
                    bump(&self.shared.counters.staged);
                    self.finish_staged(staged_at, in_record).await;
                    return Ok(Some(staged_at));
                }
                // All writes are there, and some above the record.
                drop(staging);
                bump(&self.shared.counters.staged_in_vain);
                self.state().meta.write_ts = reached;
                self.forget_sent(upto);
                return Ok(None);
            }
            Err(error) => error,
        };
        match error {
            StoreError::Unproven { staged_at, .. } if planted(Bug::AckBeforeProof) => {
                self.finish_staged(staged_at, false).await;
                Ok(Some(staged_at))
            }
            StoreError::Unproven { staged_at, cause } => {
                drop(staging);
                bump(&self.shared.counters.staged_in_vain);
                {
                    let mut state = self.state();
                    state.meta.write_ts = state.meta.write_ts.max(staged_at.next());
                }
                if matches!(*cause, StoreError::LockNotAvailable { .. }) {
                    // The transaction will wait for somebody's lock. Readers of what it has locked itself must not wait
                    // with it, as they do for a record that may still turn out to be a commit.
                    self.report();
                }
                self.step_over(*cause).await?;
                Ok(None)
            }
            error if error.is_refusal() => {
                drop(staging);
                self.step_over(error).await?;
                Ok(None)
            }
            error => self.find_out(error).await.map(Some),
        }
    }

    /// The batch, and up to where it empties the buffer.
    fn staged_batch(&self) -> Option<(BatchRequest, SeqNum)> {
        let options = &self.shared.options;
        let mut state = self.state();
        let fits = state.buffer.bytes() <= options.batch_bytes_max;
        if !options.staged_commits || !fits || state.is_resending {
            return None;
        }
        let upto = state.seq;
        let chunk = state.buffer.chunk(None, upto, usize::MAX, true)?;
        let mut requests = chunk.requests;
        let in_flight: Vec<(Key, SeqNum)> = requests.iter().filter_map(written).collect();
        if in_flight.is_empty() || in_flight.len() > IN_FLIGHT_MAX {
            return None;
        }
        covers(&mut state, &requests);
        state.is_resending = true;
        self.register(&mut state);
        state.locks.coalesce(RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX);
        requests.push(Request::StageTxn {
            lock_spans: state.locks.all_spans(),
            in_flight,
            deadline: state.deadline,
        });
        let header = BatchHeader {
            can_forward_read_ts: state.can_forward(),
            txn: Some(state.meta.clone()),
            // What waits is neither done nor refused.
            lock_wait: LockWait::Error,
            ..BatchHeader::default()
        };
        Some((BatchRequest { header, requests }, upto))
    }

    async fn finish_staged(&self, staged_at: Timestamp, in_record: bool) {
        {
            let mut state = self.state();
            // Exactly: the record is told by it what is meant.
            state.meta.write_ts = staged_at;
            state.is_unsaid = !in_record;
        }
        self.finish_commit(staged_at, false, true).await;
    }

    /// After a refusal: moves to where the writes can succeed. What can't be stepped over now, the ordinary way will meet:
    /// it may wait, where it holds up nobody who only reads.
    async fn step_over(&self, cause: StoreError) -> Result<()> {
        match cause {
            StoreError::WriteTooOld { .. }
            | StoreError::Uncertain { .. }
            | StoreError::RefreshRequired { .. }
            | StoreError::TxnAborted { .. } => {
                self.recover(cause, 1).await.map_err(|error| self.fail_commit(error))
            }
            _ => Ok(()),
        }
    }

    /// Has the transaction decided, because nobody knows what became of its commit.
    async fn find_out(&self, error: StoreError) -> Result<Timestamp> {
        for question in 1..=QUESTIONS_MAX {
            let pushee = self.state().meta.clone();
            let request = Request::PushTxn {
                pushee,
                push_type: PushType::Abort,
                push_to: Timestamp::ZERO,
                force: true,
                dependents: Vec::new(),
            };
            let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
            let answer = self.shared.sender.send(batch).await.ok();
            match answer.and_then(|mut answer| answer.responses.pop()) {
                Some(Response::PushTxn { record, .. }) if record.status == TxnStatus::Committed => {
                    bump(&self.shared.counters.found_committed);
                    self.finish_staged(record.write_ts, true).await;
                    return Ok(record.write_ts);
                }
                Some(Response::PushTxn { record, known: true }) if record.status == TxnStatus::Aborted => {
                    bump(&self.shared.counters.found_aborted);
                    self.state().phase = Phase::Aborted;
                    return Err(match error {
                        StoreError::Ambiguous { .. } => aborted(),
                        error => Error::Store(error),
                    });
                }
                // It may be over for so long that nobody remembers it.
                Some(Response::PushTxn { known: false, .. }) => break,
                _ if question < QUESTIONS_MAX => self.shared.env.spawner.sleep(PAUSE).await,
                _ => {}
            }
        }
        let reason = error.to_string();
        Err(self.fail_commit(StoreError::Ambiguous { reason }.into()))
    }
}

fn written(request: &Request) -> Option<(Key, SeqNum)> {
    match request {
        Request::Put { key, seq, .. } | Request::Delete { key, seq } => Some((key.clone(), *seq)),
        _ => None,
    }
}

fn staged(response: &BatchResponse) -> Option<(Timestamp, bool)> {
    match response.responses.last() {
        Some(Response::StageTxn { staged_at, committed }) => Some((*staged_at, *committed)),
        _ => None,
    }
}
