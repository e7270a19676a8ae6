//! Point reads, and what every read shares.
//!
//! Guarantee: everything the transaction has read is valid at its read timestamp, whatever that becomes. A read is
//! answered at the timestamp of its request; when it comes back, the transaction may read at another one (a refresh
//! ran meanwhile, or the store forwarded the request). Whichever side is behind is refreshed before the result counts.

use basalt_base::{Key, Span, Timestamp};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error as StoreError, LockStrength, LockWait, Request, Response,
    SeqNum,
};
use bytes::Bytes;

use crate::{Error, ReadOptions, Result, Txn, counts::bump, state::State, transaction::Inner};

/// What a read covers, for the footprints.
pub(crate) enum Covered<'a> {
    Key(&'a Key),
    Keys(&'a [Key]),
    Span(Span),
}

/// How a read batch is sent.
pub(crate) struct ReadBatch {
    pub(crate) seq: SeqNum,
    pub(crate) options: ReadOptions,
    pub(crate) rows_max: u64,
    pub(crate) bytes_max: u64,
}

/// Where and as what a response was read.
#[derive(Clone, Copy)]
pub(crate) struct ReadAt {
    timestamp: Timestamp,
    epoch: u32,
    incarnation: u32,
}

/// Counts a read in flight, also if its future is dropped.
struct InFlight<'a>(&'a Inner);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.state().reads_in_flight -= 1;
    }
}

impl Txn {
    pub async fn get(&self, key: &Key, options: ReadOptions) -> Result<Option<Bytes>> {
        let inner = &*self.inner;
        let (seq, buffered) = {
            let mut state = inner.state();
            state.check_readable()?;
            let seq = read_seq(&state, options);
            (seq, state.buffer.get(key, seq))
        };
        if let (Some(value), None) = (&buffered, options.lock) {
            return Ok(value.clone());
        }
        let batch = ReadBatch { seq, options, rows_max: 0, bytes_max: 0 };
        let lock = options.lock;
        let build = || vec![Request::Get { key: key.clone(), lock }];
        let (response, at) = inner.read(&batch, &Covered::Key(key), build).await?;
        let value = match response.responses.into_iter().next() {
            Some(Response::Get { value }) => value,
            _ => return Err(unexpected("get")),
        };
        inner.settle(at, &Covered::Key(key)).await?;
        Ok(buffered.unwrap_or(value))
    }

    /// One result per key, in order.
    pub async fn get_many(&self, keys: &[Key], options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let inner = &*self.inner;
        let mut results = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GET_KEYS_MAX) {
            let (seq, buffered) = {
                let mut state = inner.state();
                state.check_readable()?;
                let seq = read_seq(&state, options);
                (seq, keys.iter().map(|key| state.buffer.get(key, seq)).collect::<Vec<_>>())
            };
            let wanted: Vec<Key> = keys
                .iter()
                .zip(&buffered)
                .filter(|(_, buffered)| options.lock.is_some() || buffered.is_none())
                .map(|(key, _)| key.clone())
                .collect();
            let mut found = Vec::new();
            if !wanted.is_empty() {
                let batch = ReadBatch { seq, options, rows_max: 0, bytes_max: 0 };
                let lock = options.lock;
                let build = || wanted.iter().map(|key| Request::Get { key: key.clone(), lock }).collect();
                let (response, at) = inner.read(&batch, &Covered::Keys(&wanted), build).await?;
                found = response.responses;
                inner.settle(at, &Covered::Keys(&wanted)).await?;
            }
            if found.len() != wanted.len() {
                return Err(unexpected("get"));
            }
            let mut found = found.into_iter();
            for buffered in buffered {
                let stored = if options.lock.is_some() || buffered.is_none() { found.next() } else { None };
                results.push(match (buffered, stored) {
                    (Some(value), _) | (None, Some(Response::Get { value })) => value,
                    _ => return Err(unexpected("get")),
                });
            }
        }
        Ok(results)
    }
}

/// Point reads in one request batch.
const GET_KEYS_MAX: usize = 1_000;

pub(crate) fn read_seq(state: &State, options: ReadOptions) -> SeqNum {
    if options.latest { state.seq } else { options.seq.unwrap_or(state.meta.read_seq) }
}

pub(crate) fn unexpected(what: &'static str) -> Error {
    Error::Store(StoreError::Internal(format!("unexpected response to {what}")))
}

impl Inner {
    /// Sends a read batch, again after a refresh when that is what it takes.
    pub(crate) async fn read(
        self: &Inner,
        batch: &ReadBatch,
        covered: &Covered<'_>,
        build: impl Fn() -> Vec<Request>,
    ) -> Result<(BatchResponse, ReadAt)> {
        let mut attempt = 1;
        loop {
            let (header, mut at, in_flight) = self.prepare_read(batch, covered)?;
            let sent = self.shared.sender.send(BatchRequest { header, requests: build() }).await;
            drop(in_flight);
            let error = match sent {
                Ok(response) => {
                    if let Some(meta) = &response.txn {
                        at.timestamp = at.timestamp.max(meta.read_ts);
                        let mut state = self.state();
                        state.meta.write_ts = state.meta.write_ts.max(meta.write_ts);
                        state.observe(meta);
                    }
                    return Ok((response, at));
                }
                Err(error) => error,
            };
            self.recover(error, attempt).await?;
            attempt += 1;
        }
    }

    fn prepare_read(
        &self,
        batch: &ReadBatch,
        covered: &Covered<'_>,
    ) -> Result<(BatchHeader, ReadAt, InFlight<'_>)> {
        let mut state = self.state();
        state.check_active()?;
        if let Some(strength) = batch.options.lock {
            self.prepare_lock(&mut state, covered, strength)?;
        }
        let mut meta = state.meta.clone();
        meta.read_seq = batch.seq;
        let at = ReadAt { timestamp: meta.read_ts, epoch: meta.epoch, incarnation: state.incarnation };
        let header = BatchHeader {
            can_forward_read_ts: state.can_forward() && !self.config.read_only,
            from_any_replica: self.config.as_of.is_some(),
            txn: Some(meta),
            lock_wait: match batch.options.wait {
                LockWait::Block => state.lock_wait,
                wait => wait,
            },
            rows_max: batch.rows_max,
            bytes_max: batch.bytes_max,
            ..BatchHeader::default()
        };
        state.reads_in_flight += 1;
        Ok((header, at, InFlight(self)))
    }

    /// Remembers a lock before it is asked for: the answer may never arrive.
    fn prepare_lock(&self, state: &mut State, covered: &Covered<'_>, _strength: LockStrength) -> Result<()> {
        if self.config.read_only {
            return Err(Error::ReadOnly);
        }
        match covered {
            Covered::Key(key) => {
                state.set_anchor(key);
                state.held.add_key(key);
            }
            Covered::Keys(keys) => {
                for key in *keys {
                    state.set_anchor(key);
                    state.held.add_key(key);
                }
            }
            Covered::Span(span) => {
                state.set_anchor(&span.start);
                state.held.add_span(span);
            }
        }
        self.register(state);
        Ok(())
    }

    /// Makes a read done at `at` count at the transaction's read timestamp, and remembers it.
    pub(crate) async fn settle(&self, mut at: ReadAt, covered: &Covered<'_>) -> Result<()> {
        loop {
            let target = {
                let mut state = self.state();
                state.check_active()?;
                if (at.epoch, at.incarnation) != (state.meta.epoch, state.incarnation) {
                    return Err(Error::Ended("restarted"));
                }
                if at.timestamp > state.meta.read_ts && state.reads.is_empty() {
                    state.meta.read_ts = at.timestamp;
                    state.meta.write_ts = state.meta.write_ts.max(at.timestamp);
                }
                if at.timestamp == state.meta.read_ts {
                    match covered {
                        Covered::Key(key) => state.reads.add_key(key),
                        Covered::Keys(keys) => keys.iter().for_each(|key| state.reads.add_key(key)),
                        Covered::Span(span) => state.reads.add_span(span),
                    }
                    return Ok(());
                }
                state.meta.read_ts
            };
            if at.timestamp < target {
                let spans = match covered {
                    Covered::Key(key) => vec![Span::prefix((*key).clone())],
                    Covered::Keys(keys) => keys.iter().map(|key| Span::prefix(key.clone())).collect(),
                    Covered::Span(span) => vec![span.clone()],
                };
                self.verify_unchanged(&spans, at.timestamp, target).await?;
                at.timestamp = target;
            } else {
                self.refresh_to(at.timestamp).await?;
            }
        }
    }

    /// After a failed batch: moves the transaction to where the batch can succeed, or returns the error.
    pub(crate) async fn recover(&self, error: StoreError, attempt: u32) -> Result<()> {
        let target = match &error {
            StoreError::WriteTooOld { existing } => existing.next(),
            StoreError::Uncertain { existing, retry_at } => (*retry_at).max(*existing),
            StoreError::RefreshRequired { write_ts } => *write_ts,
            StoreError::TxnAborted { .. } => {
                self.mark_aborted();
                return Err(error.into());
            }
            _ => return Err(error.into()),
        };
        if attempt > self.shared.options.refresh_attempts_max {
            return Err(error.into());
        }
        if self.refresh_to(target).await.is_err() {
            // The conflict itself says more than the failed attempt to step over it.
            return Err(error.into());
        }
        bump(&self.shared.counters.batch_retries);
        Ok(())
    }

    pub(crate) fn mark_aborted(&self) {
        use crate::state::Phase;
        let mut state = self.state();
        if matches!(state.phase, Phase::Active | Phase::Committing) {
            state.phase = Phase::Aborted;
        }
    }
}
