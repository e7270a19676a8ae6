//! Commit.
//!
//! * Nothing written: the reads hold at the read timestamp; there is nothing to send.
//! * Everything buffered and in one range, or in ranges that one store has to itself: one batch carries the writes and
//!   EndTxn, and the store writes committed versions without locks or a record.
//! * Few enough writes over several ranges: locks, and beside them a record that depends on them ([`crate::staging`]).
//! * Otherwise: locks first, then EndTxn alone. The record at the anchor is the one place that decides. The locks are
//!   resolved after the acknowledgement.
//!
//! A lost answer to the deciding batch makes the outcome unknown, and it stays so: sending it again could apply the
//! transaction twice.

use basalt_base::Timestamp;
use basalt_env::{Bug, planted};
use basalt_kv_api::{BatchHeader, BatchRequest, Error as StoreError, Request, Response};
use tokio::sync::oneshot;

use crate::{
    Error, Result, Txn,
    cleanup::{Cleanup, Fate, RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX},
    counts::bump,
    read::unexpected,
    state::{Phase, aborted},
    transaction::Inner,
};

/// How a one-phase attempt ended short of a commit.
enum OnePhase {
    Committed {
        timestamp: Timestamp,
        locks_left: bool,
    },
    /// The store says that it can't be done in one phase.
    NotPossible,
}

impl Txn {
    /// Commits and returns the commit timestamp.
    pub async fn commit(&self) -> Result<Timestamp> {
        let inner = &self.inner;
        let serial = inner.serial.clone().lock_owned().await;
        let writes = {
            let mut state = inner.state();
            state.check_active()?;
            state.phase = Phase::Committing;
            !state.buffer.is_empty() || state.has_replicated()
        };
        if !writes {
            return inner.commit_reads().await;
        }
        if inner.one_phase_possible() {
            match inner.commit_one_phase().await {
                Ok(OnePhase::Committed { timestamp, locks_left }) => {
                    inner.finish_commit(timestamp, true, locks_left).await;
                    return Ok(timestamp);
                }
                Ok(OnePhase::NotPossible) => {}
                Err(error) => return Err(inner.fail_commit(error)),
            }
        }
        // Once the decision is asked for it must be carried through, whether or not somebody waits for it.
        let (mut sender, receiver) = oneshot::channel();
        let inner_of_task = inner.clone();
        let task = async move {
            let outcome = inner_of_task.commit_locks(&mut sender).await;
            drop(inner_of_task);
            drop(serial);
            // Nobody may be waiting any more.
            let _ = sender.send(outcome);
        };
        inner.shared.env.spawner.spawn("txn-commit", Box::pin(task));
        receiver.await.unwrap_or_else(|_| {
            let reason = "the node stopped during the commit".to_owned();
            Err(inner.fail_commit(StoreError::Ambiguous { reason }.into()))
        })
    }
}

impl Inner {
    async fn commit_reads(&self) -> Result<Timestamp> {
        let (timestamp, past_deadline, cleanup) = {
            let mut state = self.state();
            let timestamp = state.meta.read_ts;
            let past_deadline = state.deadline.is_some_and(|deadline| timestamp > deadline);
            if past_deadline {
                state.phase = Phase::Active;
                (timestamp, true, None)
            } else {
                // Locks without a value: releasing them is all there is to do.
                let cleanup = self.give_up_committed(&mut state, Fate::Aborted, true);
                (timestamp, false, cleanup)
            }
        };
        if past_deadline {
            return Err(StoreError::DeadlineExceeded.into());
        }
        bump(&self.shared.counters.commits);
        // Before the answer: whoever hears of the commit may lock the rows without waiting (NOWAIT, SKIP LOCKED).
        if let Some(cleanup) = cleanup {
            cleanup.start(&self.shared).await;
        }
        Ok(timestamp)
    }

    fn one_phase_possible(&self) -> bool {
        let state = self.state();
        if state.has_replicated() || state.buffer.bytes() > self.shared.options.batch_bytes_max {
            return false;
        }
        let Some(hull) = state.one_phase_hull() else { return false };
        let anchor = Some(&state.meta.anchor).filter(|anchor| !anchor.is_empty());
        self.shared.sender.commits_in_one_phase(&hull, &mut state.buffer.keys().chain(anchor))
    }

    async fn commit_one_phase(&self) -> Result<OnePhase> {
        let mut attempt = 1;
        loop {
            let batch = self.one_phase_batch();
            let error = match self.shared.sender.send(batch).await {
                Ok(response) => {
                    return match response.responses.last() {
                        Some(Response::EndTxn { commit_ts, one_phase }) => {
                            Ok(OnePhase::Committed { timestamp: *commit_ts, locks_left: !one_phase })
                        }
                        _ => Err(unknown(unexpected("commit"))),
                    };
                }
                Err(error) => undecided(error)?,
            };
            match error {
                StoreError::RangeMismatch | StoreError::Invalid(_) => return Ok(OnePhase::NotPossible),
                StoreError::Ambiguous { .. } if planted(Bug::RetryUnknownCommit) => {}
                error => self.recover(error, attempt).await?,
            }
            attempt += 1;
        }
    }

    fn one_phase_batch(&self) -> BatchRequest {
        let mut state = self.state();
        let chunk = state.buffer.chunk(None, state.seq, usize::MAX, true);
        let mut requests = chunk.map_or(Vec::new(), |chunk| chunk.requests);
        let first = state.buffer.first_and_last().map(|(first, _)| first.clone());
        if let Some(first) = first {
            state.set_anchor(&first);
        }
        requests.push(Request::EndTxn {
            commit: true,
            // The batch itself is the footprint.
            lock_spans: Vec::new(),
            one_phase: true,
            deadline: state.deadline,
        });
        let header = BatchHeader {
            can_forward_read_ts: state.can_forward(),
            txn: Some(state.meta.clone()),
            lock_wait: state.lock_wait,
            ..BatchHeader::default()
        };
        BatchRequest { header, requests }
    }

    async fn commit_locks(&self, waiter: &mut oneshot::Sender<Result<Timestamp>>) -> Result<Timestamp> {
        if let Some(timestamp) = self.commit_staged().await? {
            return Ok(timestamp);
        }
        let flushed = tokio::select! {
            biased;
            flushed = self.flush(true) => flushed,
            // Others' locks may take for ever, and who vanished may want to roll back.
            () = waiter.closed() => Err(Error::Ended("given up")),
        };
        if let Err(error) = flushed {
            // No EndTxn was sent, so nothing is decided.
            return Err(self.fail_commit(error));
        }
        let mut attempt = 1;
        loop {
            let write_ts = self.state().meta.write_ts;
            if let Err(error) = self.refresh_to(write_ts).await {
                return Err(self.fail_commit(error));
            }
            let batch = {
                let mut state = self.state();
                if state.deadline.is_some_and(|deadline| state.meta.write_ts > deadline) {
                    drop(state);
                    return Err(self.fail_commit(StoreError::DeadlineExceeded.into()));
                }
                // Whoever cleans up after a crash asks for each of them.
                state.locks.coalesce(RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX);
                let end = Request::EndTxn {
                    commit: true,
                    lock_spans: state.locks.all_spans(),
                    one_phase: false,
                    deadline: state.deadline,
                };
                let header = BatchHeader { txn: Some(state.meta.clone()), ..BatchHeader::default() };
                BatchRequest { header, requests: vec![end] }
            };
            let error = match self.shared.sender.send(batch).await {
                Ok(response) => {
                    let Some(Response::EndTxn { commit_ts, .. }) = response.responses.last() else {
                        return Err(self.fail_commit(unknown(unexpected("commit"))));
                    };
                    let timestamp = *commit_ts;
                    self.finish_commit(timestamp, false, true).await;
                    return Ok(timestamp);
                }
                Err(error) => undecided(error),
            };
            let recovered = match error {
                Ok(error) => self.recover(error, attempt).await,
                Err(error) => Err(error),
            };
            if let Err(error) = recovered {
                return Err(self.fail_commit(error));
            }
            attempt += 1;
        }
    }

    pub(crate) async fn finish_commit(&self, timestamp: Timestamp, one_phase: bool, locks_left: bool) {
        bump(&self.shared.counters.commits);
        if one_phase {
            bump(&self.shared.counters.one_phase);
        }
        let cleanup = {
            let mut state = self.state();
            if locks_left && !state.has_replicated() {
                let keys: Vec<_> = state.buffer.keys().cloned().collect();
                keys.iter().for_each(|key| state.locks.add_key(key));
            }
            let held = state.held.hull();
            let elsewhere =
                locks_left || held.is_some_and(|held| !self.shared.sender.releases_at_once(&held));
            self.give_up_committed(&mut state, Fate::Committed(timestamp), elsewhere)
        };
        if let Some(cleanup) = cleanup {
            cleanup.run_in_background(&self.shared).await;
        }
    }

    fn give_up_committed(
        &self,
        state: &mut crate::state::State,
        fate: Fate,
        locks_left: bool,
    ) -> Option<Cleanup> {
        self.unregister(state);
        state.phase = Phase::Committed;
        state.buffer.clear();
        self.account(state);
        let cleanup = (locks_left && state.leaves_traces()).then(|| Cleanup::new(state, fate));
        state.reads.clear();
        cleanup
    }

    /// What a failed commit leaves: an unknown outcome, an aborted transaction, or one that may be restarted.
    pub(crate) fn fail_commit(&self, error: Error) -> Error {
        let mut state = self.state();
        match error.store() {
            Some(StoreError::Ambiguous { .. }) => {
                bump(&self.shared.counters.ambiguous);
                state.phase = Phase::Ambiguous;
            }
            Some(StoreError::TxnAborted { .. }) => state.phase = Phase::Aborted,
            _ if state.phase == Phase::Aborted => return aborted(),
            _ => state.phase = Phase::Active,
        }
        error
    }
}

/// The error of a deciding request, if it says that nothing was decided. Where the store contradicts itself it says
/// nothing at all about that.
fn undecided(error: StoreError) -> Result<StoreError> {
    match error {
        StoreError::Internal(_) => Err(unknown(error.into())),
        error => Ok(error),
    }
}

fn unknown(error: Error) -> Error {
    tracing::error!(%error, "a commit failed in a way that leaves its outcome open");
    StoreError::Ambiguous { reason: error.to_string() }.into()
}
