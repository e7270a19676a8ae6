//! Ranged resolution, piece by piece.
//!
//! A large transaction leaves millions of locks in a few spans. Each request resolves one piece and says where the next
//! begins, so that no entry is passed twice; the piece is measured before anything is latched, and only the piece is
//! latched, so that readers behind it go on.
//!
//! Two may be at it: the coordinator, right after its commit, and the janitor, who steps in when the coordinator is
//! gone. So that they do not both do all of the work, each piece leaves a note here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_base::{Key, Span, TxnId};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error, Request, ResolvedTxn, Response, Result,
};
use parking_lot::Mutex;

use super::Store;
use crate::{
    evaluate::{self, Effects, storage_error},
    replica::{Replica, ResolveExtent, ResolveOp},
    routing::Origin,
};

/// As `keys_max` of a request: the span is one piece.
pub const WHOLE_PIECE: u64 = u64::MAX;
/// A transaction whose last piece is older is nobody's work.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Notes kept; more are only of transactions without a record to end them.
const NOTES_MAX: usize = 1_024;

/// What was resolved of one transaction.
#[derive(Clone, Copy, Default)]
struct Note {
    /// Of the monotonic clock.
    last: Duration,
    keys: u64,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Resolving {
    notes: Mutex<BTreeMap<TxnId, Note>>,
}

impl Resolving {
    fn note(&self, id: TxnId, now: Duration, keys: u64) {
        let mut notes = self.notes.lock();
        // Who has no lock in the engine may have no record either, whose end would take the note away.
        if keys == 0 && !notes.contains_key(&id) {
            return;
        }
        if notes.len() >= NOTES_MAX {
            notes.retain(|_, note| now.saturating_sub(note.last) < PAUSE_MAX);
        }
        let note = notes.entry(id).or_default();
        note.last = now;
        note.keys += keys;
    }

    /// Whether somebody is resolving the transaction's locks.
    pub fn is_active(&self, id: TxnId, now: Duration) -> bool {
        self.notes.lock().get(&id).is_some_and(|note| now.saturating_sub(note.last) < PAUSE_MAX)
    }

    /// Transactions whose locks are being resolved. A note may outlast that, where the record is of another node.
    pub fn count(&self, now: Duration) -> usize {
        self.notes.lock().values().filter(|note| now.saturating_sub(note.last) < PAUSE_MAX).count()
    }

    /// All locks are gone: how many were there, about.
    pub fn finish(&self, id: TxnId) -> u64 {
        self.notes.lock().remove(&id).map_or(0, |note| note.keys)
    }
}

/// Whether the request is for the first piece of a span.
pub fn is_resolved_in_pieces(request: &Request) -> bool {
    matches!(request, Request::ResolveLockRange { keys_max, .. } if *keys_max != WHOLE_PIECE)
}

impl Store {
    /// Resolves the first piece of each span. What is done stays done if a later one fails: the sender asks again.
    pub(super) async fn resolve_pieces(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        requests: &[Request],
    ) -> Result<BatchResponse> {
        let mut responses = Vec::with_capacity(requests.len());
        for request in requests {
            let Request::ResolveLockRange { span, txn, keys_max } = request else {
                return Err(Error::Internal("only spans are resolved in pieces".to_owned()));
            };
            responses.extend(self.resolve_piece(replica, span, txn, *keys_max).await?.responses);
        }
        Ok(BatchResponse { responses, txn: None, now: self.now().unwrap_or_default() })
    }

    /// Resolves the first piece of `span`.
    async fn resolve_piece(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        span: &Span,
        txn: &ResolvedTxn,
        keys_max: u64,
    ) -> Result<BatchResponse> {
        if !span.is_empty() && !replica.descriptor().covers(span) {
            return Err(Error::RangeMismatch);
        }
        let found = if span.is_empty() {
            evaluate::Survey { keys: 0, resume: None }
        } else {
            evaluate::survey(&*self.states.engine, span, txn, keys_max).map_err(storage_error)?
        };
        self.resolving.note(txn.id, self.env.clock.monotonic(), found.keys);
        let piece = Span::new(span.start.clone(), found.resume.clone().unwrap_or_else(|| span.end.clone()));
        let resume = found.resume.map(|start| Span::new(start, span.end.clone()));
        if found.keys == 0 {
            return self.resolve_nothing(piece, txn, resume);
        }
        let request =
            Request::ResolveLockRange { span: piece.clone(), txn: txn.clone(), keys_max: WHOLE_PIECE };
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        let mut response = Box::pin(self.execute(replica, &batch, Origin::Here)).await?;
        response.responses = vec![Response::ResolveLockRange { resume }];
        Ok(response)
    }

    /// Nothing of the transaction is there. Who waits for it looks again, for somebody else may have been faster.
    fn resolve_nothing(&self, piece: Span, txn: &ResolvedTxn, resume: Option<Span>) -> Result<BatchResponse> {
        let op = ResolveOp { extent: ResolveExtent::Span(piece), txn: txn.clone() };
        let effects = Effects { resolved: vec![op], ..Effects::default() };
        let no_keys: &[Key] = &[];
        self.take_effect(&effects, no_keys);
        let responses = vec![Response::ResolveLockRange { resume }];
        Ok(BatchResponse { responses, txn: None, now: self.now().unwrap_or_default() })
    }
}
