//! Which replicas are here: starting them at boot, adding them later.
//!
//! A replica's existence is two things: a group in the log, and state in the state machine's engine, which is flushed at
//! other times. What a crash left of one without the other is told apart by three rules.
//!
//! * A tombstone, or a group in the log of a newer replica that waits for its state, condemns state of an older replica.
//! * A log that begins where new groups begin, without state, waits for the split that makes the state again. That the
//!   split is committed was written with the log's first record, so that nobody is needed for its replay; until it has
//!   happened, no other replica's log may go, by removal or by a snapshot.
//! * State of a new group at its very beginning, with an empty log, gets the log that belongs to it; term and vote of a
//!   blank replica that was in its place are kept.

use std::collections::BTreeSet;

use basalt_base::{RangeId, ReplicaId};

use super::{removal::Removal, replica::Replica, run::Driver};
use crate::{
    Error, GroupDescriptor, INITIAL_LOG_INDEX, LogIndex, Result,
    log::{GroupLog, HardState},
    storage::GroupStorage,
};

impl Driver {
    /// Builds the groups from the state machine and the log, and repairs what a crash left half done.
    pub(super) async fn restore(&mut self) -> Result<()> {
        self.destroy_condemned()?;
        self.repeat_installations().await?;
        let mut missing: BTreeSet<_> = self.log.range_ids().into_iter().collect();
        for descriptor in self.state_machine.groups()? {
            missing.remove(&descriptor.range_id);
            self.add_replica(descriptor)?;
        }
        for range_id in missing {
            self.add_without_state(range_id)?;
        }
        self.log.append(&mut self.batch).await?;
        self.log.sync().await?;
        for range_id in self.replicas.keys().copied().collect::<Vec<_>>() {
            self.lead_alone(range_id);
        }
        Ok(())
    }

    /// State whose replica was removed: the crash came before its destruction was flushed.
    fn destroy_condemned(&self) -> Result<()> {
        for GroupDescriptor { range_id, replica_id, .. } in self.state_machine.groups()? {
            let waits = |log: &GroupLog| log.is_blank() || log.pending_snapshot.is_some();
            let replaced = self.log.group(range_id).is_some_and(|log| {
                let log = log.lock();
                replica_id < log.replica_id && waits(&log)
            });
            if replaced || replica_id < self.log.tombstone(range_id) {
                tracing::info!(range = %range_id, replica = %replica_id, "destroying what is left of a replica");
                self.state_machine.destroy(range_id)?;
            }
        }
        Ok(())
    }

    /// Snapshots that were being installed: again, from the copy in the log.
    async fn repeat_installations(&mut self) -> Result<()> {
        let mut repeated = false;
        for range_id in self.log.range_ids() {
            let Some(log) = self.log.group(range_id) else { continue };
            let (replica_id, pending) = {
                let log = log.lock();
                (log.replica_id, log.pending_snapshot.as_ref().map(|(snapshot, _)| snapshot.clone()))
            };
            if let Some(snapshot) = pending {
                tracing::info!(range = %range_id, index = snapshot.index, "repeating the installation of a snapshot");
                self.state_machine.install_snapshot(range_id, replica_id, &snapshot.into_data())?;
                self.batch.snapshot_installed(range_id);
                repeated = true;
            }
        }
        if repeated {
            self.state_machine.flush()?;
            self.log.append(&mut self.batch).await?;
        }
        Ok(())
    }

    /// A group in the log of which the state machine knows nothing.
    fn add_without_state(&mut self, range_id: RangeId) -> Result<()> {
        let Some(log) = self.log.group(range_id) else { return Ok(()) };
        let (replica_id, start) = {
            let log = log.lock();
            (log.replica_id, log.truncated_index)
        };
        match start {
            // Waits for a snapshot, and may have promised votes.
            0 => self.add_replica(GroupDescriptor::blank(range_id, replica_id)),
            // The split that made it was not flushed: replaying the left side's log makes it again.
            INITIAL_LOG_INDEX => {
                self.awaiting_split.insert(range_id);
                Ok(())
            }
            _ => Err(Error::Corruption(format!(
                "range {range_id}: the log begins behind entry {start}, but the state up to there is missing"
            ))),
        }
    }

    /// Adds a replica that the owner asks for.
    pub(super) fn create_replica(&mut self, descriptor: GroupDescriptor) -> Result<()> {
        let GroupDescriptor { range_id, replica_id, .. } = descriptor;
        let next_replica_id = self.least_replica_id(range_id);
        if replica_id < next_replica_id {
            return Err(Error::ReplicaTooOld { range_id, next_replica_id });
        }
        if self.is_removing(range_id) {
            return Err(Error::Unavailable(format!("range {range_id} is being removed")));
        }
        match self.replicas.get(&range_id).map(|replica| (replica.replica_id, replica.is_blank())) {
            Some((here, _)) if here < replica_id => {
                return Err(Error::Invalid(format!("replica {here} of range {range_id} is still here")));
            }
            Some((_, blank)) if descriptor.is_blank() || !blank => return Ok(()),
            Some(_) => {}
            None if descriptor.is_blank() && self.awaiting_split.contains(&range_id) => {
                return Err(Error::Unavailable(format!("range {range_id} waits for a split to be replayed")));
            }
            None => {}
        }
        self.add_replica(descriptor)
    }

    /// Adds a replica that a split made: what is here of the range may be as old, older or newer.
    pub(super) fn add_split_off(&mut self, descriptor: GroupDescriptor) -> Result<()> {
        let GroupDescriptor { range_id, replica_id, .. } = descriptor;
        if replica_id < self.least_replica_id(range_id) {
            // The range was removed here before the split was applied: its state must not stay.
            tracing::info!(range = %range_id, replica = %replica_id, "a split made a replica that was removed here");
            self.removing.push(Removal::of_state(range_id));
            return Ok(());
        }
        match self.replicas.get(&range_id) {
            Some(replica) if !replica.is_blank() && replica.replica_id < replica_id => {
                Err(Error::StateMachine(format!(
                    "a split made replica {replica_id} of range {range_id}, but replica {} is here",
                    replica.replica_id
                )))
            }
            // Replay.
            Some(replica) if !replica.is_blank() => Ok(()),
            _ => self.add_replica(descriptor),
        }
    }

    /// Replicas of the range with lower ids must not exist here.
    fn least_replica_id(&self, range_id: RangeId) -> ReplicaId {
        let here = self.replicas.get(&range_id).map(|replica| replica.replica_id);
        self.log.tombstone(range_id).max(here.unwrap_or_default())
    }

    /// Starts a group, in the place of a blank replica if there is one. Its log is made when there is none; term and
    /// vote of one that exists are kept.
    fn add_replica(&mut self, descriptor: GroupDescriptor) -> Result<()> {
        let GroupDescriptor { range_id, replica_id, membership, applied_index, applied_term } = descriptor;
        let is_new = applied_index == 0 || applied_index == INITIAL_LOG_INDEX;
        let existing = self.log.group(range_id);
        let kept = existing.as_ref().map(|log| {
            let log = log.lock();
            (log.replica_id, log.is_blank(), log.hard_state)
        });
        let fresh = HardState { term: applied_term, vote: 0, commit: applied_index };
        let state = match kept {
            None if is_new => Some(fresh),
            None => {
                return Err(Error::Corruption(format!(
                    "range {range_id}: the state is at entry {applied_index}, but the log has no such range"
                )));
            }
            Some((here, true, _)) if here < replica_id && is_new => Some(fresh),
            // It may have voted while it was blank: what it has promised stands.
            Some((here, true, state)) if here == replica_id && applied_index == INITIAL_LOG_INDEX => {
                Some(if state.term < fresh.term {
                    fresh
                } else {
                    HardState { commit: fresh.commit, ..state }
                })
            }
            Some(_) => None,
        };
        let log = match (existing, state) {
            (Some(log), None) => log,
            (_, state) => self.log.create_group(
                &mut self.batch,
                range_id,
                replica_id,
                applied_index,
                applied_term,
                state.unwrap_or(fresh),
            ),
        };
        check_agreement(&log.lock(), replica_id, applied_index)
            .map_err(|problem| Error::Corruption(format!("range {range_id}: {problem}")))?;
        let storage = GroupStorage {
            range_id,
            log,
            files: self.log.files(),
            counters: self.counters.clone(),
            initial: membership.to_conf_state(),
            applied: applied_index,
            slots: self.slots.clone(),
            clock: self.env.clock.clone(),
        };
        let mut replica =
            Replica::new(storage, replica_id, membership, &self.options, &*self.env.rng, &self.logger)?;
        replica.born_at_flush = self.flush_started;
        replica.set_reluctant(self.is_reluctant, &*self.env.rng);
        if let Some(blank) = self.replicas.get(&range_id) {
            replica.reported = blank.reported;
        }
        if replica.needs_ticks() {
            self.start_ticking(range_id);
        }
        self.replicas.insert(range_id, replica);
        self.awaiting_split.remove(&range_id);
        self.dirty.insert(range_id);
        Ok(())
    }

    /// A sole voter need not wait for an election timeout: nobody else can lead.
    pub(super) fn lead_alone(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        if replica.membership.is_sole_voter(replica.replica_id) && !replica.is_leader() {
            replica.campaign(&*self.env.rng);
            self.dirty.insert(range_id);
        }
    }

    /// The store that leads the left side campaigns for the right side; the others give it time.
    pub(super) fn lead_after_split(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        if !replica.is_leader() && replica.leader().is_none() {
            replica.campaign(&*self.env.rng);
            self.dirty.insert(range_id);
        }
    }
}

/// Whether the state may have come from this log.
fn check_agreement(log: &GroupLog, replica_id: ReplicaId, applied: LogIndex) -> Result<(), String> {
    if log.replica_id != replica_id {
        return Err(format!("the log is of replica {}, the state of replica {replica_id}", log.replica_id));
    }
    if applied > log.last_index() {
        // A sole voter is never destroyed, and one of several must not vote: refuse to start.
        return Err(format!("the state is at entry {applied}, but the log ends at {}", log.last_index()));
    }
    if applied < log.truncated_index {
        return Err(format!(
            "the state is at entry {applied}, but the log begins behind {}",
            log.truncated_index
        ));
    }
    Ok(())
}
