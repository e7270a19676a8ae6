//! What the janitor does with the records of finished transactions of one range: their locks are asked for together, one
//! request for each range that may have some, and the records go with one command.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use basalt_base::{Key, RangeId, Span, Timestamp, TxnId, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error, IgnoredSeqs, Observed, PushType, Request, ResolvedTxn, Response,
    Result, TxnMeta, TxnRecord, TxnStatus,
};
use basalt_storage::WriteBatch;
use futures::future::join_all;

use super::{
    Store,
    proposal::{Proposed, Tail},
};
use crate::{
    concurrency::{Access, LatchSpan},
    evaluate::{Effects, record, storage_error},
    replica::{Command, Header, Replica},
};

/// Locks resolved by one command.
const RESOLVE_KEYS_MAX: u64 = 2_000;
/// Spans asked about with one request.
const SPANS_TOGETHER_MAX: usize = 128;

/// A finished transaction.
struct Finished {
    anchor: Key,
    record: TxnRecord,
}

impl Finished {
    fn resolved(&self) -> ResolvedTxn {
        ResolvedTxn {
            id: self.record.id,
            epoch: self.record.epoch,
            status: self.record.status,
            timestamp: self.record.write_ts,
            ignored: self.record.ignored.clone(),
        }
    }
}

/// What the janitor finds where a record was.
enum Found {
    Nothing,
    /// Not finished, or somebody is at its locks.
    Busy,
    Finished(Finished),
}

impl Store {
    /// Sees to records anchored in one range. Returns those that must be looked at again.
    pub(super) async fn tidy(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        records: Vec<(Key, TxnId)>,
    ) -> Vec<(Key, TxnId)> {
        let mut left = Vec::new();
        let mut finished = Vec::with_capacity(records.len());
        for (anchor, id) in records {
            match self.look_at_record(&anchor, id).await {
                Ok(Found::Nothing) => {}
                Ok(Found::Busy) => left.push((anchor, id)),
                Ok(Found::Finished(found)) => finished.push(found),
                Err(error) => {
                    tracing::debug!(%id, %error, "a finished transaction was not looked at");
                    left.push((anchor, id));
                }
            }
        }
        let unresolved = self.resolve_all(&finished).await;
        let (unresolved, resolved): (Vec<_>, Vec<_>) =
            finished.into_iter().partition(|finished| unresolved.contains(&finished.record.id));
        left.extend(unresolved.into_iter().map(|finished| (finished.anchor, finished.record.id)));
        match self.delete_records(replica, &resolved).await {
            Ok(()) => {
                for Finished { record, .. } in &resolved {
                    self.lock_compaction.add(&record.lock_spans, self.resolving.finish(record.id));
                }
            }
            Err(error) => {
                tracing::debug!(range = %replica.range_id, %error, "records were not deleted");
                left.extend(resolved.into_iter().map(|finished| (finished.anchor, finished.record.id)));
            }
        }
        left
    }

    async fn look_at_record(self: &Arc<Self>, anchor: &Key, id: TxnId) -> Result<Found> {
        let Some(record) = record::load(&*self.states.engine, anchor, id).map_err(storage_error)? else {
            return Ok(Found::Nothing);
        };
        let is_over = |record: &TxnRecord| matches!(record.status, TxnStatus::Committed | TxnStatus::Aborted);
        let record = if is_over(&record) { record } else { self.touch(anchor, &record).await? };
        if !is_over(&record) || self.resolving.is_active(id, self.env.clock.monotonic()) {
            return Ok(Found::Busy);
        }
        Ok(Found::Finished(Finished { anchor: anchor.clone(), record }))
    }

    /// Aborts the transaction if it has expired.
    async fn touch(self: &Arc<Self>, anchor: &Key, record: &TxnRecord) -> Result<TxnRecord> {
        let pushee = TxnMeta {
            id: record.id,
            anchor: anchor.clone(),
            epoch: record.epoch,
            read_ts: record.last_heartbeat,
            write_ts: record.write_ts,
            min_ts: record.last_heartbeat,
            global_limit: record.write_ts,
            priority: Default::default(),
            read_seq: 0,
            ignored: IgnoredSeqs::default(),
            observed: Observed::default(),
        };
        let request = Request::PushTxn {
            pushee,
            push_type: PushType::Touch,
            push_to: Default::default(),
            force: false,
            dependents: Vec::new(),
        };
        match self.ask(request).await? {
            Response::PushTxn { record, .. } => Ok(record),
            _ => Err(Error::Internal("a push was answered by something else".to_owned())),
        }
    }

    /// Resolves all locks that the transactions may have left. Returns the transactions of which it is not known.
    async fn resolve_all(self: &Arc<Self>, finished: &[Finished]) -> BTreeSet<TxnId> {
        let mut failed = BTreeSet::new();
        let mut by_range: BTreeMap<RangeId, Vec<(TxnId, Request)>> = BTreeMap::new();
        for finished in finished {
            let txn = finished.resolved();
            for span in &finished.record.lock_spans {
                match self.locate(&span.start).await {
                    Ok(located) if located.descriptor.covers(span) => {
                        let (span, txn) = (span.clone(), txn.clone());
                        let request = Request::ResolveLockRange { span, txn, keys_max: RESOLVE_KEYS_MAX };
                        let group = by_range.entry(located.descriptor.range_id).or_default();
                        group.push((finished.record.id, request));
                    }
                    _ => {
                        if let Err(error) = self.resolve_span(span.clone(), &txn).await {
                            tracing::debug!(txn = %txn.id, %error, "locks were not resolved");
                            failed.insert(txn.id);
                        }
                    }
                }
            }
        }
        let groups = by_range.values().flat_map(|group| group.chunks(SPANS_TOGETHER_MAX));
        for failures in join_all(groups.map(|group| self.resolve_group(group))).await {
            failed.extend(failures);
        }
        failed
    }

    /// Spans of one range. Returns the transactions of those that were not resolved.
    async fn resolve_group(self: &Arc<Self>, group: &[(TxnId, Request)]) -> Vec<TxnId> {
        let requests: Vec<Request> = group.iter().map(|(_, request)| request.clone()).collect();
        let batch = BatchRequest { header: BatchHeader::default(), requests };
        let answers = match Box::pin(self.route(batch)).await {
            Ok(response) if response.responses.len() == group.len() => response.responses,
            Ok(_) => return group.iter().map(|(id, _)| *id).collect(),
            Err(error) => {
                tracing::debug!(%error, "locks were not resolved");
                return group.iter().map(|(id, _)| *id).collect();
            }
        };
        let mut failed = Vec::new();
        for ((id, request), answer) in group.iter().zip(answers) {
            let rest = match (answer, request) {
                (Response::ResolveLockRange { resume: None }, _) => continue,
                (
                    Response::ResolveLockRange { resume: Some(rest) },
                    Request::ResolveLockRange { txn, .. },
                ) => self.resolve_span(rest, txn).await,
                _ => Err(unexpected_answer()),
            };
            if rest.is_err() {
                failed.push(*id);
            }
        }
        failed
    }

    async fn resolve_span(self: &Arc<Self>, span: Span, txn: &ResolvedTxn) -> Result<()> {
        let mut next = Some(span);
        while let Some(span) = next.take() {
            let request = Request::ResolveLockRange { span, txn: txn.clone(), keys_max: RESOLVE_KEYS_MAX };
            match self.ask(request).await? {
                Response::ResolveLockRange { resume } => next = resume,
                _ => return Err(unexpected_answer()),
            }
        }
        Ok(())
    }

    /// Deletes records whose locks are gone, all of `replica`.
    async fn delete_records(self: &Arc<Self>, replica: &Arc<Replica>, records: &[Finished]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        loop {
            let latches = records.iter().map(|Finished { anchor, record }| {
                LatchSpan::point(keys::txn_record_key(anchor, record.id), Access::Write, Timestamp::ZERO)
            });
            let mut guard = self.latches.acquire(latches.collect());
            self.patiently(replica, guard.wait(), "requests of the range do not end").await?;
            let view = self.lease_view(replica, Timestamp::ZERO)?;
            let mut batch = WriteBatch::new();
            for Finished { anchor, record } in records {
                if !view.descriptor.contains(anchor) {
                    return Err(Error::RangeMismatch);
                }
                // Its coordinator may still live and wait for an answer that was lost. It must not find that nothing ever
                // was: it would take a commit for an abort, and commit once more. Nor may the commit itself, which comes
                // a second time, be taken for the first.
                self.markers.entomb(record.id, record.write_ts.max(record.last_heartbeat));
                record::delete(&mut batch, anchor, record.id);
            }
            let header = Header {
                lease_sequence: view.sequence,
                generation: view.descriptor.generation,
                closed_ts: self.close(replica),
                ..Header::default()
            };
            let command = Command { header, batch, ..Command::default() };
            let tail = Tail {
                store: Arc::clone(self),
                future: self.raft().propose(replica.range_id, command.encode()),
                replica: Arc::clone(replica),
                guard,
                effects: Effects::default(),
            };
            if let Proposed::Applied = self.decided(tail).await? {
                return Ok(());
            }
        }
    }
}

fn unexpected_answer() -> Error {
    Error::Internal("a request of the janitor was answered by something else".to_owned())
}
