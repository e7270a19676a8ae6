//! Commits over several ranges in one round: the writes and the record that depends on them, side by side.
//!
//! The coordinator must know of each part whether it was done, and be sure of what was not: a write that was refused must
//! never be done afterwards, or a commit that was reported as failed would become one. So no part is sent again once it
//! may have been executed, every answer is waited for, and an answer that does not say for certain that nothing was done
//! makes the outcome unknown.

use std::sync::Arc;

use basalt_kv_api::{BatchRequest, BatchResponse, Error, Request, Response, Result};
use futures::future::join_all;

use super::{divide, router::merge_txn};
use crate::store::Store;

impl Store {
    /// `batch` lies in several ranges: writes, perhaps with the request that stages them.
    pub(super) async fn route_staged(self: &Arc<Self>, batch: BatchRequest) -> Result<BatchResponse> {
        let BatchRequest { mut header, requests } = batch;
        let in_parts = |request: &Request| divide::is_of_one_key(request) || stages(request);
        if !requests.iter().all(in_parts) {
            return Err(Error::Invalid("a staged commit consists of writes".to_owned()));
        }
        let groups = self.groups(&header, &requests, |_| true).await?;
        let sends = groups.values().map(|indices| {
            let requests = indices.iter().map(|index| requests[*index].clone()).collect();
            let batch = BatchRequest { header: header.clone(), requests };
            Box::pin(self.route_with(batch, true))
        });
        let results = join_all(sends).await;
        let mut answers: Vec<Option<Response>> = requests.iter().map(|_| None).collect();
        let (mut staging, mut refused, mut unknown) = (None, None, None);
        for (indices, result) in groups.values().zip(results) {
            let with_stage = indices.iter().any(|index| stages(&requests[*index]));
            match result {
                Ok(response) => {
                    merge_txn(&mut header, response.txn);
                    for (index, response) in indices.iter().zip(response.responses) {
                        answers[*index] = Some(response);
                    }
                }
                // Without a record the writes are just locks.
                Err(error) if with_stage && error.is_refusal() => staging = Some(error),
                Err(error) if error.is_refusal() => refused = Some(error),
                Err(error) => unknown = Some(error),
            }
        }
        if let Some(error) = staging {
            return Err(error);
        }
        let staged_at = answers.iter().find_map(|answer| match answer {
            Some(Response::StageTxn { staged_at, .. }) => Some(*staged_at),
            _ => None,
        });
        match (refused, unknown, staged_at) {
            (Some(cause), _, Some(staged_at)) => {
                return Err(Error::Unproven { staged_at, cause: Box::new(cause) });
            }
            // A part of a part: the rest is elsewhere.
            (Some(cause), _, None) if !requests.iter().any(stages) => return Err(cause),
            (_, Some(error), _) | (Some(error), None, None) => {
                return Err(Error::Ambiguous { reason: error.to_string() });
            }
            (None, None, _) => {}
        }
        let responses = answers
            .into_iter()
            .map(|answer| answer.ok_or_else(|| Error::Internal("a request was not answered".to_owned())))
            .collect::<Result<_>>()?;
        Ok(BatchResponse { responses, txn: header.txn, now: self.now().unwrap_or_default() })
    }
}

fn stages(request: &Request) -> bool {
    matches!(request, Request::StageTxn { .. })
}
