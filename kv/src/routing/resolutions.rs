//! Resolutions of locks, sent together.
//!
//! Each transaction over several ranges leaves locks that its coordinator resolves when it has committed, one request and
//! one command of the log for each range. Nobody waits for that, but everybody pays for it. So while some are under way
//! to a range, those that come wait, and then go out as one request: an idle node sends each at once, a busy one sends
//! them in groups whose size follows the load. Who meets a lock meanwhile resolves it himself.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use basalt_base::RangeId;
use basalt_kv_api::{BatchHeader, BatchRequest, BatchResponse, Error, Request, Response, Result};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::lookup::Aim;
use crate::store::Store;

/// Requests to one range under way at once.
const FLIGHTS_MAX: usize = 2;
/// Locks resolved by one request: they are latched together.
const TOGETHER_MAX: usize = 64;

/// What waits, by range. A range is listed while something is under way to it.
#[derive(Default)]
pub(crate) struct Resolutions {
    lines: Mutex<BTreeMap<RangeId, Line>>,
}

struct Line {
    flights: usize,
    waiting: Vec<Waiting>,
}

struct Waiting {
    request: Request,
    done: oneshot::Sender<Result<()>>,
}

/// Whether the batch only resolves a few locks of finished transactions.
pub(super) fn may_wait_for_others(batch: &BatchRequest) -> bool {
    batch.header.txn.is_none()
        && !batch.requests.is_empty()
        && batch.requests.len() <= TOGETHER_MAX
        && batch.requests.iter().all(|request| matches!(request, Request::ResolveLock { .. }))
}

impl Resolutions {
    /// Joins a line. True if a flight is to be made, which then begins with all that waits.
    fn join(&self, range: RangeId, waiting: Waiting) -> bool {
        let mut lines = self.lines.lock();
        let line = lines.entry(range).or_insert_with(|| Line { flights: 0, waiting: Vec::new() });
        // If others wait already, a flight that takes them is about to begin, or none may.
        let begins = line.waiting.is_empty() && line.flights < FLIGHTS_MAX;
        line.waiting.push(waiting);
        line.flights += usize::from(begins);
        begins
    }

    /// The next load of a flight. Without one the flight is over.
    fn load(&self, range: RangeId) -> Vec<Waiting> {
        let mut lines = self.lines.lock();
        let Entry::Occupied(mut entry) = lines.entry(range) else { return Vec::new() };
        let line = entry.get_mut();
        if line.waiting.is_empty() {
            line.flights -= 1;
            if line.flights == 0 {
                entry.remove();
            }
            return Vec::new();
        }
        let count = line.waiting.len().min(TOGETHER_MAX);
        line.waiting.drain(..count).collect()
    }
}

impl Store {
    /// Resolves locks, with those of others that are in the same ranges.
    pub(super) async fn resolve_with_others(
        self: &Arc<Self>,
        requests: Vec<Request>,
    ) -> Result<BatchResponse> {
        let responses = requests.iter().map(|_| Response::ResolveLock).collect();
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let Request::ResolveLock { key, .. } = &request else {
                return Err(Error::Internal("only resolutions wait for each other".to_owned()));
            };
            let range = self.locate_patiently(Aim::At(key)).await?.descriptor.range_id;
            let (done, answer) = oneshot::channel();
            answers.push(answer);
            if self.resolutions.join(range, Waiting { request, done }) {
                let flight = Arc::clone(self).fly(range);
                self.env().spawner.spawn("kv resolutions", Box::pin(flight));
            }
        }
        for answer in answers {
            answer.await.map_err(|_| Error::Unavailable("the node is stopping".to_owned()))??;
        }
        Ok(BatchResponse { responses, txn: None, now: self.now().unwrap_or_default() })
    }

    async fn fly(self: Arc<Self>, range: RangeId) {
        loop {
            let load = self.resolutions.load(range);
            if load.is_empty() {
                return;
            }
            let (requests, waiters): (Vec<_>, Vec<_>) =
                load.into_iter().map(|waiting| (waiting.request, waiting.done)).unzip();
            let result = self.route(BatchRequest { header: BatchHeader::default(), requests }).await;
            for waiter in waiters {
                // Who has gone does not care.
                let _ = waiter.send(result.as_ref().map(drop).map_err(Clone::clone));
            }
        }
    }
}
