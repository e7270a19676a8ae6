//! Messages from other stores.

use raft::eraftpb::{Message, MessageType};

use super::{run::Driver, sleep::is_stale_answer};
use crate::{Envelope, Membership, MessageKind, SnapshotData, StateMachine};

/// Snapshots that wait for their turn, in memory.
const SNAPSHOTS_WAITING_MAX: usize = 2;

impl Driver {
    pub(super) fn step(&mut self, messages: Vec<Envelope>) {
        // Two that overlap must not be accepted before the first of them shows.
        let mut has_snapshot = !self.installing.is_empty();
        for envelope in messages {
            let is_snapshot = envelope.kind == MessageKind::Snapshot;
            if is_snapshot && has_snapshot {
                // Installing one holds up the loop long enough.
                if self.waiting_snapshots.len() < SNAPSHOTS_WAITING_MAX {
                    self.waiting_snapshots.push_back(envelope);
                }
                continue;
            }
            has_snapshot |= self.step_one(&envelope) && is_snapshot;
        }
    }

    /// Says whether the message went to its replica.
    fn step_one(&mut self, envelope: &Envelope) -> bool {
        let range_id = envelope.range_id;
        let Some(replica) = self.replicas.get_mut(&range_id) else {
            self.miss(envelope);
            return false;
        };
        if envelope.to != replica.replica_id {
            if envelope.to > replica.replica_id && envelope.kind.may_create_replica() {
                self.observer.on_newer_replica(envelope);
            }
            return false;
        }
        let Some(message) = envelope.open() else {
            tracing::warn!(range = %range_id, from = %envelope.from, "unreadable message from a peer");
            return false;
        };
        // A forwarded proposal could execute although its proposer was told that it was refused; a forwarded request to
        // hand over names a member that may be none any more.
        if matches!(message.get_msg_type(), MessageType::MsgPropose | MessageType::MsgTransferLeader) {
            return false;
        }
        let acceptable = |message| {
            (self.awaiting_split.is_empty() || replica.is_blank())
                && accepts(&*self.state_machine, envelope, message)
        };
        if envelope.kind == MessageKind::Snapshot && !acceptable(&message) {
            tracing::info!(range = %range_id, from = %envelope.from, "a snapshot was refused");
            return false;
        }
        let heartbeat = (envelope.kind == MessageKind::Quiesce).then(|| message.clone());
        let beats = matches!(envelope.kind, MessageKind::Heartbeat | MessageKind::HeartbeatResponse);
        if replica.is_quiescent && !is_stale_answer(replica, envelope, &message) || !beats {
            self.wake_up(range_id);
        }
        let Some(replica) = self.replicas.get_mut(&range_id) else { return false };
        replica.hear(envelope.from);
        if let Err(error) = replica.node.step(message) {
            tracing::debug!(range = %range_id, %error, "message from a peer ignored");
        }
        replica.settle(&*self.env.rng);
        self.dirty.insert(range_id);
        if let Some(heartbeat) = heartbeat {
            self.sleep_with_leader(range_id, &heartbeat);
        }
        true
    }

    /// There is no replica of the range here. The owner may want one, unless it was here and is gone for good.
    fn miss(&self, envelope: &Envelope) {
        let range_id = envelope.range_id;
        let possible = envelope.kind.may_create_replica()
            && envelope.to >= self.log.tombstone(range_id)
            && !self.is_removing(range_id)
            && !self.awaiting_split.contains(&range_id);
        if possible {
            self.observer.on_unknown_range(envelope);
        }
    }
}

fn accepts(state_machine: &dyn StateMachine, envelope: &Envelope, message: &Message) -> bool {
    let metadata = message.get_snapshot().get_metadata();
    let snapshot = SnapshotData {
        index: metadata.index,
        term: metadata.term,
        membership: Membership::from_conf_state(metadata.get_conf_state()),
        bytes: message.get_snapshot().data.clone(),
    };
    state_machine.accepts_snapshot(envelope.range_id, envelope.to, &snapshot)
}
