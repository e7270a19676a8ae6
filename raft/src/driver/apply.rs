//! Handing committed entries to the state machine and answering who waits for them.

use std::collections::VecDeque;

use basalt_base::RangeId;
use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType};

use super::{
    replica::{Committed, ID_BYTES, Replica},
    run::Driver,
};
use crate::{
    Applied, Effect, Error, LogEntry, Membership, Result, counts::Counters, inbox::Answer, log::HardState,
};

impl Driver {
    /// Applies `committed` after what an earlier turn could not apply.
    pub(super) fn apply(&mut self, range_id: RangeId, committed: Vec<Entry>) -> Result<()> {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return Ok(()) };
        for entry in committed {
            // Each once, in order, after a restart or a snapshot too.
            let before = match (replica.unapplied.last(), &replica.installing) {
                (Some(last), _) => last.entry.index,
                (None, Some(snapshot)) => snapshot.index,
                (None, None) => replica.applied,
            };
            if entry.index != before + 1 {
                return Err(Error::Corruption(format!(
                    "range {range_id}: entry {} was committed behind entry {before}",
                    entry.index
                )));
            }
            let committed = replica.node.raft.raft_log.committed;
            if entry.index > committed {
                return Err(Error::Invariant(format!(
                    "range {range_id}: entry {} is to be applied, but only {committed} are committed",
                    entry.index
                )));
            }
            let is_change = entry.get_entry_type() != EntryType::EntryNormal;
            let old = is_change.then(|| replica.membership.clone());
            let committed = understand(replica, entry)?;
            if let Some(old) = old {
                count_change(&self.counters, &old, &replica.membership);
            }
            replica.unapplied.push(committed);
        }
        replica.hand_over_if_removed();
        if replica.unapplied.is_empty() || replica.installing.is_some() {
            return Ok(());
        }
        let entries: Vec<LogEntry> =
            replica.unapplied.iter().map(|committed| committed.entry.clone()).collect();
        let last = entries[entries.len() - 1].index;
        let has_changed = entries.iter().any(|entry| entry.membership.is_some());
        let results = match self.state_machine.apply(range_id, &entries) {
            Ok(results) if results.len() == entries.len() => results,
            Ok(results) => {
                return Err(Error::StateMachine(format!(
                    "{} entries of range {range_id} gave {} results",
                    entries.len(),
                    results.len()
                )));
            }
            Err(Error::DiskFull) => {
                // They are committed and will be applied when there is room; nobody can wait that long.
                replica.give_up_waiting(..=last, "no space left to apply a committed command");
                self.stalled.insert(range_id);
                self.retry_at = self.env.clock.monotonic() + self.options.disk_full_retry;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        Counters::add(&self.counters.applied, entries.len() as u64);
        Counters::add(&self.counters.apply_batches, 1);
        replica.applied = last;
        replica.node.advance_apply_to(last);
        let mut effects = Vec::new();
        for (committed, result) in std::mem::take(&mut replica.unapplied).into_iter().zip(results) {
            let Applied { outcome, effects: mut more } = result;
            effects.append(&mut more);
            answer(replica, &committed, outcome);
        }
        replica.leave_joint();
        replica.settle(&*self.env.rng);
        if replica.membership.is_alone(replica.replica_id) {
            // Nobody will ask for them again.
            self.log.evict(range_id, last);
        }
        if replica.node.has_ready() {
            self.dirty.insert(range_id);
        }
        let leads = replica.is_leader();
        self.update_ticking(range_id);
        if has_changed {
            // After a restart it may be alone only now.
            self.lead_alone(range_id);
        }
        for effect in effects {
            match effect {
                Effect::NewGroup(descriptor) => {
                    let new = descriptor.range_id;
                    self.keep_commit(range_id);
                    // One that runs already may miss it.
                    self.splits.insert(range_id, self.flush_started + 1);
                    self.add_split_off(descriptor)?;
                    self.lead_alone(new);
                    if leads {
                        self.lead_after_split(new);
                    }
                }
            }
        }
        Ok(())
    }

    /// The right side's log must not outlive a crash without the knowledge that the split is committed: the replay of the
    /// left side, which makes the right side's state again, could wait for a leader then, and for ever.
    fn keep_commit(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get(&range_id) else { return };
        let state = replica.log.lock().hard_state;
        let commit = state.commit.max(replica.applied);
        self.batch.hard_state(range_id, HardState { commit, ..state });
    }

    /// Groups with other members need the passing of time unless they sleep, others must not have it.
    pub(super) fn update_ticking(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get(&range_id) else { return };
        if replica.needs_ticks() && !replica.is_quiescent {
            self.start_ticking(range_id);
        } else {
            self.ticking.remove(&range_id);
        }
    }
}

/// Reads a committed entry. Changes of membership take effect in Raft here, once.
fn understand(replica: &mut Replica, entry: Entry) -> Result<Committed> {
    let id = entry.context.get(..ID_BYTES).and_then(|id| id.try_into().ok()).map(u64::from_le_bytes);
    let malformed = |error| {
        Error::Corruption(format!("range {}: entry {} is unreadable: {error}", replica.range_id, entry.index))
    };
    let change = match entry.get_entry_type() {
        EntryType::EntryNormal => None,
        EntryType::EntryConfChangeV2 => Some(ConfChangeV2::parse_from_bytes(&entry.data).map_err(malformed)?),
        EntryType::EntryConfChange => {
            return Err(Error::Corruption(format!(
                "range {}: entry {} is of a kind that is never written",
                replica.range_id, entry.index
            )));
        }
    };
    let mut membership = None;
    let command = match change {
        None => entry.data,
        Some(change) => {
            match replica.node.apply_conf_change(&change) {
                Ok(state) => {
                    replica.membership = Membership::from_conf_state(&state);
                    membership = Some(replica.membership.clone());
                }
                // The same on every replica: only the entry counts. What came with the change does not happen
                // either, and the proposer hears so.
                Err(error) => {
                    tracing::warn!(range = %replica.range_id, %error, "impossible change of membership");
                    let entry =
                        LogEntry { index: entry.index, term: entry.term, command: Bytes::new(), membership };
                    return Ok(Committed { entry, id: None });
                }
            }
            if entry.context.len() > ID_BYTES { entry.context.slice(ID_BYTES..) } else { Bytes::new() }
        }
    };
    Ok(Committed { entry: LogEntry { index: entry.index, term: entry.term, command, membership }, id })
}

fn count_change(counters: &Counters, old: &Membership, new: &Membership) {
    let known = [&old.voters[..], &old.learners, &old.voters_outgoing].concat();
    let learners = new.learners.iter().filter(|member| !known.contains(member)).count();
    let promoted = new.voters.iter().filter(|member| old.learners.contains(member)).count();
    Counters::add(&counters.learners_added, learners as u64);
    Counters::add(&counters.promotions, promoted as u64);
    Counters::add(&counters.joint_changes, u64::from(new.is_joint() && !old.is_joint()));
}

/// Answers those who wait for this index: the one whose entry it is gets the outcome, the others have lost.
fn answer(replica: &mut Replica, committed: &Committed, outcome: Option<crate::Outcome>) {
    let mut outcome = Some(outcome.unwrap_or_else(|| Box::new(())));
    while replica.waiting.front().is_some_and(|waiting| waiting.index <= committed.entry.index) {
        let Some(waiting) = replica.waiting.pop_front() else { break };
        let ours = waiting.index == committed.entry.index
            && waiting.term == committed.entry.term
            && Some(waiting.id) == committed.id;
        let reply = match outcome.take_if(|_| ours) {
            Some(outcome) => Ok(outcome),
            None => Err(Error::Dropped),
        };
        // The proposer may have gone.
        let _ = waiting.reply.send(Answer::Done(reply));
    }
    // A leader of this term has the committed entries of all earlier terms before its own: what an earlier leadership
    // appended behind this index is in nobody's log any more that could commit it.
    let term = committed.entry.term;
    if replica.waiting.iter().any(|waiting| waiting.term < term) {
        let (lost, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut replica.waiting).into_iter().partition(|waiting| waiting.term < term);
        replica.waiting = kept;
        for waiting in lost {
            let _ = waiting.reply.send(Answer::Done(Err(Error::Dropped)));
        }
    }
}
