//! Which latches a request needs.

use basalt_base::{Key, Timestamp, keys};
use basalt_kv_api::{BatchHeader, ReadConsistency, Request};

use crate::{
    concurrency::{Access, LatchSpan},
    evaluate::resolved_at_once,
    replica::RangeDescriptor,
};

/// Everything the batch touches.
pub fn latch_spans(header: &BatchHeader, requests: &[Request]) -> Vec<LatchSpan> {
    let mut spans = Vec::with_capacity(requests.len() + 1);
    for request in requests {
        add(&mut spans, header, request);
    }
    spans
}

fn add(spans: &mut Vec<LatchSpan>, header: &BatchHeader, request: &Request) {
    let (read_ts, write_ts) = match &header.txn {
        Some(txn) => (txn.read_ts.max(txn.global_limit), txn.write_ts),
        None => (header.timestamp, header.timestamp),
    };
    let consistent = header.consistency == ReadConsistency::Consistent;
    match request {
        Request::Get { key, lock: None } if consistent => {
            spans.push(LatchSpan::point(key.clone(), Access::Read, read_ts));
        }
        Request::Scan { span, lock: None, .. } if consistent => {
            spans.push(LatchSpan::span(span.clone(), Access::Read, read_ts));
        }
        Request::Get { lock: None, .. } | Request::Scan { lock: None, .. } => {}
        // A locking read must not miss a commit in flight: it latches like a write, but readers do not mind it.
        Request::Get { key, lock: Some(_) } => {
            spans.push(LatchSpan::point(key.clone(), Access::Write, Timestamp::MAX));
        }
        Request::Scan { span, lock: Some(_), .. } => {
            spans.push(LatchSpan::span(span.clone(), Access::Write, Timestamp::MAX));
        }
        Request::Put { key, .. }
        | Request::Delete { key, .. }
        | Request::Increment { key, .. }
        | Request::PutMeta { key, .. } => {
            spans.push(LatchSpan::point(key.clone(), Access::Write, write_ts));
        }
        Request::EndTxn { commit, lock_spans, one_phase, .. } => {
            if let Some(txn) = header.txn.as_ref().filter(|txn| !txn.anchor.is_empty()) {
                spans.push(record_latch(&txn.anchor, txn.id));
            }
            if *commit && !*one_phase {
                let point = |key: &Key| LatchSpan::point(key.clone(), Access::Write, Timestamp::ZERO);
                spans.extend(resolved_at_once(lock_spans).map(point));
            }
        }
        Request::StageTxn { .. } => {
            if let Some(txn) = header.txn.as_ref().filter(|txn| !txn.anchor.is_empty()) {
                spans.push(record_latch(&txn.anchor, txn.id));
            }
        }
        // It waits for the write, should that be on its way into the log.
        Request::QueryWrite { key, at, .. } => {
            spans.push(LatchSpan::point(key.clone(), Access::Read, *at));
        }
        Request::RecoverTxn { anchor, id, .. } => spans.push(record_latch(anchor, *id)),
        Request::HeartbeatTxn { anchor, .. } => {
            if let Some(txn) = &header.txn {
                spans.push(record_latch(anchor, txn.id));
            }
        }
        Request::PushTxn { pushee, .. } => spans.push(record_latch(&pushee.anchor, pushee.id)),
        Request::QueryTxn { anchor, id } => spans.push(record_latch(anchor, *id)),
        // At the lowest timestamp the lock may have had: a reader must not put a stale lock back into the table.
        Request::ResolveLock { key, .. } => {
            spans.push(LatchSpan::point(key.clone(), Access::Write, Timestamp::ZERO));
        }
        Request::ResolveLockRange { span, .. } | Request::ClearRange { span } => {
            spans.push(LatchSpan::span(span.clone(), Access::Write, Timestamp::ZERO));
        }
        Request::Refresh { span, to, .. } => {
            spans.push(LatchSpan::span(span.clone(), Access::Read, *to));
        }
        // Deletes only what no permitted reader sees and no writer touches.
        Request::GarbageCollect { .. } | Request::AdminSplit { .. } | Request::AdminTransferLease { .. } => {}
    }
}

/// Whether the request's latch depends on the read timestamp.
pub fn reads_at_a_timestamp(request: &Request) -> bool {
    matches!(
        request,
        Request::Get { lock: None, .. } | Request::Scan { lock: None, .. } | Request::Refresh { .. }
    )
}

fn record_latch(anchor: &Key, id: basalt_base::TxnId) -> LatchSpan {
    LatchSpan::point(keys::txn_record_key(anchor, id), Access::Write, Timestamp::ZERO)
}

/// Excludes every command of the range, so that nothing is in flight while its bounds change: writes of its keys, and
/// changes of transaction records, whose keys are in a space of their own.
pub fn whole_range(descriptor: &RangeDescriptor) -> Vec<LatchSpan> {
    let spans = [descriptor.span.clone(), keys::range_local_span(&descriptor.span)];
    spans.into_iter().map(|span| LatchSpan::span(span, Access::Write, Timestamp::MAX)).collect()
}

/// Whether all keys of the request lie in the range.
pub fn is_addressed_to(descriptor: &RangeDescriptor, header: &BatchHeader, request: &Request) -> bool {
    match request {
        Request::Get { key, .. }
        | Request::Put { key, .. }
        | Request::Delete { key, .. }
        | Request::ResolveLock { key, .. }
        | Request::QueryWrite { key, .. }
        | Request::Increment { key, .. }
        | Request::PutMeta { key, .. }
        | Request::AdminSplit { key }
        | Request::AdminTransferLease { key, .. } => descriptor.contains(key),
        Request::Scan { span, .. }
        | Request::ResolveLockRange { span, .. }
        | Request::ClearRange { span }
        | Request::GarbageCollect { span, .. }
        | Request::Refresh { span, .. } => span.is_empty() || descriptor.covers(span),
        Request::EndTxn { .. } | Request::StageTxn { .. } => {
            header.txn.as_ref().is_none_or(|txn| txn.anchor.is_empty() || descriptor.contains(&txn.anchor))
        }
        Request::HeartbeatTxn { anchor, .. }
        | Request::QueryTxn { anchor, .. }
        | Request::RecoverTxn { anchor, .. } => descriptor.contains(anchor),
        Request::PushTxn { pushee, .. } => descriptor.contains(&pushee.anchor),
    }
}
