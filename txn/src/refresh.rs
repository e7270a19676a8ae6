//! Moving the read timestamp.
//!
//! A SERIALIZABLE transaction commits at one timestamp at which all its reads and writes hold. When something pushes
//! its writes up from `a` to `b`, the reads follow if nothing they saw has changed in `(a, b]`. The store promises for
//! each verified span that nobody will write there at or below `b` afterwards.

use basalt_base::{Span, Timestamp};
use basalt_kv_api::{BatchHeader, BatchRequest, Error as StoreError, Request};

use crate::{Error, Result, Txn, counts::bump, transaction::Inner};

/// Spans in one request batch.
const REFRESH_SPANS_MAX: usize = 500;
/// Passes over a footprint that other tasks keep growing.
const REFRESH_PASSES_MAX: u32 = 8;

impl Txn {
    /// Moves the snapshot to the present, and up to `at_least`, so that the transaction sees, and commits above, all that is
    /// committed now; fails if something that it has read was changed since.
    pub async fn catch_up(&self, at_least: Timestamp) -> Result<()> {
        let now = self.inner.shared.sender.now()?;
        self.inner.refresh_to(now.max(at_least)).await
    }
}

impl Inner {
    /// Moves the read timestamp up to `target`, or fails and leaves it.
    pub(crate) async fn refresh_to(&self, target: Timestamp) -> Result<()> {
        let outcome = self.refresh_inner(target).await;
        let counters = &self.shared.counters;
        bump(if outcome.is_ok() { &counters.refreshes } else { &counters.refresh_failures });
        outcome
    }

    async fn refresh_inner(&self, target: Timestamp) -> Result<()> {
        if self.config.as_of.is_some() {
            return Err(failed("the transaction reads at a fixed timestamp"));
        }
        let _refreshing = self.refreshing.lock().await;
        for _ in 0..REFRESH_PASSES_MAX {
            let (from, version, spans) = {
                let mut state = self.state();
                if state.meta.read_ts >= target {
                    return Ok(());
                }
                (state.meta.read_ts, state.reads.version(), state.reads.all_spans())
            };
            self.verify_unchanged(&spans, from, target).await?;
            let mut state = self.state();
            if state.meta.read_ts == from && state.reads.version() == version {
                state.meta.read_ts = target;
                state.meta.write_ts = state.meta.write_ts.max(target);
                return Ok(());
            }
        }
        Err(failed("reads go on faster than they can be verified"))
    }

    /// Fails if anything foreign was written to the spans in `(from, to]`; nothing will be afterwards.
    pub(crate) async fn verify_unchanged(
        &self,
        spans: &[Span],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<()> {
        for spans in spans.chunks(REFRESH_SPANS_MAX) {
            let requests =
                spans.iter().map(|span| Request::Refresh { span: span.clone(), from, to }).collect();
            let mut meta = self.state().meta.clone();
            meta.write_ts = meta.write_ts.max(to);
            let header = BatchHeader { txn: Some(meta), ..BatchHeader::default() };
            self.shared.sender.send(BatchRequest { header, requests }).await?;
        }
        Ok(())
    }
}

fn failed(reason: &'static str) -> Error {
    Error::Store(StoreError::RefreshFailed { reason: reason.into() })
}
