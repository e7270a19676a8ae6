//! From a proposal to its effects in memory.

use std::sync::Arc;

use basalt_base::Key;
use basalt_env::BoxFuture;
use basalt_kv_api::{Error, Result, TxnStatus};
use basalt_raft::ProposalFuture;

use super::{Store, detach::Detach};
use crate::{
    concurrency::LatchGuard,
    counts::Counters,
    evaluate::Effects,
    replica::{CommandOutcome, Rejection, Replica, ResolveExtent},
};

/// What became of a proposal.
pub enum Proposed {
    Applied,
    /// It definitely has no effect: evaluate again.
    Again,
}

/// Everything that must happen once the log has decided, whoever still waits for it.
pub struct Tail {
    pub store: Arc<Store>,
    pub replica: Arc<Replica>,
    pub future: ProposalFuture,
    pub guard: LatchGuard,
    pub effects: Effects,
}

impl Tail {
    pub async fn finish(mut self) -> Result<Proposed> {
        let outcome = match (&mut self.future).await {
            Ok(outcome) => outcome,
            // Another command took its place: it never happened.
            Err(basalt_raft::Error::Dropped) => return Ok(Proposed::Again),
            Err(error) => {
                self.store.note_full(&error);
                if let Some(late) = self.future.late() {
                    // Committed but not applied: what it changes stays latched until it is, or others would build on
                    // a state that is already history.
                    self.future = late;
                    let spawner = Arc::clone(&self.store.env.spawner);
                    spawner.spawn("kv late proposal", self.finish_late());
                }
                return Err(raft_error(error));
            }
        };
        let Ok(outcome) = outcome.downcast::<CommandOutcome>() else {
            return Err(Error::Ambiguous { reason: "the command's outcome was lost".to_owned() });
        };
        if let Some(rejection) = outcome.rejected {
            Counters::increment(&self.store.counters.rejections);
            return match rejection {
                Rejection::Generation | Rejection::Closed => Ok(Proposed::Again),
                Rejection::Lease => Err(Error::NotLeaseholder),
                Rejection::Threshold => {
                    let threshold = self.replica.gc_threshold();
                    Err(Error::BelowGcThreshold { read_ts: threshold, threshold })
                }
            };
        }
        self.store.take_effect(&self.effects, &outcome.released_bare);
        drop(self.guard);
        self.store.note_growth(&self.replica);
        Ok(Proposed::Applied)
    }
}

impl Store {
    /// What the log decides about a command of the store's own; [`Error::Unavailable`] if it is not known in time. The
    /// command may take effect later, and its latches are held until then: whoever wants it looks again what is there.
    pub(super) async fn decided(&self, tail: Tail) -> Result<Proposed> {
        let replica = Arc::clone(&tail.replica);
        let task = Detach::new(&self.env.spawner, Box::pin(tail.finish()));
        self.patiently(&replica, task, "the range does not decide").await?
    }
}

impl Tail {
    fn finish_late(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.finish().await {
                tracing::debug!(%error, "a late command had no effect");
            }
        })
    }
}

impl Store {
    /// Makes memory follow what was applied. The request's latches are still held.
    pub(super) fn take_effect(&self, effects: &Effects, released_bare: &[Key]) {
        if let Some((id, min_ts)) = effects.entombed {
            self.markers.entomb(id, min_ts);
        }
        // What a heartbeat waited for the log does not count against its transaction.
        if let Some(id) = effects.alive
            && let Ok(now) = self.now()
        {
            self.markers.heard(id, now);
        }
        for op in &effects.resolved {
            if op.txn.status == TxnStatus::Committed {
                for key in released_bare {
                    self.reads.add_point(key, op.txn.timestamp, None);
                }
            }
            let finished = matches!(op.txn.status, TxnStatus::Committed | TxnStatus::Aborted);
            let released = match &op.extent {
                ResolveExtent::Key(key) if self.locks.resolved(key, op.txn.id, finished) => vec![key.clone()],
                ResolveExtent::Key(_) => Vec::new(),
                ResolveExtent::Span(span) => self.locks.resolved_span(span, op.txn.id, finished),
            };
            if op.txn.status == TxnStatus::Committed {
                // Who locked without writing has protected the key up to the commit.
                for key in released {
                    self.reads.add_point(&key, op.txn.timestamp, None);
                }
            }
        }
        if let Some(span) = &effects.cleared {
            self.locks.cleared_span(span);
        }
        if let Some((id, commit_ts)) = effects.finished {
            if let Some(commit_ts) = commit_ts {
                for key in self.locks.keys_held_by(id) {
                    self.reads.add_point(&key, commit_ts, None);
                }
            }
            self.locks.release_txn(id);
        }
        if let Some((anchor, id)) = &effects.record {
            self.janitor.add(anchor.clone(), *id);
        }
    }
}

pub fn raft_error(error: basalt_raft::Error) -> Error {
    use basalt_raft::Error as Raft;
    match error {
        Raft::NotLeader { .. } => Error::NotLeaseholder,
        Raft::RangeNotFound(_) => Error::RangeMismatch,
        Raft::Ambiguous(reason) => Error::Ambiguous { reason },
        Raft::DiskFull => Error::DiskFull,
        Raft::Corruption(what) => Error::Corruption(what),
        Raft::Invalid(what) => Error::LimitExceeded(what),
        other => Error::Unavailable(other.to_string()),
    }
}
