//! Evaluation: from requests to their results and the command that makes them so.
//!
//! Evaluation reads a snapshot and writes nothing: its product is a batch, operations for the apply, and effects on
//! memory that wait until the command was applied. It runs under the request's latches and may be repeated.

pub mod context;
mod end_txn;
mod fresh_keys;
mod get;
mod maintenance;
mod outside;
mod passing_reader;
pub mod record;
mod refresh;
mod resolve;
mod scan;
mod staging;
mod txn_status;
mod unlocked_reader;
mod write;

pub use context::{
    Conflict, Effects, Evaluated, Evaluation, PassedTxns, ReadSpan, Recovery, Shared, Stop, storage_error,
};
pub use end_txn::resolved_at_once;
pub use get::holder_of;
pub use passing_reader::PassingReader;
pub use resolve::{Survey, survey};
pub use scan::CONFLICTS_MAX;
pub use unlocked_reader::UnlockedReader;

use basalt_kv_api::{Error, Request, Response};

use self::end_txn::EndTxn;

/// Evaluates all requests of a batch.
pub fn evaluate(eval: &mut Evaluation<'_>, requests: &[Request]) -> Evaluated<Vec<Response>> {
    let one_phase = requests
        .iter()
        .any(|request| matches!(request, Request::EndTxn { commit: true, one_phase: true, .. }));
    if one_phase {
        if let Some(commit_ts) = end_txn::prepare_one_phase(eval, requests)? {
            return repeat_commit(requests, commit_ts);
        }
        eval.one_phase = true;
    }
    let fresh = fresh_keys::writes_fresh_keys(eval.base, requests)?;
    requests
        .iter()
        .map(|request| match request {
            Request::Put { .. } | Request::Delete { .. } if fresh => {
                let base = std::mem::replace(&mut eval.base, &fresh_keys::Nothing);
                let response = one(eval, requests, request);
                eval.base = base;
                response
            }
            _ => one(eval, requests, request),
        })
        .collect()
}

fn one(eval: &mut Evaluation<'_>, requests: &[Request], request: &Request) -> Evaluated<Response> {
    match request {
        Request::Get { key, lock } => get::evaluate(eval, key, *lock),
        Request::Scan { span, reverse, lock, program } => {
            scan::evaluate(eval, span, *reverse, *lock, program.as_ref())
        }
        Request::Put { key, value, seq, if_absent } => {
            write::evaluate(eval, key, Some(value), *seq, *if_absent).map(|()| Response::Put)
        }
        Request::Delete { key, seq } => {
            write::evaluate(eval, key, None, *seq, false).map(|()| Response::Delete)
        }
        Request::EndTxn { commit, lock_spans, one_phase, deadline } => {
            let end = EndTxn { commit: *commit, lock_spans, deadline: *deadline };
            if *one_phase && *commit {
                end_txn::finish_one_phase(eval, &end)
            } else {
                end_txn::evaluate(eval, &end)
            }
        }
        Request::StageTxn { lock_spans, in_flight, deadline } => {
            staging::stage(eval, requests, lock_spans, in_flight, *deadline)
        }
        Request::QueryWrite { key, id, epoch, seq, at, prevent } => {
            staging::query_write(eval, key, *id, (*epoch, *seq), *at, *prevent)
        }
        Request::RecoverTxn { anchor, id, epoch, staged_at, committed } => {
            staging::recover(eval, anchor, *id, (*epoch, *staged_at), *committed)
        }
        Request::HeartbeatTxn { anchor, now } => txn_status::heartbeat(eval, anchor, *now),
        Request::PushTxn { pushee, push_type, push_to, force, dependents } => {
            let answer = txn_status::push(eval, pushee, *push_type, *push_to, *force)?;
            txn_status::note_waiter(eval, pushee, *push_type, dependents, &answer);
            Ok(answer)
        }
        Request::QueryTxn { anchor, id } => txn_status::query(eval, anchor, *id),
        Request::ResolveLock { key, txn } => resolve::one(eval, key, txn),
        Request::ResolveLockRange { span, txn, keys_max } => resolve::range(eval, span, txn, *keys_max),
        Request::Refresh { span, from, to } => refresh::evaluate(eval, span, *from, *to),
        Request::ClearRange { span } => maintenance::clear_range(eval, span),
        Request::GarbageCollect { span, threshold, keys_max } => {
            maintenance::collect(eval, span, *threshold, *keys_max)
        }
        Request::Increment { key, by } => outside::increment(eval, key, *by),
        Request::PutMeta { key, generation, descriptor } => {
            outside::put_meta(eval, key, *generation, descriptor)
        }
        Request::AdminSplit { .. } | Request::AdminTransferLease { .. } => {
            Err(Error::Invalid("this request can't share a batch with others".to_owned()).into())
        }
    }
}

/// The answer to a commit that was done before.
fn repeat_commit(requests: &[Request], commit_ts: basalt_base::Timestamp) -> Evaluated<Vec<Response>> {
    let answer = |request: &Request| match request {
        Request::Put { .. } => Ok(Response::Put),
        Request::Delete { .. } => Ok(Response::Delete),
        Request::EndTxn { .. } => Ok(Response::EndTxn { commit_ts, one_phase: true }),
        _ => Err(Stop::Error(Error::Invalid("a repeated commit can't read again".to_owned()))),
    };
    requests.iter().map(answer).collect()
}
