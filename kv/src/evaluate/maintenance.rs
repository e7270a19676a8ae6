//! Requests that change storage without changing what transactions see.

use basalt_base::{Span, Timestamp};
use basalt_kv_api::{Error, Response};
use basalt_storage::{Family, WriteBatch, mvcc};

use super::context::{Evaluated, Evaluation};

/// Removes a span physically: its versions and its locks. The records of transactions anchored there stay until the
/// janitor has seen to their locks elsewhere: a lock whose record is gone passes for one of an aborted transaction.
pub fn clear_range(eval: &mut Evaluation<'_>, span: &Span) -> Evaluated<Response> {
    let mut batch = WriteBatch::new();
    batch.delete_range(Family::Data, span.clone());
    batch.delete_range(Family::Lock, span.clone());
    eval.write(batch);
    eval.effects.cleared = Some(span.clone());
    Ok(Response::ClearRange)
}

/// Deletes versions below a threshold that the range has already adopted.
pub fn collect(
    eval: &mut Evaluation<'_>,
    span: &Span,
    threshold: Timestamp,
    keys_max: u64,
) -> Evaluated<Response> {
    if threshold > eval.shared.gc_threshold {
        return Err(Error::Internal("garbage collection above the range's threshold".to_owned()).into());
    }
    let mut batch = WriteBatch::new();
    let max = usize::try_from(keys_max).unwrap_or(usize::MAX).max(1);
    let outcome = mvcc::gc(eval.base, &mut batch, span, threshold, max)?;
    eval.stats.bytes -= i64::try_from(outcome.bytes).unwrap_or(i64::MAX);
    eval.write(batch);
    let resume = outcome.resume.map(|start| Span::new(start, span.end.clone()));
    Ok(Response::GarbageCollect { resume })
}
