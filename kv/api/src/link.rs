//! The way to other nodes, as the key-value layer wants it: opaque messages, no promises.
//!
//! Whoever implements [`Link`] (streams between processes, the network of the simulator) moves bytes and nothing else.
//! Requests, replies, time limits and liveness are built on top of it, where the simulator sees them.

use std::sync::Arc;

use basalt_base::NodeId;
use bytes::Bytes;

/// What a message is part of. Classes do not hold each other up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Replication, heartbeats and pings: small and urgent.
    Raft,
    /// Requests of transactions and their replies.
    Batch,
    /// Copies of ranges: large, and in no hurry.
    Snapshot,
}

impl Class {
    pub const ALL: [Self; 3] = [Self::Raft, Self::Batch, Self::Snapshot];
}

/// Carries messages to other nodes of the cluster. It may lose, repeat and reorder them.
pub trait Link: Send + Sync + 'static {
    /// Queues `message` and returns at once. False if it will certainly not be sent: nobody knows the node, or its
    /// queue is full.
    fn send(&self, to: NodeId, class: Class, message: Bytes) -> bool;

    /// Names who takes what arrives. Called once, before the node serves.
    fn deliver_to(&self, receiver: Arc<dyn Receiver>);
}

/// Takes what arrives from other nodes.
pub trait Receiver: Send + Sync + 'static {
    /// Must not block. The link vouches for `from`, and for nothing that the message says.
    fn receive(&self, from: NodeId, class: Class, message: Bytes);
}

/// The link of a node without peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLink;

impl Link for NoLink {
    fn send(&self, _to: NodeId, _class: Class, _message: Bytes) -> bool {
        false
    }

    fn deliver_to(&self, _receiver: Arc<dyn Receiver>) {}
}

/// Which nodes there are, and what is known of them.
pub trait Directory: Send + Sync + 'static {
    /// All nodes of the cluster that were not removed from it, this one included, in order.
    fn nodes(&self) -> Vec<NodeInfo>;

    /// Whether there is, or was, any other node. Asked by every transaction.
    fn has_peers(&self) -> bool {
        self.nodes().len() > 1
    }

    /// Tells the others whether this node is about to stop. A node without peers has nobody to tell.
    fn set_draining(&self, _draining: bool) {}
}

/// What other nodes must know of a node to choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub node_id: NodeId,
    /// Where it stands, the widest tier first: `[("region", "eu"), ("zone", "a")]`.
    pub locality: Vec<(String, String)>,
    /// It takes no new replicas and gives up its leases: it is about to stop.
    pub draining: bool,
    /// `None` while it has not said: then it is taken to have room.
    pub capacity: Option<Capacity>,
}

/// A store with more of what it could have taken, in percent, gets no more replicas: those that it has still grow.
const USED_PERCENT_MAX: u64 = 95;

/// How large a store is and could become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Of its file system, whoever uses it.
    pub size_bytes: u64,
    /// What can still be written there.
    pub available_bytes: u64,
    /// What the store has written.
    pub used_bytes: u64,
}

impl Capacity {
    /// Whether the store should get nothing more. What others keep on the same file system does not count as a part of the
    /// whole: a small store on a large disk that somebody else has nearly filled may still have room for ten of its kind.
    pub fn is_nearly_full(&self) -> bool {
        let (used, available) = (u128::from(self.used_bytes), u128::from(self.available_bytes));
        used * 100 > (used + available) * u128::from(USED_PERCENT_MAX)
    }
}

/// The directory of a node without peers.
#[derive(Clone, Copy, Debug)]
pub struct Alone(pub NodeId);

impl Directory for Alone {
    fn nodes(&self) -> Vec<NodeInfo> {
        vec![NodeInfo { node_id: self.0, locality: Vec::new(), draining: false, capacity: None }]
    }

    fn has_peers(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fullness_is_of_what_the_store_could_have() {
        let is_nearly_full = |used_bytes, available_bytes| {
            Capacity { size_bytes: 1_000, available_bytes, used_bytes }.is_nearly_full()
        };
        assert!(!is_nearly_full(0, 0) && !is_nearly_full(95, 5) && !is_nearly_full(1, 30));
        assert!(is_nearly_full(96, 4) && is_nearly_full(1, 0) && is_nearly_full(u64::MAX, 1 << 40));
    }
}
