//! The way to other stores, and what the loop tells its owner.

use basalt_base::{RangeId, ReplicaId};
use bytes::Bytes;

use crate::{Error, state_machine::Term};

/// A message between two replicas of a range. The bytes are Raft's own and opaque to the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub range_id: RangeId,
    pub from: ReplicaId,
    pub to: ReplicaId,
    /// Carries a snapshot: the transport reports its fate with `RaftHandle::report_snapshot`.
    pub is_snapshot: bool,
    pub message: Bytes,
}

/// Sends messages to other stores. It may lose, repeat and reorder them.
pub trait Transport: Send + Sync + 'static {
    /// Called from the store loop: must not block.
    fn send(&self, messages: Vec<Envelope>);
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
}

/// Ignores everything.
impl Observer for () {
    fn on_leader_change(&self, _: RangeId, _: Term, _: Option<ReplicaId>, _: bool) {}
    fn on_fatal(&self, _: &Error) {}
}
