//! Sending buffered writes as locks.
//!
//! In mid-transaction every revision is sent, because ROLLBACK TO may still ask for an older one; at commit only the
//! newest. The footprint grows before a batch leaves, so that a lost answer leaves no unknown lock behind. Sequence
//! numbers make a repeated batch harmless.

use std::sync::atomic::Ordering;

use basalt_base::Key;
use basalt_kv_api::{BatchHeader, BatchRequest, Error as StoreError, Request, Response, SeqNum};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

use crate::{
    ReadOptions, Result, Txn,
    counts::bump,
    read::{Covered, ReadBatch, unexpected},
    state::{Phase, State},
    transaction::Inner,
};

/// Attempts of one write batch whose outcome stays unknown (it may be repeated safely).
const UNKNOWN_ATTEMPTS_MAX: u32 = 3;

impl Txn {
    /// Sends buffered writes as locks when there are too many to hold. A cheap check otherwise.
    ///
    /// The sending goes on beside the caller, who fills the buffer meanwhile and waits when it is full again. If it
    /// fails, the next call says why. What was to be sent stays buffered: a commit sends it again in any case.
    pub async fn flush_if_needed(&self) -> Result<()> {
        let inner = &self.inner;
        if !inner.must_flush()? {
            return Ok(());
        }
        let serial = inner.serial.clone().lock_owned().await;
        if !inner.must_flush()? {
            return Ok(());
        }
        let (stop, stopped) = oneshot::channel();
        {
            let mut state = inner.state();
            state.check_active()?;
            state.flush_stop = Some(stop);
        }
        let inner_of_task = inner.clone();
        let task = async move {
            inner_of_task.flush_until(stopped).await;
            // First the transaction, so that it ends here if nobody has it any more.
            drop(inner_of_task);
            drop(serial);
        };
        inner.shared.env.spawner.spawn("txn-flush", Box::pin(task));
        inner.flush_began.notify_waiters();
        Ok(())
    }

    /// Sends everything buffered as locks, and says whether the store took it: for a statement whose inserts are to be
    /// checked when it ends.
    pub async fn flush_all(&self) -> Result<()> {
        let inner = &*self.inner;
        let _serial = inner.serial.clone().lock_owned().await;
        {
            let mut state = inner.state();
            state.check_active()?;
            if let Some((_, error)) = state.flush_failed.take() {
                return Err(error);
            }
            if state.buffer.is_empty() {
                return Ok(());
            }
        }
        inner.flush(false).await
    }
}

/// Bytes that are being sent, until the flush ends in whatever way.
struct Flushing<'a>(&'a Inner);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.state().flushing_bytes = 0;
    }
}

/// Notes the locks that the writes leave, before they are sent.
pub(crate) fn covers(state: &mut State, writes: &[Request]) {
    for request in writes {
        if let Request::Put { key, .. } | Request::Delete { key, .. } = request {
            state.set_anchor(key);
            state.locks.add_key(key);
        }
    }
}

impl Inner {
    /// Fails if the flush before this one has.
    fn must_flush(&self) -> Result<bool> {
        let options = &self.shared.options;
        let mut state = self.state();
        if let Some((_, error)) = state.flush_failed.take() {
            return Err(error);
        }
        let crowded = self.shared.buffered_bytes.load(Ordering::Relaxed) > options.node_buffer_bytes_max;
        let limit = if state.write_through || crowded {
            // Full batches for every request in flight.
            (options.batch_bytes_max * options.batches_in_flight_max).min(options.buffer_bytes_max)
        } else {
            options.buffer_bytes_max
        };
        // What is on its way counts no more: the caller may fill as much again meanwhile.
        Ok(state.buffer.bytes().saturating_sub(state.flushing_bytes) >= limit)
    }

    /// Sends what is buffered until it is sent, or until nobody wants that any more: a rollback must not wait for the
    /// locks that a write waits for. Giving up is safe anywhere, as the footprint covers what was sent.
    async fn flush_until(&self, stopped: oneshot::Receiver<()>) {
        let boundary = self.state().boundary;
        let outcome = tokio::select! {
            biased;
            // Ends with an error, as nothing is ever sent.
            _ = stopped => return,
            outcome = self.flush(false) => outcome,
        };
        let mut state = self.state();
        state.stop_flush();
        if let Err(error) = outcome {
            tracing::debug!(%error, "a flush beside its statement failed");
            state.flush_failed = Some((boundary, error));
        }
    }

    /// Sends everything buffered until now. The caller holds `serial`.
    pub(crate) async fn flush(&self, last_only: bool) -> Result<()> {
        {
            let mut state = self.state();
            state.flushing_bytes = state.buffer.bytes();
        }
        let _flushing = Flushing(self);
        self.send_buffered(last_only).await
    }

    async fn send_buffered(&self, last_only: bool) -> Result<()> {
        let options = &self.shared.options;
        let upto = self.state().seq;
        let mut after = None;
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < options.batches_in_flight_max.max(1) {
                let chunk = {
                    let mut state = self.state();
                    let Some(chunk) =
                        state.buffer.chunk(after.as_ref(), upto, options.batch_bytes_max, last_only)
                    else {
                        break;
                    };
                    covers(&mut state, &chunk.requests);
                    state.is_resending = true;
                    state.write_through = true;
                    self.register(&mut state);
                    chunk
                };
                after = Some(chunk.last_key);
                if !chunk.requests.is_empty() {
                    in_flight.push(self.send_writes(chunk.requests));
                }
            }
            match in_flight.next().await {
                Some(sent) => sent?,
                None => break,
            }
        }
        drop(in_flight);
        self.forget_sent(upto);
        Ok(())
    }

    pub(crate) fn forget_sent(&self, upto: SeqNum) {
        let mut state = self.state();
        state.buffer.forget_sent(upto);
        state.is_resending = false;
        state.flush_generation += 1;
        self.account(&mut state);
    }

    async fn send_writes(&self, requests: Vec<Request>) -> Result<()> {
        let (mut attempt, mut unknown) = (1, 0);
        loop {
            let header = {
                let state = self.state();
                BatchHeader {
                    can_forward_read_ts: state.can_forward(),
                    txn: Some(state.meta.clone()),
                    lock_wait: state.lock_wait,
                    ..BatchHeader::default()
                }
            };
            bump(&self.shared.counters.flushes);
            let batch = BatchRequest { header, requests: requests.clone() };
            let error = match self.shared.sender.send(batch).await {
                Ok(response) => {
                    let Some(meta) = response.txn else { return Ok(()) };
                    let forwarded = {
                        let mut state = self.state();
                        state.meta.write_ts = state.meta.write_ts.max(meta.write_ts);
                        state.observe(&meta);
                        meta.read_ts > state.meta.read_ts
                    };
                    if forwarded {
                        self.refresh_to(meta.read_ts).await?;
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if let StoreError::Ambiguous { reason } = error {
                unknown += 1;
                if unknown >= UNKNOWN_ATTEMPTS_MAX {
                    return Err(StoreError::Unavailable(reason).into());
                }
                continue;
            }
            match error {
                StoreError::KeyExists { key } if self.state().phase == Phase::Active => {
                    if attempt > self.shared.options.refresh_attempts_max || self.is_stored(&key).await? {
                        return Err(StoreError::KeyExists { key }.into());
                    }
                }
                error => self.recover(error, attempt).await?,
            }
            attempt += 1;
        }
    }

    /// Reads the key that a write has found taken. The caller goes on to a savepoint, perhaps, and what it has been told
    /// must hold where the transaction commits, as anything it reads must.
    async fn is_stored(&self, key: &Key) -> Result<bool> {
        let seq = self.state().seq;
        let batch = ReadBatch { seq, options: ReadOptions::LATEST, rows_max: 0, bytes_max: 0 };
        let build = || vec![Request::Get { key: key.clone(), lock: None }];
        let (response, at) = self.read(&batch, &Covered::Key(key), build).await?;
        self.settle(at, &Covered::Key(key)).await?;
        match response.responses.first() {
            Some(Response::Get { value }) => Ok(value.is_some()),
            _ => Err(unexpected("get")),
        }
    }
}
