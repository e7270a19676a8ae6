//! Removing a replica for good.
//!
//! A crash must leave the whole replica or nothing of it that acts. What counts is one record in the log, the tombstone:
//! before it is durable the replica is there after a restart, behind it no replica of the range with a lower id can
//! exist here, so that neither a late message nor the replay of a split brings it back. Hence the order:
//!
//! 1. The replica leaves the loop. Nothing is applied any more; who waits hears that the outcome is unknown.
//! 2. The state machine is flushed if the log that goes may hold a split whose right side is not durable yet: nobody
//!    could replay it.
//! 3. The tombstone becomes durable. The same record drops the log, with term and vote.
//! 4. The state is destroyed. If a crash comes before that is flushed, the next start does it again.

use basalt_base::{RangeId, ReplicaId};

use super::run::Driver;
use crate::{Error, LogIndex, Result, inbox::Reply};

/// How far a removal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits until the flush with this number has succeeded.
    Flush(u64),
    /// The tombstone is in this turn's batch.
    Record,
    Destroy,
    Done,
}

/// A replica on its way out.
pub(super) struct Removal {
    range_id: RangeId,
    next_replica_id: ReplicaId,
    stage: Stage,
    /// The destruction failed once.
    tried: bool,
    reply: Option<Reply<()>>,
}

impl Removal {
    /// Only the state is to go: the tombstone is there.
    pub fn of_state(range_id: RangeId) -> Self {
        Self { range_id, next_replica_id: ReplicaId(0), stage: Stage::Destroy, tried: false, reply: None }
    }
}

impl Driver {
    pub(super) fn is_removing(&self, range_id: RangeId) -> bool {
        self.removing.iter().any(|removal| removal.range_id == range_id)
    }

    /// Takes the replica out of the loop and begins its removal.
    pub(super) fn remove_group(&mut self, range_id: RangeId, next_replica_id: ReplicaId, reply: Reply<()>) {
        let here = self.replicas.get(&range_id).map(|replica| (replica.replica_id, replica.applied));
        let problem = match here {
            Some((here, _)) if here >= next_replica_id => Some(Error::Invalid(format!(
                "replica {here} of range {range_id} is not below {next_replica_id}"
            ))),
            Some((_, applied)) if applied > 0 && !self.awaiting_split.is_empty() => {
                Some(Error::Unavailable("splits are still to be replayed".to_owned()))
            }
            None if self.is_removing(range_id) => {
                Some(Error::Unavailable(format!("range {range_id} is being removed")))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            let _ = reply.send(Err(problem));
            return;
        }
        if let Some(mut replica) = self.replicas.remove(&range_id) {
            replica.fail_waiting(LogIndex::MAX, "the replica was removed");
        }
        self.dirty.remove(&range_id);
        self.ticking.remove(&range_id);
        self.stalled.remove(&range_id);
        self.awaiting_split.remove(&range_id);
        self.installing.remove(&range_id);
        self.settle_snapshots(range_id);
        self.shared.status.write().remove(&range_id);
        self.shared.progress.write().remove(&range_id);
        let flush = self.splits.get(&range_id).copied().unwrap_or_default();
        if flush > self.flush_done {
            self.start_flush();
        }
        let stage = Stage::Flush(flush);
        self.removing.push(Removal { range_id, next_replica_id, stage, tried: false, reply: Some(reply) });
    }

    /// Writes the tombstones of replicas whose effects on others are durable.
    pub(super) fn bury(&mut self) {
        for removal in &mut self.removing {
            if let Stage::Flush(number) = removal.stage
                && number <= self.flush_done
            {
                removal.stage = Stage::Record;
                self.batch.tombstone(removal.range_id, removal.next_replica_id);
            }
        }
    }

    /// Whether a tombstone of this turn must be made durable.
    pub(super) fn buries(&self) -> bool {
        self.removing.iter().any(|removal| removal.stage == Stage::Record)
    }

    /// The tombstones are durable.
    pub(super) fn buried(&mut self) {
        for removal in &mut self.removing {
            if removal.stage == Stage::Record {
                removal.stage = Stage::Destroy;
            }
        }
    }

    /// Whether a removal waits for a later attempt, and not for something that is under way.
    pub(super) fn retries_removal(&self) -> bool {
        self.removing.iter().any(|removal| match removal.stage {
            Stage::Flush(_) => !self.flush_running,
            stage => stage == Stage::Destroy,
        })
    }

    /// Whether a removal waits for a flush that has not begun.
    pub(super) fn wants_flush(&self) -> bool {
        let later =
            |removal: &Removal| matches!(removal.stage, Stage::Flush(number) if number > self.flush_started);
        self.removing.iter().any(later)
    }

    /// Destroys the state of replicas whose tombstones are durable, and tries again what had no room.
    pub(super) fn destroy_removed(&mut self) -> Result<()> {
        if self.removing.is_empty() {
            return Ok(());
        }
        let now = self.env.clock.monotonic();
        let due = now >= self.retry_at;
        let (mut failed, mut flush) = (false, false);
        for removal in &mut self.removing {
            match removal.stage {
                Stage::Destroy if due || !removal.tried => match self.state_machine.destroy(removal.range_id)
                {
                    Ok(()) => {
                        removal.stage = Stage::Done;
                        if let Some(reply) = removal.reply.take() {
                            let _ = reply.send(Ok(()));
                        }
                    }
                    Err(error @ (Error::Unavailable(_) | Error::DiskFull)) => {
                        tracing::warn!(range = %removal.range_id, %error, "a removed replica's state stays for now");
                        (removal.tried, failed) = (true, true);
                    }
                    Err(error) => return Err(error),
                },
                Stage::Flush(_) => flush |= due && !self.flush_running,
                _ => {}
            }
        }
        self.removing.retain(|removal| removal.stage != Stage::Done);
        if failed {
            self.retry_at = now + self.options.disk_full_retry;
        }
        if flush {
            self.start_flush();
        }
        Ok(())
    }
}
