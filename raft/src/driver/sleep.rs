//! Idle groups stop ticking.
//!
//! A group sleeps when nothing is under way in it: its leader has no work, and every member that lives has the whole log.
//! The leader's last heartbeat says so ([`MessageKind::Quiesce`]); a follower that agrees stops with it and does not
//! answer. A follower that has heard nothing of it, or has not the whole log, goes on ticking or answers, and both wake
//! the leader. So nobody sleeps behind a leader that is awake, for more than the way of a message.
//!
//! Sleep ends with a proposal, a message, or [`crate::RaftHandle::wake`]. A leader that wakes sends heartbeats; a follower
//! that is woken by its owner tells the leader. Sleepers have missed ticks, but ticks count no time that passed asleep:
//! whoever wakes gives the leader a whole election timeout. A leader that died asleep is found when the owner, who knows
//! which stores live, wakes its groups.

use basalt_base::{RangeId, ReplicaId};
use raft::{
    ProgressState, StateRole,
    eraftpb::{Message, MessageType},
};

use super::{replica::Replica, run::Driver};
use crate::{Envelope, MessageKind, Transport, counts::Counters};

impl Driver {
    /// Puts groups to sleep that have had nothing to do for long enough.
    pub(super) fn put_to_sleep(&mut self, idle: Vec<RangeId>) {
        let mut envelopes = Vec::new();
        for range_id in idle {
            let Some(replica) = self.replicas.get_mut(&range_id) else { continue };
            if !can_sleep(replica, &*self.transport) {
                continue;
            }
            envelopes.extend(last_heartbeats(replica, &*self.transport));
            self.fall_asleep(range_id);
        }
        self.send(&mut envelopes);
    }

    /// What a follower does with a leader's last heartbeat, which it has stepped.
    pub(super) fn sleep_with_leader(&mut self, range_id: RangeId, heartbeat: &Message) {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        let raft = &mut replica.node.raft;
        let log = &raft.raft_log;
        let agrees = raft.state == StateRole::Follower
            && (raft.term, raft.leader_id) == (heartbeat.term, heartbeat.from)
            && (log.last_index(), log.last_term()) == (heartbeat.index, heartbeat.log_term)
            && log.committed == heartbeat.index;
        if agrees {
            let raft = &mut replica.node.raft;
            raft.msgs.retain(|message| message.get_msg_type() != MessageType::MsgHeartbeatResponse);
            self.fall_asleep(range_id);
        }
    }

    fn fall_asleep(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        replica.is_quiescent = true;
        self.ticking.remove(&range_id);
        // To be shown.
        self.dirty.insert(range_id);
        Counters::add(&self.counters.sleeps, 1);
    }

    /// Ends the sleep at the owner's wish.
    pub(super) fn wake(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get(&range_id).filter(|replica| replica.is_quiescent) else {
            return;
        };
        let mut envelopes = Vec::new();
        if let Some(leader) = replica.leader().filter(|_| !replica.is_leader()) {
            // An answer to a heartbeat says nothing that Raft does not bear at any time.
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgHeartbeatResponse);
            (message.from, message.to) = (replica.replica_id.0, leader.0);
            (message.term, message.commit) = (replica.node.raft.term, replica.node.raft.raft_log.committed);
            envelopes.push(Envelope { kind: MessageKind::Wake, ..Envelope::new(range_id, &message) });
        }
        self.wake_up(range_id);
        self.send(&mut envelopes);
    }

    /// The node of `peer` has been silent for longer than an election timeout. A sleeping replica that follows it has not
    /// counted that time, and need not wait as long again.
    pub(super) fn doubt_leader(&mut self, range_id: RangeId, peer: ReplicaId) {
        let follows = |replica: &&Replica| replica.is_quiescent && replica.leader() == Some(peer);
        if self.replicas.get(&range_id).filter(follows).is_none() {
            return;
        }
        self.wake_up(range_id);
        if let Some(replica) = self.replicas.get_mut(&range_id) {
            replica.shorten_timeout(&*self.env.rng);
        }
    }

    /// Ends the sleep because there is something to do.
    pub(super) fn wake_up(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        replica.idle_ticks = 0;
        if !replica.is_quiescent {
            return;
        }
        replica.is_quiescent = false;
        // A whole timeout: for the leader to be heard of, or to hear of its followers.
        replica.node.raft.election_elapsed = 0;
        if replica.is_leader() {
            replica.node.ping();
        }
        self.dirty.insert(range_id);
        self.update_ticking(range_id);
    }
}

/// Whether a message to a sleeping replica tells it nothing new: the answer to a heartbeat from before.
pub(super) fn is_stale_answer(replica: &Replica, envelope: &Envelope, message: &Message) -> bool {
    let raft = &replica.node.raft;
    envelope.kind == MessageKind::HeartbeatResponse
        && replica.is_leader()
        && message.term == raft.term
        && message.commit == raft.raft_log.last_index()
}

/// Whether nothing is under way in a group that is led here.
fn can_sleep(replica: &Replica, transport: &dyn Transport) -> bool {
    let raft = &replica.node.raft;
    let last = raft.raft_log.last_index();
    let idle = replica.is_leader()
        && replica.needs_ticks()
        // A leader that was removed still has to hand over.
        && raft.promotable()
        && replica.waiting.is_empty()
        && replica.unapplied.is_empty()
        && replica.installing.is_none()
        && (raft.raft_log.committed, replica.applied) == (last, last)
        && raft.lead_transferee.is_none()
        && !raft.has_pending_conf()
        && !replica.membership.is_joint()
        // What is in it may be a term that is not durable yet.
        && !replica.node.has_ready();
    idle && raft.prs().iter().all(|(&id, progress)| {
        id == replica.replica_id.0
            || (progress.matched == last && progress.state != ProgressState::Snapshot)
            || !transport.is_alive(replica.range_id, ReplicaId(id))
    })
}

/// For those that live: a report that a message did not get through is not to wake anybody.
fn last_heartbeats(replica: &Replica, transport: &dyn Transport) -> Vec<Envelope> {
    let raft = &replica.node.raft;
    let mut members: Vec<u64> = raft.prs().iter().map(|(&id, _)| id).collect();
    members.sort_unstable();
    let is_alive = |id| transport.is_alive(replica.range_id, ReplicaId(id));
    let others = members.into_iter().filter(|id| *id != replica.replica_id.0 && is_alive(*id));
    let heartbeat = |to| {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeat);
        (message.from, message.to, message.term) = (replica.replica_id.0, to, raft.term);
        let (index, term) = (raft.raft_log.last_index(), raft.raft_log.last_term());
        (message.index, message.log_term) = (index, term);
        // No further than the member is known to have the log, as for any heartbeat.
        let matched = raft.prs().get(to).map_or(0, |progress| progress.matched);
        message.commit = matched.min(raft.raft_log.committed);
        Envelope { kind: MessageKind::Quiesce, ..Envelope::new(replica.range_id, &message) }
    };
    others.map(heartbeat).collect()
}
