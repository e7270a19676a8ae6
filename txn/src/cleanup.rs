//! What is left to do when a transaction has ended: its locks become versions or vanish.
//!
//! Nothing depends on it but speed: whoever meets a lock of a finished transaction resolves it.

use std::{sync::Arc, time::Duration};

use basalt_base::{ErrorKind, Key, Span, Timestamp};
use basalt_kv_api::{BatchHeader, BatchRequest, Request, Response, TxnMeta, TxnStatus, request::ResolvedTxn};

use crate::{client::Shared, counts::bump, footprint::Footprint, state::State};

/// Keys resolved by one request batch.
pub(crate) const RESOLVE_KEYS_MAX: usize = 500;
/// A footprint of more keys is cleaned up by so many ranged requests instead. Each command costs a round of the log,
/// and what a range covers beyond the transaction's own locks costs a glance.
pub(crate) const RESOLVE_SPANS_MAX: usize = 16;
/// Keys resolved by one ranged command.
const RESOLVE_RANGE_KEYS_MAX: u64 = 2_000;
const ATTEMPTS_MAX: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How the transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed(Timestamp),
    Aborted,
    /// Only locks without a value may be touched.
    Unknown,
}

pub(crate) struct Cleanup {
    meta: TxnMeta,
    fate: Fate,
    replicated: bool,
    /// A record may have to be marked aborted.
    record: bool,
    points: Vec<Key>,
    spans: Vec<Span>,
    lock_spans: Vec<Span>,
}

impl Cleanup {
    /// Takes the footprints out of `state`.
    pub(crate) fn new(state: &mut State, fate: Fate) -> Self {
        let limit = usize::MAX;
        let mut locks = std::mem::replace(&mut state.locks, Footprint::new(limit));
        let mut held = std::mem::replace(&mut state.held, Footprint::new(limit));
        let replicated = !locks.is_empty();
        // Not if the outcome is unknown: a wider range might hold locks whose fate somebody else decides.
        if fate != Fate::Unknown {
            locks.coalesce(RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX);
            held.coalesce(RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX);
        }
        let lock_spans = if fate == Fate::Aborted { locks.all_spans() } else { Vec::new() };
        if fate == Fate::Unknown && replicated {
            // A key may be in both footprints: leave them all to the record.
            held.clear();
        }
        locks.normalise();
        held.normalise();
        let mut points = held.points().to_vec();
        let mut spans = held.spans().to_vec();
        if fate != Fate::Unknown {
            points.extend_from_slice(locks.points());
            spans.extend_from_slice(locks.spans());
        }
        points.sort_unstable();
        points.dedup();
        Self {
            meta: state.meta.clone(),
            fate,
            replicated,
            record: fate == Fate::Aborted && (replicated || state.record),
            points,
            spans,
            lock_spans,
        }
    }

    /// Whether it may be waited for. Releasing locks that are in memory only writes nothing, however many they are.
    fn is_quick(&self) -> bool {
        !self.replicated || (self.spans.is_empty() && self.points.len() <= RESOLVE_KEYS_MAX)
    }

    /// Cleans up now if that is quick, and in the background otherwise. Goes on when nobody waits for it any more.
    pub(crate) async fn start(self, shared: &Arc<Shared>) {
        if self.is_quick() {
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let shared_in_task = shared.clone();
            let task = async move {
                self.run(&shared_in_task).await;
                drop(sender);
            };
            shared.env.spawner.spawn("txn-resolve", Box::pin(task));
            // Ends with an error, as nothing is ever sent.
            let _ = receiver.await;
        } else {
            self.run_in_background(shared).await;
        }
    }

    /// In the background, unless too many are: then the caller waits.
    pub(crate) async fn run_in_background(self, shared: &Arc<Shared>) {
        match shared.resolutions.clone().try_acquire_owned() {
            Ok(permit) => {
                let shared_in_task = shared.clone();
                let task = async move {
                    self.run(&shared_in_task).await;
                    drop(permit);
                };
                shared.env.spawner.spawn("txn-resolve", Box::pin(task));
            }
            Err(_) => {
                bump(&shared.counters.resolutions_inline);
                self.run(shared).await;
            }
        }
    }

    /// From a destructor: in the background, queueing for a permit.
    pub(crate) fn spawn(self, shared: &Arc<Shared>) {
        let shared_in_task = shared.clone();
        let task = async move {
            let permit = shared_in_task.resolutions.clone().acquire_owned().await;
            self.run(&shared_in_task).await;
            drop(permit);
        };
        shared.env.spawner.spawn("txn-cleanup", Box::pin(task));
    }

    async fn run(self, shared: &Shared) {
        if self.record && !self.meta.anchor.is_empty() {
            let end = Request::EndTxn {
                commit: false,
                lock_spans: self.lock_spans.clone(),
                one_phase: false,
                deadline: None,
            };
            let header = BatchHeader { txn: Some(self.meta.clone()), ..BatchHeader::default() };
            if send(shared, header, vec![end]).await.is_none() {
                // Perhaps it committed after all. The record, or its expiration, tells those who meet the locks.
                return;
            }
        }
        let txn = ResolvedTxn {
            id: self.meta.id,
            epoch: self.meta.epoch,
            status: match self.fate {
                Fate::Committed(_) => TxnStatus::Committed,
                Fate::Aborted | Fate::Unknown => TxnStatus::Aborted,
            },
            timestamp: match self.fate {
                Fate::Committed(timestamp) => timestamp,
                Fate::Aborted | Fate::Unknown => self.meta.write_ts,
            },
            ignored: self.meta.ignored.clone(),
        };
        for keys in self.points.chunks(RESOLVE_KEYS_MAX) {
            let requests =
                keys.iter().map(|key| Request::ResolveLock { key: key.clone(), txn: txn.clone() }).collect();
            let _ = send(shared, BatchHeader::default(), requests).await;
        }
        for span in self.spans {
            let mut rest = Some(span);
            while let Some(span) = rest.take() {
                let keys_max = RESOLVE_RANGE_KEYS_MAX;
                let request = Request::ResolveLockRange { span, txn: txn.clone(), keys_max };
                if let Some(responses) = send(shared, BatchHeader::default(), vec![request]).await
                    && let Some(Response::ResolveLockRange { resume }) = responses.into_iter().next()
                {
                    rest = resume.filter(|span| !span.is_empty());
                }
            }
        }
    }
}

/// Sends a batch that may be repeated at will.
async fn send(shared: &Shared, header: BatchHeader, requests: Vec<Request>) -> Option<Vec<Response>> {
    for attempt in 1..=ATTEMPTS_MAX {
        let batch = BatchRequest { header: header.clone(), requests: requests.clone() };
        match shared.sender.send(batch).await {
            Ok(response) => return Some(response.responses),
            Err(error) => {
                tracing::debug!(%error, attempt, "transaction clean-up failed");
                if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Ambiguous | ErrorKind::Retry) {
                    return None;
                }
            }
        }
        shared.env.spawner.sleep(RETRY_DELAY).await;
    }
    None
}
