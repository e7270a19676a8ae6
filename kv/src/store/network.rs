//! What goes between the stores of different nodes: the messages of Raft, copies of ranges, and calls.
//!
//! Raft names replicas, the link names nodes. Where a replica is, the range's descriptor says; of a replica that is not in
//! it yet, or whose range is not known here, the sender of its last message is remembered.

use std::{
    collections::BTreeMap,
    slice,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use basalt_base::{NodeId, RangeId, ReplicaId};
use basalt_env::{BoxFuture, Spawner};
use basalt_kv_api::{Alone, Class, Directory, Link, NoLink};
use basalt_raft::{Envelope, GroupDescriptor, Observer, Term, Transport};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Store,
    frames::{decode_envelopes, encode_envelopes, frames},
    open::alive,
};
use crate::{
    peer::{Handler, PeerConfig, Peers},
    replica::{RangeDescriptor, RangeStates},
    routing::PeerRequest,
};

/// Remembered places of replicas that no descriptor here names.
const PLACES_MAX: usize = 65_536;

/// How a store reaches other nodes.
#[derive(Clone)]
pub struct Network {
    pub link: Arc<dyn Link>,
    pub directory: Arc<dyn Directory>,
    pub config: PeerConfig,
}

impl Network {
    /// Of a node that has no peers.
    pub fn none(node_id: NodeId) -> Self {
        Self { link: Arc::new(NoLink), directory: Arc::new(Alone(node_id)), config: PeerConfig::default() }
    }
}

impl Store {
    /// Whether any other node takes part, or did.
    pub(crate) fn has_peers(&self) -> bool {
        self.directory.has_peers()
    }

    /// Whether most nodes with replicas of the range, or most nodes if none is known, have been heard and are silent now: then
    /// nobody who can be reached serves it. Nodes that were not heard yet may be about to come, as after a start.
    pub(crate) fn is_cut_off(&self, range: Option<&RangeDescriptor>) -> bool {
        let nodes: Vec<NodeId> = match range {
            Some(range) => range.replicas.iter().map(|place| place.node_id).collect(),
            None => self.directory.nodes().into_iter().map(|node| node.node_id).collect(),
        };
        // This node has not heard of itself.
        let silent = |node: &&NodeId| self.peers.last_heard(**node).is_some() && !self.peers.is_up(**node);
        nodes.iter().filter(silent).count() * 2 > nodes.len()
    }
}

/// The transport of Raft.
pub(super) struct RaftWires {
    node_id: NodeId,
    peers: Arc<Peers>,
    states: Arc<RangeStates>,
    places: Mutex<BTreeMap<(RangeId, ReplicaId), NodeId>>,
    spawner: Arc<dyn Spawner>,
    store: OnceLock<Weak<Store>>,
}

impl RaftWires {
    pub fn new(
        node_id: NodeId,
        peers: Arc<Peers>,
        states: Arc<RangeStates>,
        spawner: Arc<dyn Spawner>,
    ) -> Self {
        Self { node_id, peers, states, places: Mutex::default(), spawner, store: OnceLock::new() }
    }

    pub fn serve(&self, store: Weak<Store>) {
        // Set once, before anything arrives.
        let _ = self.store.set(store);
    }

    fn store(&self) -> Option<Arc<Store>> {
        alive(self.store.get()?)
    }

    /// Where a replica is.
    fn node_of(&self, range_id: RangeId, replica_id: ReplicaId) -> Option<NodeId> {
        let replica = self.states.ranges.by_id(range_id);
        let named = replica.and_then(|replica| replica.descriptor().node_of(replica_id));
        named.or_else(|| self.places.lock().get(&(range_id, replica_id)).copied())
    }

    /// Remembers where a replica is.
    pub fn note(&self, range_id: RangeId, replica_id: ReplicaId, node_id: NodeId) {
        let mut places = self.places.lock();
        if places.len() >= PLACES_MAX {
            // They come back with the next messages.
            places.clear();
        }
        places.insert((range_id, replica_id), node_id);
    }

    /// A copy of a range goes as a call, so that its fate is known: a leader sends nothing else until it is.
    fn send_snapshot(&self, to: NodeId, envelope: &Envelope) {
        let Some(store) = self.store() else { return };
        let request = PeerRequest::Snapshot(encode_envelopes(slice::from_ref(envelope))).encode();
        let (range_id, replica_id) = (envelope.range_id, envelope.to);
        let peers = Arc::clone(&self.peers);
        let task = async move {
            let arrived = peers
                .call_as(Class::Snapshot, to, request)
                .await
                .is_ok_and(|reply| reply.first() == Some(&1));
            store.raft().report_snapshot(range_id, replica_id, arrived);
        };
        self.spawner.spawn("kv snapshot", Box::pin(task));
    }
}

impl Transport for RaftWires {
    fn is_alive(&self, range_id: RangeId, replica_id: ReplicaId) -> bool {
        self.node_of(range_id, replica_id).is_some_and(|node_id| self.peers.is_up(node_id))
    }

    fn send(&self, messages: Vec<Envelope>) {
        let mut by_node: BTreeMap<NodeId, Vec<Envelope>> = BTreeMap::new();
        for envelope in messages {
            match self.node_of(envelope.range_id, envelope.to) {
                Some(node_id) if node_id != self.node_id => {
                    if envelope.is_snapshot {
                        self.send_snapshot(node_id, &envelope);
                    } else {
                        by_node.entry(node_id).or_default().push(envelope);
                    }
                }
                // Raft sends again; by then the place may be known.
                _ => tracing::debug!(range = %envelope.range_id, replica = %envelope.to, "no place"),
            }
        }
        for (node_id, envelopes) in by_node {
            for envelopes in frames(&envelopes) {
                let sent = self.peers.send(node_id, Class::Raft, encode_envelopes(envelopes));
                if !sent && let Some(store) = self.store() {
                    for envelope in envelopes {
                        store.raft().report_unreachable(envelope.range_id, envelope.to);
                    }
                }
            }
        }
    }
}

/// Takes what other nodes send.
pub(super) struct Incoming {
    pub store: Weak<Store>,
    pub wires: Arc<RaftWires>,
}

impl Handler for Incoming {
    fn call(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let (store, wires) = (self.store.clone(), Arc::clone(&self.wires));
        Box::pin(async move {
            let Some(store) = alive(&store) else { return Bytes::new() };
            match PeerRequest::decode(request) {
                Ok(PeerRequest::Snapshot(bytes)) => {
                    let taken = take_messages(&store, &wires, from, bytes);
                    Bytes::copy_from_slice(&[u8::from(taken)])
                }
                Ok(request) => store.serve_peer(from, request).await,
                Err(error) => {
                    tracing::warn!(node = %from, %error, "an unreadable call");
                    Bytes::new()
                }
            }
        })
    }

    fn message(&self, from: NodeId, _class: Class, message: Bytes) {
        let Some(store) = alive(&self.store) else { return };
        take_messages(&store, &self.wires, from, message);
    }

    fn liveness(&self, node: NodeId, is_up: bool) {
        let Some(store) = alive(&self.store) else { return };
        store.liveness_changed(node, is_up);
    }

    fn held_up_for(&self) -> Duration {
        let Some(store) = alive(&self.store) else { return Duration::ZERO };
        let held_up = store.held_up_for();
        // Nobody could replace what only this node has, and what is in its memory can still be read.
        let is_needed = || store.states.ranges.all().iter().any(|replica| replica.is_alone());
        if held_up.is_zero() || is_needed() { Duration::ZERO } else { held_up }
    }
}

/// Hands messages to Raft. False if they could not be read, or not all of them were taken.
fn take_messages(store: &Arc<Store>, wires: &RaftWires, from: NodeId, message: Bytes) -> bool {
    let envelopes = match decode_envelopes(message) {
        Ok(envelopes) => envelopes,
        Err(error) => {
            tracing::warn!(node = %from, %error, "an unreadable message");
            return false;
        }
    };
    for envelope in &envelopes {
        wires.note(envelope.range_id, envelope.from, from);
    }
    store.raft().step(envelopes)
}

impl Observer for RaftWires {
    fn on_leader_change(&self, _: RangeId, _: Term, _: Option<ReplicaId>, _: bool) {}

    fn on_fatal(&self, error: &basalt_raft::Error) {
        // Requests learn it from their proposals.
        tracing::error!(%error, "the store has stopped");
    }

    /// A leader elsewhere has a replica here: one that is to be filled.
    fn on_unknown_range(&self, envelope: &Envelope) {
        let Some(store) = self.store() else { return };
        let envelope = envelope.clone();
        let task = async move {
            let blank = GroupDescriptor::blank(envelope.range_id, envelope.to);
            match store.raft().create_group(blank).await {
                Ok(()) => drop(store.raft().step(vec![envelope])),
                Err(error) => tracing::debug!(range = %envelope.range_id, %error, "no blank replica"),
            }
        };
        self.spawner.spawn("kv blank replica", Box::pin(task));
    }

    /// Ids of replicas are never used again, so the one that is here is a member no more.
    fn on_newer_replica(&self, envelope: &Envelope) {
        let Some(store) = self.store() else { return };
        let (range_id, next) = (envelope.range_id, envelope.to);
        let task = async move {
            if let Err(error) = store.remove_replica(range_id, next).await {
                tracing::debug!(range = %range_id, %error, "an old replica was not removed");
            }
        };
        self.spawner.spawn("kv old replica", Box::pin(task));
    }
}
