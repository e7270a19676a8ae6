//! Taking what callers and peers queued.

use std::collections::BTreeMap;

use basalt_base::{RangeId, ReplicaId};
use bytes::{Bytes, BytesMut};
use protobuf::Message as _;
use raft::eraftpb::EntryType;

use super::{
    replica::{ID_BYTES, Waiting},
    run::Driver,
};
use crate::{
    Error, Result,
    counts::Counters,
    inbox::{Answer, Batch, Control, Proposal, refuse},
    membership::conf_change,
};

/// What an entry takes in the log beside its command, rounded up.
const ENTRY_BYTES: u64 = 64;
/// What a disk must have room for to count as one with room.
const ROOM_BYTES: u64 = 64 << 10;

impl Driver {
    pub(super) async fn take_inbox(&mut self) -> Result<()> {
        let Batch { mut proposals, mut together, mut messages, controls } = self.shared.inbox.drain();
        if self.installing.is_empty() && !self.waiting_snapshots.is_empty() {
            messages = std::mem::take(&mut self.waiting_snapshots).into_iter().chain(messages).collect();
        }
        for control in std::mem::take(&mut self.deferred).into_iter().chain(controls) {
            match control {
                Control::HasRoom(reply) => drop(reply.send(self.look_for_room().await)),
                control => self.control(control)?,
            }
        }
        if proposals.is_empty() && together.is_empty() && messages.is_empty() {
            return Ok(());
        }
        if !(proposals.is_empty() && together.is_empty() || self.has_room()) {
            refuse(std::mem::take(&mut proposals), &Error::DiskFull);
            refuse(std::mem::take(&mut together).into_iter().flatten(), &Error::DiskFull);
            self.want_flush();
        }
        let all = proposals.iter().chain(together.iter().flatten());
        let commands = all.map(|proposal| proposal.command.len() as u64 + ENTRY_BYTES);
        let arrived = messages.iter().map(|message| message.message.len() as u64 + ENTRY_BYTES);
        let bytes = commands.sum::<u64>() + arrived.sum::<u64>();
        // What is proposed can't be taken back, so room is made sure of before.
        match self.log.reserve(bytes).await {
            Ok(()) => {
                self.step(messages);
                self.propose_all(proposals);
                for proposals in together {
                    self.propose_together(proposals)?;
                }
            }
            Err(Error::DiskFull) => {
                refuse(proposals.into_iter().chain(together.into_iter().flatten()), &Error::DiskFull);
                // Peers send again.
                self.step(messages.into_iter().filter(|message| message.message.len() < 4096).collect());
                self.want_flush();
            }
            Err(error) => {
                let poisoned = Error::Poisoned(error.to_string());
                refuse(proposals.into_iter().chain(together.into_iter().flatten()), &poisoned);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the disk has room for what commands bring about, beside the log. A disk that can't say has.
    fn has_room(&self) -> bool {
        let least = self.options.free_bytes_min;
        least == 0 || self.env.disk.free_bytes().map_or(true, |free| free >= least)
    }

    async fn look_for_room(&mut self) -> Result<bool> {
        if !self.has_room() || self.replicas.values().any(|replica| !replica.unapplied.is_empty()) {
            return Ok(false);
        }
        match self.log.reserve(ROOM_BYTES).await {
            Ok(()) => Ok(true),
            Err(Error::DiskFull) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Proposes in the order of arrival within each group.
    fn propose_all(&mut self, proposals: Vec<Proposal>) {
        let mut by_range: BTreeMap<RangeId, Vec<Proposal>> = BTreeMap::new();
        for proposal in proposals {
            by_range.entry(proposal.range_id).or_default().push(proposal);
        }
        for (range_id, proposals) in by_range {
            let mut run = Vec::new();
            for proposal in proposals {
                if proposal.changes.is_empty() {
                    run.push(proposal);
                } else {
                    self.propose_run(range_id, std::mem::take(&mut run));
                    self.propose_change(range_id, proposal);
                }
            }
            self.propose_run(range_id, run);
        }
    }

    fn propose_run(&mut self, range_id: RangeId, proposals: Vec<Proposal>) {
        if proposals.is_empty() {
            return;
        }
        let Some(replica) = self.replicas.get_mut(&range_id) else {
            return refuse(proposals, &Error::RangeNotFound(range_id));
        };
        if replica.installing.is_some() {
            return refuse(proposals, &Error::Unavailable("the range installs a snapshot".to_owned()));
        }
        if !replica.unapplied.is_empty() {
            return refuse(proposals, &Error::DiskFull);
        }
        let (proposals, empty): (Vec<_>, Vec<_>) =
            proposals.into_iter().partition(|proposal| !proposal.command.is_empty());
        for proposal in empty {
            let _ = proposal.reply.send(Answer::Done(Err(Error::Invalid("an empty command".to_owned()))));
        }
        if proposals.is_empty() {
            return;
        }
        let first_id = self.next_proposal;
        self.next_proposal += proposals.len() as u64;
        // The ids of a run lie in one buffer.
        let mut ids = BytesMut::with_capacity(proposals.len() * ID_BYTES);
        for id in (first_id..).take(proposals.len()) {
            ids.extend_from_slice(&id.to_le_bytes());
        }
        let mut ids = ids.freeze();
        let entries = proposals
            .iter()
            .map(|proposal| (EntryType::EntryNormal, ids.split_to(ID_BYTES), proposal.command.clone()))
            .collect();
        self.finish(range_id, entries, proposals, first_id);
    }

    fn propose_change(&mut self, range_id: RangeId, proposal: Proposal) {
        let Some(replica) = self.replicas.get_mut(&range_id) else {
            return refuse(vec![proposal], &Error::RangeNotFound(range_id));
        };
        if !replica.is_leader() {
            let leader = replica.leader();
            return refuse(vec![proposal], &Error::NotLeader { leader });
        }
        // Raft would replace it by an empty entry.
        if replica.node.raft.has_pending_conf() || replica.membership.is_joint() {
            let busy = Error::Unavailable("another change of membership is in progress".to_owned());
            return refuse(vec![proposal], &busy);
        }
        if proposal.from.as_ref().is_some_and(|from| *from != replica.membership) {
            let changed = Error::Unavailable("the range has other members by now".to_owned());
            return refuse(vec![proposal], &changed);
        }
        let change = conf_change(&proposal.changes);
        let data = match change.write_to_bytes() {
            Ok(data) => Bytes::from(data),
            Err(error) => return refuse(vec![proposal], &Error::Invalid(error.to_string())),
        };
        let id = self.next_proposal;
        self.next_proposal += 1;
        let mut context = BytesMut::with_capacity(ID_BYTES + proposal.command.len());
        context.extend_from_slice(&id.to_le_bytes());
        context.extend_from_slice(&proposal.command);
        let entries = vec![(EntryType::EntryConfChangeV2, context.freeze(), data)];
        self.finish(range_id, entries, vec![proposal], id);
    }

    fn finish(
        &mut self,
        range_id: RangeId,
        entries: Vec<(EntryType, Bytes, Bytes)>,
        proposals: Vec<Proposal>,
        first_id: u64,
    ) {
        self.wake_up(range_id);
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        self.dirty.insert(range_id);
        match replica.propose(entries) {
            Ok(first) => {
                let term = replica.node.raft.term;
                Counters::add(&self.counters.proposals, proposals.len() as u64);
                let places = (first..).zip(first_id..);
                let waiting = proposals.into_iter().zip(places);
                replica.wait_for(waiting.map(|(proposal, (index, id))| Waiting {
                    index,
                    term,
                    id,
                    reply: proposal.reply,
                    late: false,
                }));
            }
            Err(error) => refuse(proposals, &error),
        }
    }

    fn control(&mut self, control: Control) -> Result<()> {
        match control {
            Control::CreateGroup(descriptor, reply) => {
                let range_id = descriptor.range_id;
                match self.create_replica(descriptor) {
                    Ok(()) => {
                        self.lead_alone(range_id);
                        self.when_durable.push(reply);
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Control::RemoveGroup(range_id, next_replica_id, reply) => {
                self.remove_group(range_id, next_replica_id, reply);
            }
            Control::Wake(range_id) => self.wake(range_id),
            Control::DoubtLeader(range_id, peer) => self.doubt_leader(range_id, peer),
            Control::SetReluctant(is_reluctant) => {
                self.is_reluctant = is_reluctant;
                for replica in self.replicas.values_mut() {
                    replica.set_reluctant(is_reluctant, &*self.env.rng);
                }
            }
            // Answered where it can wait.
            Control::HasRoom(_) => {}
            Control::Campaign(range_id) => {
                self.wake_up(range_id);
                if let Some(replica) = self.replicas.get_mut(&range_id) {
                    replica.campaign(&*self.env.rng);
                    self.dirty.insert(range_id);
                }
            }
            Control::TransferLeader(range_id, target) => {
                self.with_node(range_id, |node| node.transfer_leader(target.0));
            }
            Control::ReportUnreachable(range_id, ReplicaId(peer)) => {
                // No reason to wake, or to stay awake: it is told again and again of a store that is down.
                if let Some(replica) =
                    self.replicas.get_mut(&range_id).filter(|replica| !replica.is_quiescent)
                {
                    replica.node.report_unreachable(peer);
                    self.dirty.insert(range_id);
                }
            }
            Control::ReportSnapshot(range_id, ReplicaId(peer), arrived) => {
                let status =
                    if arrived { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
                self.with_node(range_id, |node| node.report_snapshot(peer, status));
            }
            Control::SnapshotMade(range_id) => self.snapshot_made(range_id),
            Control::ClockBound(bound, reply) => {
                if bound > self.log.clock_bound() {
                    self.batch.clock_bound(bound, false);
                }
                self.when_durable.push(reply);
            }
            Control::Truncate(reply) => {
                self.when_flushed.push(reply);
                self.start_flush();
            }
            Control::Flushed(result) => self.flushed(result)?,
            Control::Shutdown(clock, reply) => self.shutdown = Some((clock, reply)),
        }
        Ok(())
    }

    pub(super) fn with_node(
        &mut self,
        range_id: RangeId,
        act: impl FnOnce(&mut raft::RawNode<crate::storage::GroupStorage>),
    ) {
        self.wake_up(range_id);
        if let Some(replica) = self.replicas.get_mut(&range_id) {
            act(&mut replica.node);
            replica.settle(&*self.env.rng);
            self.dirty.insert(range_id);
        }
    }
}
