//! Sending buffered writes as locks.
//!
//! In mid-transaction every revision is sent, because ROLLBACK TO may still ask for an older one; at commit only the
//! newest. The footprint grows before a batch leaves, so that a lost answer leaves no unknown lock behind. Sequence
//! numbers make a repeated batch harmless.

use std::sync::atomic::Ordering;

use basalt_kv_api::{BatchHeader, BatchRequest, Error as StoreError, Request, SeqNum};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::{Result, Txn, counts::bump, transaction::Inner};

/// Attempts of one write batch whose outcome stays unknown (it may be repeated safely).
const UNKNOWN_ATTEMPTS_MAX: u32 = 3;

impl Txn {
    /// Sends buffered writes as locks when there are too many to hold. A cheap check otherwise.
    ///
    /// The sending goes on beside the caller, who fills the buffer meanwhile and waits when it is full again. If it
    /// fails, the next call sends again and says why; a commit does so in any case.
    pub async fn flush_if_needed(&self) -> Result<()> {
        let inner = &*self.inner;
        if !inner.must_flush() {
            return Ok(());
        }
        let serial = inner.serial.clone().lock_owned().await;
        if !inner.must_flush() {
            return Ok(());
        }
        let failed = {
            let mut state = inner.state();
            state.check_active()?;
            std::mem::replace(&mut state.flush_failed, false)
        };
        if failed {
            return inner.flush(false).await;
        }
        let txn = self.clone();
        let task = async move {
            if let Err(error) = txn.inner.flush(false).await {
                tracing::debug!(%error, "a flush beside its statement failed");
                txn.inner.state().flush_failed = true;
            }
            drop(serial);
        };
        inner.shared.env.spawner.spawn("txn-flush", Box::pin(task));
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
            state.flush_failed = false;
            if state.buffer.is_empty() {
                return Ok(());
            }
        }
        inner.flush(false).await
    }
}

impl Inner {
    fn must_flush(&self) -> bool {
        let options = &self.shared.options;
        let state = self.state();
        let crowded = self.shared.buffered_bytes.load(Ordering::Relaxed) > options.node_buffer_bytes_max;
        let limit = if state.write_through || crowded {
            // Full batches for every request in flight.
            (options.batch_bytes_max * options.batches_in_flight_max).min(options.buffer_bytes_max)
        } else {
            options.buffer_bytes_max
        };
        // What is on its way counts no more: the caller may fill as much again meanwhile.
        state.buffer.bytes().saturating_sub(state.flushing_bytes) >= limit
    }

    /// Sends everything buffered until now. The caller holds `serial`.
    pub(crate) async fn flush(&self, last_only: bool) -> Result<()> {
        {
            let mut state = self.state();
            state.flushing_bytes = state.buffer.bytes();
        }
        let outcome = self.send_buffered(last_only).await;
        self.state().flushing_bytes = 0;
        outcome
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
                    for request in &chunk.requests {
                        if let Request::Put { key, .. } | Request::Delete { key, .. } = request {
                            state.set_anchor(key);
                            state.locks.add_key(key);
                        }
                    }
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

    fn forget_sent(&self, upto: SeqNum) {
        let mut state = self.state();
        state.buffer.forget_sent(upto);
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
            self.recover(error, attempt).await?;
            attempt += 1;
        }
    }
}
