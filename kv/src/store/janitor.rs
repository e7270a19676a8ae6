//! Removes the records of finished transactions once their locks are gone.
//!
//! Coordinators resolve their own locks; the janitor comes a moment later, resolves what a dead coordinator has left,
//! and deletes the record. A record goes only after every span in it was resolved: until then, whoever meets a lock
//! must be able to learn its fate.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{Key, Span, TxnId, codec, keys};
use basalt_env::Env;
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error, IgnoredSeqs, PushType, Request, ResolvedTxn, Response, Result, TxnMeta,
    TxnRecord, TxnStatus,
};
use basalt_storage::{Family, IterOptions, WriteBatch};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Store,
    detach::Detach,
    open::alive,
    proposal::{Proposed, Tail},
};
use crate::{
    concurrency::{Access, LatchSpan},
    evaluate::{Effects, record, storage_error},
    replica::{Command, Header},
};

/// What a coordinator gets to do its own cleaning.
const GRACE: Duration = Duration::from_secs(1);
/// Records waiting; further ones wait for the next start.
const QUEUE_MAX: usize = 100_000;
/// Records handled at once: their commands share the log's syncs.
const CONCURRENT_MAX: usize = 64;
/// Locks resolved by one command.
const RESOLVE_KEYS_MAX: u64 = 2_000;

#[derive(Default)]
pub struct Janitor {
    queue: Mutex<BTreeSet<(Key, TxnId)>>,
    wake: Arc<Notify>,
}

impl Janitor {
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub fn add(&self, anchor: Key, id: TxnId) {
        let mut queue = self.queue.lock();
        if queue.len() < QUEUE_MAX {
            queue.insert((anchor, id));
            self.wake.notify_one();
        }
    }
}

impl Store {
    pub(super) async fn run_janitor(store: Weak<Self>, env: Env) {
        loop {
            let wake = {
                let Some(store) = alive(&store) else { return };
                store.janitor.wake()
            };
            wake.notified().await;
            env.spawner.sleep(GRACE).await;
            let Some(store) = alive(&store) else { return };
            let batch = std::mem::take(&mut *store.janitor.queue.lock());
            futures::stream::iter(batch)
                .for_each_concurrent(CONCURRENT_MAX, |(anchor, id)| store.tidy_or_requeue(anchor, id))
                .await;
        }
    }

    /// Sees to what an earlier leaseholder of the ranges led here may have left, whoever has the lease now, since an idle
    /// range is nobody's: records whose news was lost with the answer to their command, and meta entries that lag.
    pub(super) async fn adopt_led(self: &Arc<Self>) {
        for replica in self.states.ranges.all() {
            if !self.leads(&replica) {
                continue;
            }
            if let Err(error) = self.adopt_records(&replica.descriptor().span) {
                tracing::warn!(range = %replica.range_id, %error, "records of transactions could not be read");
            }
            self.tell_meta(&replica).await;
        }
    }

    async fn tidy_or_requeue(self: &Arc<Self>, anchor: Key, id: TxnId) {
        let Some(replica) = self.states.ranges.by_key(&anchor) else { return };
        if self.ensure_lease(&replica).await.is_err() {
            // Whoever gets the lease of the record's range adopts its records; a question makes sure that somebody does.
            let asked = self.ask(Request::QueryTxn { anchor: anchor.clone(), id }).await;
            if asked.is_err() || self.serves(&replica) {
                self.janitor.add(anchor, id);
            }
            return;
        }
        match self.tidy(&anchor, id).await {
            Ok(true) => {}
            Ok(false) => self.janitor.add(anchor, id),
            Err(error) => {
                tracing::debug!(%id, %error, "a finished transaction was not cleaned up");
                self.janitor.add(anchor, id);
            }
        }
    }

    /// Queues all records anchored in `span`: those that an earlier process or leaseholder has left.
    pub(super) fn adopt_records(&self, span: &Span) -> Result<()> {
        let Span { start: lower, end: upper } = keys::range_local_span(span);
        let options =
            IterOptions { lower: Some(lower.clone()), upper: Some(upper), ..IterOptions::default() };
        let mut iter = self.states.engine.iter(Family::Local, options).map_err(storage_error)?;
        iter.seek(&lower).map_err(storage_error)?;
        while iter.valid() {
            let mut rest = &iter.key()[1..];
            if let Ok(anchor) = codec::decode_bytes(&mut rest)
                && let [b'T', id @ ..] = rest
                && let Ok(id) = <[u8; 16]>::try_from(id)
            {
                self.janitor.add(Key::from(anchor), TxnId::from_bytes(id));
            }
            iter.next().map_err(storage_error)?;
        }
        Ok(())
    }

    /// True if the record is gone.
    async fn tidy(self: &Arc<Self>, anchor: &Key, id: TxnId) -> Result<bool> {
        let Some(record) = record::load(&*self.states.engine, anchor, id).map_err(storage_error)? else {
            return Ok(true);
        };
        let record = match record.status {
            TxnStatus::Committed | TxnStatus::Aborted => record,
            TxnStatus::Pending | TxnStatus::Staging => {
                let record = self.touch(anchor, &record).await?;
                if !matches!(record.status, TxnStatus::Committed | TxnStatus::Aborted) {
                    return Ok(false);
                }
                record
            }
        };
        if self.resolving.is_active(id, self.env.clock.monotonic()) {
            return Ok(false);
        }
        for span in &record.lock_spans {
            self.resolve_span(span.clone(), &record).await?;
        }
        let aborted =
            (record.status == TxnStatus::Aborted).then(|| (id, record.write_ts.max(record.last_heartbeat)));
        self.delete_record(anchor, id, aborted).await?;
        self.lock_compaction.add(&record.lock_spans, self.resolving.finish(id));
        Ok(true)
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

    async fn resolve_span(self: &Arc<Self>, span: Span, record: &TxnRecord) -> Result<()> {
        let txn = ResolvedTxn {
            id: record.id,
            epoch: record.epoch,
            status: record.status,
            timestamp: record.write_ts,
            ignored: record.ignored.clone(),
        };
        let mut next = Some(span);
        while let Some(span) = next.take() {
            let request = Request::ResolveLockRange { span, txn: txn.clone(), keys_max: RESOLVE_KEYS_MAX };
            match self.ask(request).await? {
                Response::ResolveLockRange { resume } => next = resume,
                _ => return Err(Error::Internal("a resolve was answered by something else".to_owned())),
            }
        }
        Ok(())
    }

    pub(super) async fn ask(self: &Arc<Self>, request: Request) -> Result<Response> {
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        let mut response = Box::pin(self.route(batch)).await?;
        response.responses.pop().ok_or_else(|| Error::Internal("an empty answer".to_owned()))
    }

    /// `aborted`: its coordinator may still live, and must not find that nothing is known of it.
    async fn delete_record(
        self: &Arc<Self>,
        anchor: &Key,
        id: TxnId,
        aborted: Option<(TxnId, basalt_base::Timestamp)>,
    ) -> Result<()> {
        loop {
            let key = keys::txn_record_key(anchor, id);
            let latch = LatchSpan::point(key, Access::Write, basalt_base::Timestamp::ZERO);
            let mut guard = self.latches.acquire(vec![latch]);
            guard.wait().await;
            let replica = self.states.ranges.by_key(anchor).ok_or(Error::RangeMismatch)?;
            let view = self.lease_view(&replica, basalt_base::Timestamp::ZERO)?;
            let mut batch = WriteBatch::new();
            record::delete(&mut batch, anchor, id);
            let header = Header {
                lease_sequence: view.sequence,
                generation: view.descriptor.generation,
                closed_ts: self.close(&replica),
                ..Header::default()
            };
            let command = Command { header, batch, ..Command::default() };
            let tail = Tail {
                store: Arc::clone(self),
                future: self.raft().propose(replica.range_id, command.encode()),
                replica,
                guard,
                effects: Effects { entombed: aborted, ..Effects::default() },
            };
            if let Proposed::Applied = Detach::new(&self.env.spawner, Box::pin(tail.finish())).await? {
                return Ok(());
            }
        }
    }
}
