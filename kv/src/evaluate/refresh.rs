//! Refresh: may reads of a span move up in time?

use basalt_base::{Span, Timestamp};
use basalt_env::{Bug, planted};
use basalt_kv_api::{Error, Response};
use basalt_storage::mvcc::{self, FoundLock};

use super::context::{Evaluated, Evaluation, ReadSpan, Stop, discovered};
use crate::concurrency::Want;

pub fn evaluate(
    eval: &mut Evaluation<'_>,
    span: &Span,
    from: Timestamp,
    to: Timestamp,
) -> Evaluated<Response> {
    if from <= eval.shared.gc_threshold {
        let threshold = eval.shared.gc_threshold;
        return Err(Error::BelowGcThreshold { read_ts: from, threshold }.into());
    }
    let own = eval.txn_id();
    if planted(Bug::RefreshBlindly) {
        return Ok(Response::Refresh);
    }
    match eval.over_visible(|reader| mvcc::has_foreign_change(reader, span, from, to, own))? {
        None => {
            eval.reads.push(ReadSpan::Refreshed(span.clone(), to));
            Ok(Response::Refresh)
        }
        Some(mvcc::ForeignChange::Version { .. }) => {
            Err(Error::RefreshFailed { reason: "a value that was read has changed".into() }.into())
        }
        // The sequencer pushes the holder above `to` if it may, and fails the refresh otherwise.
        Some(mvcc::ForeignChange::Intent { key, lock }) => {
            let found = FoundLock { key: key.clone(), lock };
            Err(Stop::Conflicts(vec![discovered(key, Want::Read, found)]))
        }
    }
}
