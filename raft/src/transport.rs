//! The way to other stores, and what the loop tells its owner.

use basalt_base::{RangeId, ReplicaId};

use crate::{Envelope, Error, state_machine::Term};

/// Sends messages to other stores. It may lose, repeat and reorder them.
pub trait Transport: Send + Sync + 'static {
    /// Called from the store loop: must not block.
    fn send(&self, messages: Vec<Envelope>);

    /// Whether the store of this replica is thought to be alive. A group falls asleep without its dead members only;
    /// when the answer becomes yes again, the owner must wake the groups that the two stores share
    /// (`RaftHandle::wake`). Called from the store loop: must not block.
    fn is_alive(&self, _range_id: RangeId, _replica_id: ReplicaId) -> bool {
        true
    }
}

/// The transport of a store without peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, _messages: Vec<Envelope>) {}
}

/// Called from the store loop: must not block, may call the handle's methods (but not wait for their futures).
pub trait Observer: Send + Sync + 'static {
    /// This replica started or stopped leading, or learnt of another leader; `term` is durable already.
    fn on_leader_change(&self, range_id: RangeId, term: Term, leader: Option<ReplicaId>, is_leader: bool);

    /// The store stopped and takes no more proposals: the log's disk failed, or the state machine did.
    fn on_fatal(&self, error: &Error);

    /// A message came for a range without a replica here, and asks for something that a blank replica could give
    /// ([`crate::MessageKind::may_create_replica`]). The owner may make one ([`crate::GroupDescriptor::blank`] with
    /// the envelope's `to`) and deliver the message again. Not called for replicas that were removed here.
    fn on_unknown_range(&self, _envelope: &Envelope) {}

    /// As [`Observer::on_unknown_range`], but an older replica of the range is here: it was removed from the group
    /// and the range was added here again. The owner may remove it (`RaftHandle::remove_group` with the envelope's
    /// `to`) and go on as with an unknown range.
    fn on_newer_replica(&self, _envelope: &Envelope) {}
}

/// Ignores everything.
impl Observer for () {
    fn on_leader_change(&self, _: RangeId, _: Term, _: Option<ReplicaId>, _: bool) {}
    fn on_fatal(&self, _: &Error) {}
}
