//! Batches over several ranges: what goes where, and how the answers come together.

use basalt_base::{Key, Span};
use basalt_kv_api::{BatchHeader, Error, Request, Response, Result, ScanBatch, ScanProgram};
use std::sync::Arc;

use crate::replica::RangeDescriptor;

/// The keys that a request is about.
pub enum Target {
    Key(Key),
    Span(Span),
    /// Any range will do: the request touches nothing.
    Anywhere,
}

pub fn target(header: &BatchHeader, request: &Request) -> Target {
    match request {
        Request::Get { key, .. }
        | Request::Put { key, .. }
        | Request::Delete { key, .. }
        | Request::ResolveLock { key, .. }
        | Request::QueryWrite { key, .. }
        | Request::Increment { key, .. }
        | Request::PutMeta { key, .. }
        | Request::AdminSplit { key }
        | Request::AdminTransferLease { key, .. } => Target::Key(key.clone()),
        Request::Scan { span, .. }
        | Request::ResolveLockRange { span, .. }
        | Request::ClearRange { span }
        | Request::GarbageCollect { span, .. }
        | Request::Refresh { span, .. } => {
            if span.is_empty() {
                Target::Anywhere
            } else {
                Target::Span(span.clone())
            }
        }
        Request::EndTxn { .. } | Request::StageTxn { .. } => match &header.txn {
            Some(txn) if !txn.anchor.is_empty() => Target::Key(txn.anchor.clone()),
            _ => Target::Anywhere,
        },
        Request::HeartbeatTxn { anchor, .. }
        | Request::QueryTxn { anchor, .. }
        | Request::RecoverTxn { anchor, .. } => Target::Key(anchor.clone()),
        Request::PushTxn { pushee, .. } => Target::Key(pushee.anchor.clone()),
    }
}

/// Whether the whole batch lies in `descriptor`.
pub fn fits(descriptor: &RangeDescriptor, header: &BatchHeader, requests: &[Request]) -> bool {
    requests.iter().all(|request| match target(header, request) {
        Target::Key(key) => descriptor.contains(&key),
        Target::Span(span) => descriptor.covers(&span),
        Target::Anywhere => true,
    })
}

/// Where the first request with a place is.
pub fn first_key(header: &BatchHeader, requests: &[Request]) -> Option<Key> {
    requests.iter().find_map(|request| match target(header, request) {
        Target::Key(key) => Some(key),
        Target::Span(span) => Some(span.start),
        Target::Anywhere => None,
    })
}

/// Requests of single keys that go out side by side.
pub fn is_of_one_key(request: &Request) -> bool {
    matches!(
        request,
        Request::Put { .. }
            | Request::Delete { .. }
            | Request::ResolveLock { .. }
            | Request::QueryWrite { .. }
    )
}

pub fn is_read(request: &Request) -> bool {
    matches!(request, Request::Get { .. } | Request::Scan { .. })
}

pub fn is_reverse(request: &Request) -> bool {
    matches!(request, Request::Scan { reverse: true, .. })
}

/// `request` on a part of its span.
pub fn clipped(request: &Request, part: Span) -> Request {
    let mut request = request.clone();
    match &mut request {
        Request::Scan { span, .. }
        | Request::ResolveLockRange { span, .. }
        | Request::ClearRange { span }
        | Request::GarbageCollect { span, .. }
        | Request::Refresh { span, .. } => *span = part,
        _ => {}
    }
    request
}

/// An answer for a request that was not sent because a limit was hit.
pub fn unsent(request: &Request) -> Result<Response> {
    let Request::Scan { span, program, .. } = request else {
        return Err(Error::Internal("only scans are cut off by limits".to_owned()));
    };
    Ok(Response::Scan { batch: empty_batch(program.as_ref())?, resume: Some(span.clone()) })
}

pub fn empty_batch(program: Option<&Arc<dyn ScanProgram>>) -> Result<ScanBatch> {
    match program {
        None => Ok(ScanBatch::Rows(Vec::new())),
        Some(program) => Ok(ScanBatch::Program(program.start().finish()?)),
    }
}

/// What a part's answer leaves to be done: the rest of the part, if a limit stopped it.
pub fn resume_of(response: &Response) -> Option<&Span> {
    match response {
        Response::Scan { resume, .. }
        | Response::ResolveLockRange { resume }
        | Response::GarbageCollect { resume } => resume.as_ref(),
        _ => None,
    }
}

/// Joins the answer of the next part to the answers so far. `rest`: what is left of the whole request.
pub fn join(whole: Option<Response>, part: Response, rest: Option<Span>) -> Result<Response> {
    let joined = match (whole, part) {
        (None, part) => part,
        (
            Some(Response::Scan { batch: ScanBatch::Rows(mut rows), .. }),
            Response::Scan { batch: ScanBatch::Rows(more), resume },
        ) => {
            rows.extend(more);
            Response::Scan { batch: ScanBatch::Rows(rows), resume }
        }
        (Some(Response::Scan { .. }), Response::Scan { .. }) => {
            return Err(Error::Internal("two outputs of a program can't be joined".to_owned()));
        }
        (Some(_), part) => part,
    };
    Ok(match joined {
        Response::Scan { batch, .. } => Response::Scan { batch, resume: rest },
        Response::ResolveLockRange { .. } => Response::ResolveLockRange { resume: rest },
        Response::GarbageCollect { .. } => Response::GarbageCollect { resume: rest },
        other => other,
    })
}
