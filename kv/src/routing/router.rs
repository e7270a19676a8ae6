//! Sending batches to ranges.
//!
//! A batch that lies in one range (nearly all do) goes there as it is. Otherwise:
//!
//! * its writes and resolutions go out first, grouped by range, in parallel;
//! * reads go request by request and range by range, in key order (reverse: from the end), so that limits are kept;
//! * EndTxn goes last, alone, when every write is in place.
//!
//! A one-phase commit that does not list its locks is never divided: it is done at once over ranges that are all here
//! alone (`store/together`), or refused ([`Error::RangeMismatch`]), and its coordinator takes the longer way. A divided batch is not atomic, so it may not choose its own read timestamp unless it only writes. A stale route is
//! answered with [`Error::RangeMismatch`]; the part is then sent again by the truth of the store.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, RangeId, Span, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error, Request, Response, Result, ScanBatch, TxnMeta,
};
use futures::future::try_join_all;

use super::{
    Located,
    attempts::{Attempt, Attempts},
    divide::{self, Target},
    lookup::Aim,
};
use crate::{counts::Counters, store::Store};

impl Store {
    /// Sends a batch wherever it belongs.
    pub(crate) async fn route(self: &Arc<Self>, batch: BatchRequest) -> Result<BatchResponse> {
        let once = batch.requests.iter().any(|request| matches!(request, Request::StageTxn { .. }));
        self.route_with(batch, once).await
    }

    /// With `once`, the batch belongs to a staged commit: see [`super::staged`].
    pub(super) async fn route_with(
        self: &Arc<Self>,
        mut batch: BatchRequest,
        once: bool,
    ) -> Result<BatchResponse> {
        anchor(&mut batch);
        if batch.header.from_any_replica
            && let Some(answer) = self.follow_here(&batch)
        {
            return answer;
        }
        let mut attempts = Attempts::begin(self);
        attempts.once = once;
        loop {
            let key = divide::first_key(&batch.header, &batch.requests).unwrap_or(keys::KEY_MIN);
            let located = match self.locate(&key).await {
                Ok(located) => located,
                Err(Error::Unavailable(why)) => {
                    attempts.pause(self, &why).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !divide::fits(&located.descriptor, &batch.header, &batch.requests) {
                if batch.requests.iter().any(commits_unlisted_writes) {
                    return Box::pin(self.commit_together(&batch)).await;
                }
                Counters::increment(&self.counters.batches_divided);
                if once {
                    return Box::pin(self.route_staged(batch)).await;
                }
                return Box::pin(self.route_divided(batch)).await;
            }
            match self.attempt(&located, &batch, &mut attempts).await {
                Attempt::Answered(result) => return result,
                // The right half of a split appears a moment after the left one has shrunk.
                Attempt::Again => attempts.pause(self, "no replica of the range serves it").await?,
            }
        }
    }

    /// The answer of this node's own replica, if it has one that can tell.
    fn follow_here(self: &Arc<Self>, batch: &BatchRequest) -> Option<Result<BatchResponse>> {
        let key = divide::first_key(&batch.header, &batch.requests)?;
        let replica = self.states.ranges.by_key(&key)?;
        if !divide::fits(&replica.descriptor(), &batch.header, &batch.requests) {
            return None;
        }
        match self.follow(&replica, batch) {
            Err(Error::NotLeaseholder | Error::RangeNotFound | Error::RangeMismatch) => None,
            answer => Some(answer),
        }
    }

    async fn route_divided(self: &Arc<Self>, batch: BatchRequest) -> Result<BatchResponse> {
        let BatchRequest { mut header, requests } = batch;
        if requests.iter().any(divide::is_read) {
            header.can_forward_read_ts = false;
        }
        if header.txn.is_none() && header.timestamp.is_zero() {
            header.timestamp = self.now()?;
        }
        let mut answers: Vec<Option<Response>> = requests.iter().map(|_| None).collect();
        self.send_groups(&mut header, &requests, &mut answers).await?;
        let mut exhausted = false;
        for (request, answer) in requests.iter().zip(&mut answers) {
            if answer.is_some() || matches!(request, Request::EndTxn { .. }) {
                continue;
            }
            *answer = Some(if exhausted {
                divide::unsent(request)?
            } else {
                self.send_parts(&mut header, request, &mut exhausted).await?
            });
        }
        for (request, answer) in requests.iter().zip(&mut answers) {
            if let Request::EndTxn { commit, lock_spans, deadline, .. } = request {
                let request = Request::EndTxn {
                    commit: *commit,
                    lock_spans: lock_spans.clone(),
                    deadline: *deadline,
                    one_phase: false,
                };
                *answer = Some(self.send_alone(&mut header, request).await?);
            }
        }
        let responses = answers
            .into_iter()
            .map(|answer| answer.ok_or_else(|| Error::Internal("a request was not answered".to_owned())))
            .collect::<Result<_>>()?;
        Ok(BatchResponse { responses, txn: header.txn, now: self.now().unwrap_or_default() })
    }

    /// The chosen requests, by their ranges.
    ///
    /// Of one range, an old descriptor and a new one are two groups: else the batch would not fit the new one, be divided
    /// into the same group, and so on for ever.
    pub(super) async fn groups(
        self: &Arc<Self>,
        header: &BatchHeader,
        requests: &[Request],
        choose: fn(&Request) -> bool,
    ) -> Result<BTreeMap<(RangeId, u64), Vec<usize>>> {
        let mut groups: BTreeMap<(RangeId, u64), Vec<usize>> = BTreeMap::new();
        for (index, request) in requests.iter().enumerate() {
            if let (true, Target::Key(key)) = (choose(request), divide::target(header, request)) {
                let descriptor = self.locate_patiently(Aim::At(&key)).await?.descriptor;
                groups.entry((descriptor.range_id, descriptor.generation)).or_default().push(index);
            }
        }
        Ok(groups)
    }

    /// Sends what is of single keys, grouped by range.
    async fn send_groups(
        self: &Arc<Self>,
        header: &mut BatchHeader,
        requests: &[Request],
        answers: &mut [Option<Response>],
    ) -> Result<()> {
        let groups = self.groups(header, requests, divide::is_of_one_key).await?;
        let sends = groups.values().map(|indices| {
            let requests = indices.iter().map(|index| requests[*index].clone()).collect();
            // Boxed: a group whose range has split meanwhile is divided again.
            Box::pin(self.route(BatchRequest { header: header.clone(), requests }))
        });
        let responses = try_join_all(sends).await?;
        for (indices, response) in groups.values().zip(responses) {
            merge_txn(header, response.txn);
            for (index, response) in indices.iter().zip(response.responses) {
                answers[*index] = Some(response);
            }
        }
        Ok(())
    }

    /// Sends a request to each range of its span in turn.
    async fn send_parts(
        self: &Arc<Self>,
        header: &mut BatchHeader,
        request: &Request,
        exhausted: &mut bool,
    ) -> Result<Response> {
        let Target::Span(whole) = divide::target(header, request) else {
            return self.send_alone(header, request.clone()).await;
        };
        let reverse = divide::is_reverse(request);
        let mut rest = whole;
        let mut joined = None;
        loop {
            let part = self.next_part(&rest, reverse).await?;
            let left = if reverse {
                Span::new(rest.start.clone(), part.start.clone())
            } else {
                Span::new(part.end.clone(), rest.end.clone())
            };
            let response = self.send_alone(header, divide::clipped(request, part)).await?;
            let stopped = divide::resume_of(&response).cloned();
            let ends_here =
                stopped.is_some() || matches!(&response, Response::Scan { batch: ScanBatch::Program(_), .. });
            let left = match stopped {
                Some(stopped) if reverse => Span::new(rest.start.clone(), stopped.end),
                Some(stopped) => Span::new(stopped.start, rest.end.clone()),
                None => left,
            };
            let full = spend(header, &response);
            let remaining = (!left.is_empty()).then(|| left.clone());
            let done = remaining.is_none() || ends_here || full;
            // How much of the limits a program has used is known to its author only: let him ask again.
            *exhausted |= full || (ends_here && remaining.is_some());
            joined = Some(divide::join(joined.take(), response, remaining)?);
            if done {
                return joined.ok_or_else(|| Error::Internal("a span without parts".to_owned()));
            }
            rest = left;
        }
    }

    /// The part of `rest` that lies in its first (reverse: last) range.
    async fn next_part(self: &Arc<Self>, rest: &Span, reverse: bool) -> Result<Span> {
        if reverse {
            let descriptor = self.locate_patiently(Aim::Before(&rest.end)).await?.descriptor;
            let start = descriptor.span.start.clone().max(rest.start.clone());
            return Ok(Span::new(start, rest.end.clone()));
        }
        let descriptor = self.locate_patiently(Aim::At(&rest.start)).await?.descriptor;
        Ok(Span::new(rest.start.clone(), rest.end.clone().min(descriptor.span.end.clone())))
    }

    pub(super) async fn locate_patiently(self: &Arc<Self>, aim: Aim<'_>) -> Result<Located> {
        let mut attempts = Attempts::begin(self);
        loop {
            match self.find(aim).await {
                Err(Error::Unavailable(why)) => attempts.pause(self, &why).await?,
                result => return result,
            }
        }
    }

    async fn send_alone(self: &Arc<Self>, header: &mut BatchHeader, request: Request) -> Result<Response> {
        let batch = BatchRequest { header: header.clone(), requests: vec![request] };
        let mut response = Box::pin(self.route(batch)).await?;
        merge_txn(header, response.txn.take());
        response.responses.pop().ok_or_else(|| Error::Internal("an empty answer".to_owned()))
    }
}

/// A one-phase commit whose footprint is the batch itself: it can't be divided, because nobody would know its locks.
fn commits_unlisted_writes(request: &Request) -> bool {
    matches!(request, Request::EndTxn { commit: true, one_phase: true, lock_spans, .. } if lock_spans.is_empty())
}

/// The first write of a transaction decides where its record lives.
fn anchor(batch: &mut BatchRequest) {
    let Some(txn) = &mut batch.header.txn else { return };
    if !txn.anchor.is_empty() {
        return;
    }
    let first: Option<&Key> = batch.requests.iter().find_map(|request| match request {
        Request::Put { key, .. } | Request::Delete { key, .. } => Some(key),
        Request::Get { key, lock: Some(_) } => Some(key),
        _ => None,
    });
    if let Some(key) = first {
        txn.anchor = key.clone();
    }
}

pub(super) fn merge_txn(header: &mut BatchHeader, answered: Option<TxnMeta>) {
    if let (Some(txn), Some(answered)) = (&mut header.txn, answered) {
        txn.read_ts = txn.read_ts.max(answered.read_ts);
        txn.write_ts = txn.write_ts.max(answered.write_ts);
        txn.observed.merge(&answered.observed);
        if txn.anchor.is_empty() {
            txn.anchor = answered.anchor;
        }
    }
}

/// Takes what a scan has returned off the limits. True if nothing is left.
fn spend(header: &mut BatchHeader, response: &Response) -> bool {
    let Response::Scan { batch: ScanBatch::Rows(rows), .. } = response else { return false };
    let mut full = false;
    let returned = rows.len() as u64;
    let bytes: u64 = rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    for (limit, used) in [(&mut header.rows_max, returned), (&mut header.bytes_max, bytes)] {
        if *limit > 0 {
            full |= *limit <= used;
            *limit = limit.saturating_sub(used).max(1);
        }
    }
    full
}
