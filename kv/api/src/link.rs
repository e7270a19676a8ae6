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
}

/// The directory of a node without peers.
#[derive(Clone, Copy, Debug)]
pub struct Alone(pub NodeId);

impl Directory for Alone {
    fn nodes(&self) -> Vec<NodeInfo> {
        vec![NodeInfo { node_id: self.0, locality: Vec::new(), draining: false }]
    }

    fn has_peers(&self) -> bool {
        false
    }
}
