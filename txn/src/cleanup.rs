//! What is left to do when a transaction has ended: its locks become versions or vanish.
//!
//! Nothing depends on it but speed: whoever meets a lock of a finished transaction resolves it.

use std::{sync::Arc, time::Duration};

use basalt_base::{ErrorKind, Key, Span, Timestamp};
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error as StoreError, Request, Response, TxnMeta, TxnStatus,
    request::ResolvedTxn,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

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
    /// A record may have to be marked aborted.
    record: bool,
    /// The record is staged, and is to say that the transaction is committed.
    is_unsaid: bool,
    /// Where there are locks in memory at most. Releasing them asks for no record and writes nothing.
    held: Targets,
    /// Where replicated locks may be, and perhaps locks in memory too.
    locks: Targets,
    lock_spans: Vec<Span>,
    /// Ends the wait of who has ended the transaction.
    waiter: Mutex<Option<oneshot::Sender<()>>>,
    /// So much goes on in the background that he waits for all of it, however long that takes.
    holds_up: bool,
}

#[derive(Default)]
struct Targets {
    points: Vec<Key>,
    spans: Vec<Span>,
}

impl Targets {
    fn is_empty(&self) -> bool {
        self.points.is_empty() && self.spans.is_empty()
    }

    /// Whether resolving them may be waited for.
    fn is_quick(&self) -> bool {
        self.spans.is_empty() && self.points.len() <= RESOLVE_KEYS_MAX
    }
}

impl From<Footprint> for Targets {
    fn from(mut footprint: Footprint) -> Self {
        footprint.normalise();
        Self { points: footprint.points().to_vec(), spans: footprint.spans().to_vec() }
    }
}

impl Cleanup {
    /// Takes the footprints out of `state`.
    pub(crate) fn new(state: &mut State, fate: Fate) -> Self {
        let limit = usize::MAX;
        let mut locks = std::mem::replace(&mut state.locks, Footprint::new(limit));
        let mut held = std::mem::replace(&mut state.held, Footprint::new(limit));
        let replicated = !locks.is_empty();
        let locked = locks.all_spans();
        let both = held.split_off(&locked);
        let mut lock_spans = Vec::new();
        // Not if the outcome is unknown: a wider range might hold locks whose fate somebody else decides.
        if fate != Fate::Unknown {
            locks.coalesce(RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX);
            if fate == Fate::Aborted || state.is_unsaid {
                lock_spans = locks.all_spans();
            }
            both.points().iter().for_each(|key| locks.add_key(key));
            both.spans().iter().for_each(|span| locks.add_span(span));
            let mut wider = held.clone();
            wider.coalesce(RESOLVE_KEYS_MAX, RESOLVE_SPANS_MAX);
            if wider.split_off(&locked).is_empty() {
                held = wider;
            }
        }
        Self {
            meta: state.meta.clone(),
            fate,
            record: fate == Fate::Aborted && (replicated || state.record),
            is_unsaid: matches!(fate, Fate::Committed(_)) && std::mem::take(&mut state.is_unsaid),
            held: held.into(),
            locks: if fate == Fate::Unknown { Targets::default() } else { locks.into() },
            lock_spans,
            waiter: Mutex::default(),
            holds_up: false,
        }
    }

    /// Cleans up. Waits for the release of locks in memory, for the rest if that is quick and somebody may meet it, and
    /// for all of it if too much goes on in the background; not for a range that nobody serves. Goes on when nobody waits for
    /// it any more.
    pub(crate) async fn start(mut self, shared: &Arc<Shared>) {
        let background = if self.locks.is_empty() { self.record } else { !self.locks.is_quick() };
        let permit = background.then(|| shared.resolutions.clone().try_acquire_owned().ok()).flatten();
        if background && permit.is_none() {
            bump(&shared.counters.resolutions_inline);
        }
        let (sender, receiver) = oneshot::channel::<()>();
        self.waiter = Mutex::new(Some(sender));
        self.holds_up = background && permit.is_none();
        let shared_in_task = shared.clone();
        let task = async move {
            self.release_held(&shared_in_task).await;
            if permit.is_some() {
                self.waiter.lock().take();
            }
            self.end(&shared_in_task).await;
            drop((self, permit));
        };
        shared.env.spawner.spawn("txn-resolve", Box::pin(task));
        // Ends with an error, as nothing is ever sent.
        let _ = receiver.await;
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
        self.release_held(shared).await;
        self.end(shared).await;
    }

    /// First, as it depends on nothing: a full disk must not keep others waiting for locks that were never on it.
    async fn release_held(&self, shared: &Shared) {
        if !self.resolve(shared, &self.held).await {
            let txn = self.meta.id;
            tracing::warn!(%txn, "the locks of a transaction could not be released and will expire");
        }
    }

    async fn end(&self, shared: &Shared) {
        if (self.record || self.is_unsaid) && !self.meta.anchor.is_empty() {
            let end = Request::EndTxn {
                commit: self.is_unsaid,
                lock_spans: self.lock_spans.clone(),
                one_phase: false,
                deadline: None,
            };
            let header = BatchHeader { txn: Some(self.meta.clone()), ..BatchHeader::default() };
            if self.send(shared, header, vec![end]).await.is_none() {
                // Perhaps it committed after all. The record, or its expiration, tells those who meet the locks.
                return;
            }
        }
        self.resolve(shared, &self.locks).await;
    }

    /// Whether everything could be sent.
    async fn resolve(&self, shared: &Shared, targets: &Targets) -> bool {
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
        let mut all_sent = true;
        for keys in targets.points.chunks(RESOLVE_KEYS_MAX) {
            let requests =
                keys.iter().map(|key| Request::ResolveLock { key: key.clone(), txn: txn.clone() }).collect();
            all_sent &= self.send(shared, BatchHeader::default(), requests).await.is_some();
        }
        for span in &targets.spans {
            let mut rest = Some(span.clone());
            while let Some(span) = rest.take() {
                let keys_max = RESOLVE_RANGE_KEYS_MAX;
                let request = Request::ResolveLockRange { span, txn: txn.clone(), keys_max };
                match self.send(shared, BatchHeader::default(), vec![request]).await.as_deref() {
                    Some([Response::ResolveLockRange { resume }]) => {
                        rest = resume.clone().filter(|span| !span.is_empty());
                    }
                    _ => all_sent = false,
                }
            }
        }
        all_sent
    }

    /// Sends a batch that may be repeated at will.
    async fn send(
        &self,
        shared: &Shared,
        header: BatchHeader,
        requests: Vec<Request>,
    ) -> Option<Vec<Response>> {
        for attempt in 1..=ATTEMPTS_MAX {
            let batch = BatchRequest { header: header.clone(), requests: requests.clone() };
            match shared.sender.send(batch).await {
                Ok(response) => return Some(response.responses),
                Err(error) => {
                    tracing::debug!(%error, attempt, "transaction clean-up failed");
                    if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Retry) {
                        return None;
                    }
                    if matches!(error, StoreError::Unavailable(_)) && !self.holds_up {
                        self.waiter.lock().take();
                    }
                }
            }
            shared.env.spawner.sleep(RETRY_DELAY).await;
        }
        None
    }
}
