//! A store in a hundred lines: one sorted map of versions, locks and records, evaluated one batch at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use basalt_base::{Key, Span, Timestamp, TxnId, keys::prefix_end};
use basalt_env::BoxFuture;
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error, LockWait, Request, Response, Result, RowAction,
    ScanBatch, Sender, SeqNum, TxnMeta, TxnRecord, TxnStatus, request::ResolvedTxn,
};
use bytes::Bytes;
use parking_lot::Mutex;

#[derive(Clone, Debug)]
struct Lock {
    id: TxnId,
    epoch: u32,
    timestamp: Timestamp,
    history: Vec<(SeqNum, Option<Bytes>)>,
}

#[derive(Default)]
pub(super) struct Model {
    versions: BTreeMap<Key, BTreeMap<Timestamp, Option<Bytes>>>,
    locks: BTreeMap<Key, Lock>,
    held: BTreeMap<Key, TxnId>,
    records: BTreeMap<TxnId, TxnRecord>,
    reads: Vec<(Span, Timestamp, Option<TxnId>)>,
    clock: u64,
    pub(super) splits: Vec<Key>,
    /// Writes and heartbeats of this key wait for something that nobody releases.
    pub(super) stuck: Option<Key>,
    /// Heartbeats by anchor.
    pub(super) beats: BTreeMap<Key, u64>,
    /// One entry per batch: what its requests were.
    pub(super) log: Vec<String>,
    /// The kind of request whose next answer is lost.
    pub(super) lost: Option<&'static str>,
    /// Answers of coming batches that contain a request of this kind.
    pub(super) failures: VecDeque<(&'static str, Error)>,
}

#[derive(Default)]
pub(super) struct Fake(pub(super) Mutex<Model>);

impl Fake {
    pub(super) fn with_splits(splits: &[&'static str]) -> Arc<Self> {
        let fake = Self::default();
        fake.0.lock().splits = splits.iter().map(|split| Key::from_static(split.as_bytes())).collect();
        Arc::new(fake)
    }

    pub(super) fn committed(&self) -> BTreeMap<Key, Bytes> {
        let model = self.0.lock();
        let newest =
            |versions: &BTreeMap<Timestamp, Option<Bytes>>| versions.values().next_back().cloned().flatten();
        model.versions.iter().filter_map(|(key, versions)| Some((key.clone(), newest(versions)?))).collect()
    }

    pub(super) fn traces(&self) -> usize {
        let model = self.0.lock();
        model.locks.len() + model.held.len()
    }

    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().log)
    }

    pub(super) fn fail_next(&self, kind: &'static str, error: Error) {
        self.0.lock().failures.push_back((kind, error));
    }

    /// The next batch with such a request is executed, and its answer lost.
    pub(super) fn lose_next(&self, kind: &'static str) {
        self.0.lock().lost = Some(kind);
    }

    pub(super) fn beats(&self) -> BTreeMap<Key, u64> {
        self.0.lock().beats.clone()
    }

    /// As if its locks had expired.
    pub(super) fn forget(&self, id: TxnId) {
        let mut model = self.0.lock();
        model.locks.retain(|_, lock| lock.id != id);
        model.held.retain(|_, holder| *holder != id);
    }

    pub(super) fn stick(&self, key: Option<Key>) {
        self.0.lock().stuck = key;
    }

    fn is_stuck(&self, batch: &BatchRequest) -> bool {
        let model = self.0.lock();
        batch.requests.iter().any(|request| match request {
            Request::Put { key, .. }
            | Request::Delete { key, .. }
            | Request::HeartbeatTxn { anchor: key, .. } => Some(key) == model.stuck.as_ref(),
            _ => false,
        })
    }

    pub(super) fn abort(&self, id: TxnId) {
        let mut model = self.0.lock();
        model.records.insert(id, record(id, TxnStatus::Aborted, Timestamp::ZERO));
    }
}

impl Sender for Fake {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.is_stuck(&batch) {
                match batch.header.lock_wait {
                    LockWait::Block => std::future::pending::<()>().await,
                    _ => return Err(Error::LockNotAvailable { holder: None }),
                }
            }
            let result = self.0.lock().evaluate(batch);
            tokio::task::yield_now().await;
            result
        })
    }

    fn commits_in_one_phase(&self, hull: &Span, _keys: &mut dyn Iterator<Item = &Key>) -> bool {
        self.releases_at_once(hull)
    }

    fn releases_at_once(&self, held: &Span) -> bool {
        let model = self.0.lock();
        !model.splits.iter().any(|split| held.start < *split && *split < held.end)
    }

    fn uncertainty(&self) -> Duration {
        Duration::ZERO
    }

    fn now(&self) -> Result<Timestamp> {
        Ok(self.0.lock().now())
    }
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Get { .. } => "get",
        Request::Scan { .. } => "scan",
        Request::Put { .. } => "put",
        Request::Delete { .. } => "delete",
        Request::StageTxn { .. } => "stage",
        Request::PushTxn { .. } => "push",
        Request::EndTxn { commit: true, .. } => "commit",
        Request::EndTxn { commit: false, .. } => "abort",
        Request::Refresh { .. } => "refresh",
        Request::HeartbeatTxn { .. } => "heartbeat",
        Request::ResolveLock { .. } | Request::ResolveLockRange { .. } => "resolve",
        _ => "other",
    }
}

fn record(id: TxnId, status: TxnStatus, write_ts: Timestamp) -> TxnRecord {
    let last_heartbeat = Timestamp::ZERO;
    TxnRecord {
        id,
        status,
        epoch: 0,
        write_ts,
        last_heartbeat,
        lock_spans: vec![],
        ignored: Default::default(),
        in_flight: vec![],
    }
}

impl Model {
    fn now(&mut self) -> Timestamp {
        self.clock += 1_000;
        Timestamp(self.clock)
    }

    fn evaluate(&mut self, batch: BatchRequest) -> Result<BatchResponse> {
        let kinds: Vec<&str> = batch.requests.iter().map(kind).collect();
        let mut runs: Vec<(&str, usize)> = Vec::new();
        for kind in &kinds {
            match runs.last_mut() {
                Some((last, count)) if last == kind => *count += 1,
                _ => runs.push((kind, 1)),
            }
        }
        let line: Vec<String> = runs.iter().map(|(kind, count)| format!("{kind}*{count}")).collect();
        self.log.push(line.join(" "));
        if self.failures.front().is_some_and(|(kind, _)| kinds.contains(kind)) {
            return Err(self.failures.pop_front().expect("just seen").1);
        }
        let mut meta = batch.header.txn.clone();
        if let Some(meta) = &meta {
            let aborted =
                self.records.get(&meta.id).is_some_and(|record| record.status == TxnStatus::Aborted);
            if aborted && !kinds.contains(&"abort") {
                return Err(Error::TxnAborted { reason: "pushed".into() });
            }
        }
        let one_phase = matches!(batch.requests.last(), Some(Request::EndTxn { one_phase: true, .. }));
        if let Some(meta) = &mut meta {
            self.check_writes(meta, &batch)?;
            if one_phase && meta.write_ts > meta.read_ts {
                if !batch.header.can_forward_read_ts {
                    return Err(Error::RefreshRequired { write_ts: meta.write_ts });
                }
                meta.read_ts = meta.write_ts;
            }
        }
        let mut responses = Vec::new();
        for request in batch.requests {
            let response = match &mut meta {
                Some(meta) => self.transactional(meta, &batch.header, request, one_phase)?,
                None => self.plain(request)?,
            };
            responses.push(response);
        }
        if self.lost.take_if(|lost| kinds.contains(lost)).is_some() {
            return Err(Error::Ambiguous { reason: "lost".into() });
        }
        Ok(BatchResponse { responses, txn: meta, now: self.now() })
    }

    /// Moves the write timestamp above what others have read, or fails on newer versions and foreign locks.
    fn check_writes(&mut self, meta: &mut TxnMeta, batch: &BatchRequest) -> Result<()> {
        for request in &batch.requests {
            let (Request::Put { key, .. } | Request::Delete { key, .. }) = request else { continue };
            self.foreign_lock(key, meta, Timestamp::MAX)?;
            let newest = self.versions.get(key).and_then(|versions| versions.keys().next_back().copied());
            if let Some(existing) = newest.filter(|newest| *newest > meta.read_ts || *newest >= meta.write_ts)
            {
                if !batch.header.can_forward_read_ts {
                    return Err(Error::WriteTooOld { existing });
                }
                meta.write_ts = meta.write_ts.max(existing.next());
                meta.read_ts = meta.write_ts;
            }
            for (span, timestamp, reader) in &self.reads {
                if span.contains(key) && *reader != Some(meta.id) {
                    meta.write_ts = meta.write_ts.max(timestamp.next());
                }
            }
        }
        Ok(())
    }

    fn foreign_lock(&mut self, key: &Key, meta: &TxnMeta, above: Timestamp) -> Result<()> {
        let lock = self.locks.get(key).filter(|lock| lock.id != meta.id && lock.timestamp <= above).cloned();
        let holder = lock.as_ref().map(|lock| lock.id).or(self
            .held
            .get(key)
            .copied()
            .filter(|_| above == Timestamp::MAX));
        let Some(holder) = holder.filter(|holder| *holder != meta.id) else { return Ok(()) };
        match (self.records.get(&holder).cloned(), lock) {
            (Some(record), Some(lock)) if record.status != TxnStatus::Pending => {
                let ignored = record.ignored.clone();
                let (status, timestamp) = (record.status, record.write_ts);
                self.resolve(key, &ResolvedTxn { id: holder, epoch: lock.epoch, status, timestamp, ignored });
                Ok(())
            }
            _ => Err(Error::LockNotAvailable { holder: Some(holder) }),
        }
    }

    fn resolve(&mut self, key: &Key, txn: &ResolvedTxn) {
        if self.held.get(key) == Some(&txn.id) {
            self.held.remove(key);
        }
        let Some(lock) = self.locks.get(key).filter(|lock| lock.id == txn.id) else { return };
        let newest = lock.history.iter().rev().find(|(seq, _)| !txn.ignored.contains(*seq));
        if let (TxnStatus::Committed, Some((_, value)), true) = (txn.status, newest, lock.epoch == txn.epoch)
        {
            self.versions.entry(key.clone()).or_default().insert(txn.timestamp, value.clone());
        }
        self.locks.remove(key);
    }

    fn value(&self, key: &Key, meta: &TxnMeta) -> Option<Bytes> {
        if let Some(lock) = self.locks.get(key).filter(|lock| lock.id == meta.id && lock.epoch == meta.epoch)
        {
            let visible = |seq: SeqNum| seq <= meta.read_seq && !meta.ignored.contains(seq);
            if let Some((_, value)) = lock.history.iter().rev().find(|(seq, _)| visible(*seq)) {
                return value.clone();
            }
        }
        self.versions.get(key)?.range(..=meta.read_ts).next_back()?.1.clone()
    }

    fn transactional(
        &mut self,
        meta: &mut TxnMeta,
        header: &BatchHeader,
        request: Request,
        one_phase: bool,
    ) -> Result<Response> {
        Ok(match request {
            Request::Get { key, lock } => {
                if lock.is_some() {
                    self.foreign_lock(&key, meta, Timestamp::MAX)?;
                    self.held.insert(key.clone(), meta.id);
                }
                self.foreign_lock(&key, meta, meta.read_ts)?;
                self.reads.push((Span::prefix(key.clone()), meta.read_ts, Some(meta.id)));
                Response::Get { value: self.value(&key, meta) }
            }
            Request::Scan { span, reverse, program, lock } => {
                let mut keys: Vec<Key> = self.versions.keys().chain(self.locks.keys()).cloned().collect();
                keys.retain(|key| span.contains(key));
                keys.sort();
                keys.dedup();
                if reverse {
                    keys.reverse();
                }
                let mut sink = program.map(|program| program.start());
                let (mut rows, mut bytes, mut counted, mut resume) = (Vec::new(), 0, 0, None);
                for key in keys {
                    self.foreign_lock(&key, meta, meta.read_ts)?;
                    let Some(value) = self.value(&key, meta) else { continue };
                    if lock.is_some() {
                        self.held.insert(key.clone(), meta.id);
                    }
                    bytes += (key.len() + value.len()) as u64;
                    let action = match &mut sink {
                        Some(sink) => sink.row(&key, &value)?,
                        None => RowAction::Continue { counted: true },
                    };
                    rows.push((key.clone(), value));
                    counted += u64::from(action == RowAction::Continue { counted: true });
                    let full = (header.rows_max > 0 && counted >= header.rows_max)
                        || (header.bytes_max > 0 && bytes >= header.bytes_max);
                    if full || action == RowAction::Stop {
                        resume = Some(if reverse {
                            Span::new(span.start.clone(), key)
                        } else {
                            Span::new(prefix_end(&key), span.end.clone())
                        });
                        break;
                    }
                }
                self.reads.push((span, meta.read_ts, Some(meta.id)));
                let batch = match sink {
                    Some(sink) => ScanBatch::Program(sink.finish()?),
                    None => ScanBatch::Rows(rows),
                };
                Response::Scan { batch, resume }
            }
            Request::Put { key, value, seq, if_absent } => {
                let there =
                    self.versions.get(&key).and_then(|versions| versions.values().next_back()?.as_ref());
                if if_absent && there.is_some() {
                    return Err(Error::KeyExists { key });
                }
                self.write(meta, key, seq, Some(value), one_phase);
                Response::Put
            }
            Request::Delete { key, seq } => {
                self.write(meta, key, seq, None, one_phase);
                Response::Delete
            }
            Request::EndTxn { commit, .. } => {
                if commit && meta.write_ts > meta.read_ts {
                    return Err(Error::RefreshRequired { write_ts: meta.write_ts });
                }
                let status = if commit { TxnStatus::Committed } else { TxnStatus::Aborted };
                let mut record = record(meta.id, status, meta.write_ts);
                record.ignored = meta.ignored.clone();
                self.records.insert(meta.id, record);
                if one_phase {
                    self.held.retain(|_, holder| *holder != meta.id);
                }
                Response::EndTxn { commit_ts: meta.write_ts, one_phase }
            }
            Request::StageTxn { deadline, .. } => {
                if deadline.is_some_and(|deadline| meta.write_ts > deadline) {
                    return Err(Error::DeadlineExceeded);
                }
                if meta.write_ts > meta.read_ts {
                    return Err(Error::RefreshRequired { write_ts: meta.write_ts });
                }
                self.records.insert(meta.id, record(meta.id, TxnStatus::Staging, meta.write_ts));
                Response::StageTxn { staged_at: meta.write_ts, committed: false }
            }
            Request::HeartbeatTxn { anchor, .. } => {
                *self.beats.entry(anchor).or_default() += 1;
                Response::HeartbeatTxn { record: record(meta.id, TxnStatus::Pending, meta.write_ts) }
            }
            Request::Refresh { span, from, to } => {
                let moved = |timestamp: Timestamp| from < timestamp && timestamp <= to;
                let version = self.versions.range(span.start.clone()..span.end.clone());
                let lock = self.locks.range(span.start.clone()..span.end.clone());
                if version.into_iter().any(|(_, versions)| versions.keys().any(|timestamp| moved(*timestamp)))
                    || lock.into_iter().any(|(_, lock)| lock.id != meta.id && lock.timestamp <= to)
                {
                    return Err(Error::RefreshFailed { reason: "changed".into() });
                }
                self.reads.push((span, to, Some(meta.id)));
                Response::Refresh
            }
            other => return Err(Error::Invalid(format!("{other:?}"))),
        })
    }

    fn write(&mut self, meta: &TxnMeta, key: Key, seq: SeqNum, value: Option<Bytes>, one_phase: bool) {
        if one_phase {
            self.versions.entry(key).or_default().insert(meta.write_ts, value);
            return;
        }
        let fresh = Lock { id: meta.id, epoch: meta.epoch, timestamp: meta.write_ts, history: Vec::new() };
        let lock = self.locks.entry(key).or_insert_with(|| fresh.clone());
        if lock.epoch < meta.epoch {
            *lock = fresh;
        }
        lock.timestamp = lock.timestamp.max(meta.write_ts);
        match lock.history.iter().find(|(old, _)| *old == seq) {
            Some((_, old)) => assert_eq!(*old, value, "a replay must be identical"),
            None => lock.history.push((seq, value)),
        }
        lock.history.sort_by_key(|(seq, _)| *seq);
    }

    fn plain(&mut self, request: Request) -> Result<Response> {
        Ok(match request {
            Request::ResolveLock { key, txn } => {
                self.resolve(&key, &txn);
                Response::ResolveLock
            }
            Request::ResolveLockRange { span, txn, keys_max } => {
                let keys: Vec<Key> = self.locks.keys().chain(self.held.keys()).cloned().collect();
                let mut mine: Vec<Key> = keys
                    .into_iter()
                    .filter(|key| {
                        let lock = self.locks.get(key).is_some_and(|lock| lock.id == txn.id);
                        span.contains(key) && (lock || self.held.get(key) == Some(&txn.id))
                    })
                    .collect();
                mine.sort();
                mine.dedup();
                let rest = mine.split_off(mine.len().min(usize::try_from(keys_max).unwrap_or(usize::MAX)));
                mine.iter().for_each(|key| self.resolve(key, &txn));
                let resume = rest.first().map(|first| Span::new(first.clone(), span.end.clone()));
                Response::ResolveLockRange { resume }
            }
            Request::PushTxn { pushee, .. } => {
                let known = self.records.contains_key(&pushee.id);
                let found = self.records.entry(pushee.id);
                let record = found.or_insert_with(|| record(pushee.id, TxnStatus::Aborted, pushee.write_ts));
                if record.status == TxnStatus::Staging {
                    record.status = TxnStatus::Committed;
                }
                Response::PushTxn { record: record.clone(), known }
            }
            other => return Err(Error::Invalid(format!("{other:?}"))),
        })
    }
}
