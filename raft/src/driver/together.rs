//! Commands of several groups that take effect together.
//!
//! A turn appends what all groups want to write as one batch under one checksum, so a crash keeps all of it or nothing.
//! A sole voter commits what it has made durable. So commands that enter the log in one turn, in groups whose only
//! member is here, are committed all or none: an atomic commit over several ranges for the price of one sync.
//!
//! What could divide them is looked at before the first is proposed. If a group refuses all the same, the store stops:
//! nothing of the turn was written yet.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft::eraftpb::EntryType;

use basalt_env::{Bug, planted};

use super::{replica::Waiting, run::Driver};
use crate::{
    Error, Result,
    counts::Counters,
    inbox::{Proposal, refuse},
};

impl Driver {
    /// Proposes all or none. An error is fatal to the store.
    pub(super) fn propose_together(&mut self, proposals: Vec<Proposal>) -> Result<()> {
        if let Err(error) = self.can_take(&proposals) {
            refuse(proposals, &error);
            return Ok(());
        }
        for (position, proposal) in proposals.into_iter().enumerate() {
            if position > 0 && planted(Bug::DivideTogether) {
                self.shared.inbox.propose(proposal);
                continue;
            }
            let Proposal { range_id, command, reply, .. } = proposal;
            let Some(replica) = self.replicas.get_mut(&range_id) else { continue };
            let id = self.next_proposal;
            self.next_proposal += 1;
            let context = Bytes::copy_from_slice(&id.to_le_bytes());
            let index =
                replica.propose(vec![(EntryType::EntryNormal, context, command)]).map_err(|error| {
                    Error::Poisoned(format!("range {range_id} refused its part of a commit: {error}"))
                })?;
            let term = replica.node.raft.term;
            replica.wait_for([Waiting { index, term, id, reply, late: false }].into_iter());
            self.dirty.insert(range_id);
            Counters::add(&self.counters.proposals, 1);
        }
        Ok(())
    }

    /// Whether every group is sure to take its command, and to commit it with this turn.
    fn can_take(&self, proposals: &[Proposal]) -> Result<()> {
        let mut seen = BTreeSet::new();
        for Proposal { range_id, command, .. } in proposals {
            let replica = self.replicas.get(range_id).ok_or(Error::RangeNotFound(*range_id))?;
            if command.is_empty() || !seen.insert(*range_id) {
                return Err(Error::Invalid("an empty command, or two for one range".to_owned()));
            }
            if !replica.is_leader() {
                return Err(Error::NotLeader { leader: replica.leader() });
            }
            let raft = &replica.node.raft;
            if !replica.membership.is_alone(replica.replica_id) || raft.has_pending_conf() {
                return Err(Error::Invalid(format!("range {range_id} has other members")));
            }
            if !replica.unapplied.is_empty() {
                return Err(Error::DiskFull);
            }
            let uncommitted = raft.uncommitted_size() as u64;
            if uncommitted > 0 && uncommitted + command.len() as u64 > self.options.uncommitted_bytes_max {
                return Err(Error::Unavailable("the range has too much uncommitted data".to_owned()));
            }
        }
        Ok(())
    }
}
