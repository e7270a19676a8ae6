//! Which nodes belong to the cluster, for how long, and under which ids.
//!
//! What was decided about a node is in keys of the system space, so that it is as durable as any data and every allocator
//! reads the same. Two keys a node: one that is written again and again says whether it is to give up its replicas; one that
//! is only ever put says that it was removed. So no race brings a removed node back.
//!
//! An id is given out once: a counter rises for good, and the number of the joiner that an id was given to is kept, so that
//! a joiner that did not hear the answer gets the same again. Two that ask at once under one number get one id; the other
//! stays unused.
//!
//! Every store keeps a copy. Who changes something tells the others that something has changed; whom that does not reach
//! looks by itself from time to time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use basalt_base::{Key, NodeId, Span, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error, ReadConsistency, Request, Response, Result, ScanBatch,
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::Store;
use crate::{replica::RangeDescriptor, routing::PeerRequest};

const FORMAT: u8 = 1;
const SUFFIX_LEAVING: u8 = b'd';
const SUFFIX_REMOVED: u8 = b'r';
/// Rows read at once.
const PAGE_ROWS: u64 = 1_000;

/// What was decided about a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    #[default]
    Active,
    /// It gives up its leases and replicas, and gets none.
    Decommissioning,
    /// It is no part of the cluster any more, for ever.
    Removed,
}

/// How far a node is from having nothing left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaveProgress {
    /// Replicas that it still has.
    pub replicas: usize,
    /// Of these, those for which there is no other node: all that could take them have one of the same range.
    pub nowhere_to_go: usize,
}

/// This store's copy.
#[derive(Default)]
pub struct NodeStates {
    known: Mutex<BTreeMap<NodeId, NodeState>>,
    /// Whether it was ever read by this process.
    is_known: AtomicBool,
}

impl Store {
    /// What was decided about a node, as this store knows it.
    pub fn state_of(&self, node_id: NodeId) -> NodeState {
        self.node_states.known.lock().get(&node_id).copied().unwrap_or_default()
    }

    /// What was decided about all nodes of the directory, and about those that were removed, as it is now.
    pub async fn node_states(self: &Arc<Self>) -> Result<BTreeMap<NodeId, NodeState>> {
        self.reload_node_states().await?;
        let mut states: BTreeMap<NodeId, NodeState> =
            self.directory.nodes().into_iter().map(|node| (node.node_id, NodeState::Active)).collect();
        states.extend(self.node_states.known.lock().iter());
        Ok(states)
    }

    /// Decides about a node. It is removed only when it has been decommissioned and has no replica left, and stays removed.
    pub async fn set_node_state(self: &Arc<Self>, node_id: NodeId, state: NodeState) -> Result<()> {
        let states = self.node_states().await?;
        match (states.get(&node_id), state) {
            (None, _) => return Err(Error::Invalid(format!("node {node_id} does not exist"))),
            (Some(NodeState::Removed), NodeState::Removed) => return Ok(()),
            (Some(NodeState::Removed), _) => {
                return Err(Error::Invalid(format!("node {node_id} was removed from the cluster")));
            }
            (Some(NodeState::Active), NodeState::Removed) => {
                return Err(Error::Invalid(format!("node {node_id} must be decommissioned first")));
            }
            (Some(_), NodeState::Decommissioning) => {
                let stays =
                    |(other, state): (&NodeId, &NodeState)| *other != node_id && *state == NodeState::Active;
                if !states.iter().any(stays) {
                    return Err(Error::Invalid(format!("node {node_id} is the last of the cluster")));
                }
            }
            (Some(_), _) => {}
        }
        if state == NodeState::Removed {
            let replicas = self.replica_counts().await?.get(&node_id).copied().unwrap_or(0);
            if replicas > 0 {
                return Err(Error::Invalid(format!("node {node_id} still has {replicas} replicas")));
            }
        }
        let (key, value) = match state {
            NodeState::Active => (keys::node_leaving_key(node_id), [FORMAT, 0]),
            NodeState::Decommissioning => (keys::node_leaving_key(node_id), [FORMAT, 1]),
            NodeState::Removed => (keys::node_removed_key(node_id), [FORMAT, 1]),
        };
        self.put_alone(key, Bytes::copy_from_slice(&value), false).await?;
        self.reload_node_states().await?;
        self.tell_of_node_states();
        Ok(())
    }

    /// Gives a node its id: to the same joiner always the same, and to no two nodes the same, removed ones included.
    pub async fn allocate_node_id(self: &Arc<Self>, joiner: u128) -> Result<NodeId> {
        self.admit()?;
        let key = keys::joiner_key(joiner);
        loop {
            if let Some((_, value)) = self.scan_alone(Span::prefix(key.clone())).await?.into_iter().next() {
                let id = <[u8; 8]>::try_from(&value[..]);
                let id = id.map_err(|_| Error::Corruption("the id of a joiner is no number".to_owned()))?;
                return Ok(NodeId(u64::from_be_bytes(id)));
            }
            let id = self.new_node_id().await?;
            let value = Bytes::copy_from_slice(&id.0.to_be_bytes());
            match self.put_alone(key.clone(), value, true).await {
                // Whether by this attempt or by another: the key says which id it is.
                Ok(()) | Err(Error::KeyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// An id that no node has had: above those that were given out before there was a counter, too.
    async fn new_node_id(self: &Arc<Self>) -> Result<NodeId> {
        loop {
            let taken = self.directory.nodes().into_iter().map(|node| node.node_id.0);
            let taken = taken.chain(self.node_states.known.lock().keys().map(|node| node.0)).max();
            let taken = taken.unwrap_or(0).max(self.ident.node_id.0);
            let request = Request::Increment { key: keys::node_id_counter(), by: 1 };
            let Response::Increment { sum } = self.ask(request).await? else {
                return Err(Error::Internal("an increment was answered by something else".to_owned()));
            };
            if sum > taken {
                return Ok(NodeId(sum));
            }
            // Up to the highest id that is in use.
            let request = Request::Increment { key: keys::node_id_counter(), by: taken - sum };
            self.ask(request).await?;
        }
    }

    /// How many replicas each node has, by what meta says of all ranges.
    pub async fn replica_counts(self: &Arc<Self>) -> Result<BTreeMap<NodeId, usize>> {
        let mut counts = BTreeMap::new();
        for descriptor in self.all_descriptors().await? {
            for place in &descriptor.replicas {
                *counts.entry(place.node_id).or_insert(0) += 1;
            }
        }
        Ok(counts)
    }

    /// How far a node is from having nothing left, and whether it can get there.
    pub async fn leave_progress(self: &Arc<Self>, node_id: NodeId) -> Result<LeaveProgress> {
        self.reload_node_states().await?;
        let takers: Vec<NodeId> = self.directory.nodes().into_iter().map(|node| node.node_id).collect();
        let takes = |taker: &NodeId| {
            let is_up = *taker == self.ident.node_id || self.peers.is_up(*taker);
            is_up && self.state_of(*taker) == NodeState::Active
        };
        let takers: Vec<NodeId> =
            takers.into_iter().filter(|taker| *taker != node_id && takes(taker)).collect();
        let mut progress = LeaveProgress::default();
        for descriptor in self.all_descriptors().await? {
            if descriptor.replica_on(node_id).is_none() {
                continue;
            }
            progress.replicas += 1;
            let has_room = takers.iter().any(|taker| descriptor.replica_on(*taker).is_none());
            // Of five replicas three are left when there are no more nodes.
            let is_needed = descriptor.replicas.len() <= takers.len().min(3);
            let goes_without = descriptor.replicas.len() > 3;
            progress.nowhere_to_go += usize::from(!has_room && !goes_without && !is_needed);
        }
        Ok(progress)
    }

    pub(super) async fn all_descriptors(self: &Arc<Self>) -> Result<Vec<RangeDescriptor>> {
        let rows = self.scan_alone(Span::prefix(Bytes::from_static(&[keys::META_PREFIX]))).await?;
        let decode =
            |(_, value)| RangeDescriptor::decode(value).map_err(|error| Error::Corruption(error.to_string()));
        rows.into_iter().map(decode).collect()
    }

    /// Reads what is kept of the nodes.
    pub(crate) async fn reload_node_states(self: &Arc<Self>) -> Result<()> {
        let mut states: BTreeMap<NodeId, NodeState> = BTreeMap::new();
        for (key, value) in self.scan_alone(keys::nodes_span()).await? {
            let Some((node_id, suffix)) = keys::decode_node_key(&key) else { continue };
            if value.first() != Some(&FORMAT) {
                return Err(Error::Corruption(format!("the record of node {node_id} is unreadable")));
            }
            let state = match (suffix, value.get(1)) {
                (SUFFIX_REMOVED, _) => NodeState::Removed,
                (SUFFIX_LEAVING, Some(1)) => NodeState::Decommissioning,
                _ => NodeState::Active,
            };
            let known = states.entry(node_id).or_default();
            *known = (*known).max(state);
        }
        let mut known = self.node_states.known.lock();
        // What was read before another reading that came first.
        for (node_id, state) in known.iter().filter(|(_, state)| **state == NodeState::Removed) {
            states.insert(*node_id, *state);
        }
        *known = states;
        self.node_states.is_known.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn knows_node_states(&self) -> bool {
        self.node_states.is_known.load(Ordering::Relaxed)
    }

    /// Has the others look. Whom it does not reach looks by himself.
    fn tell_of_node_states(self: &Arc<Self>) {
        for node in self.other_nodes() {
            let peers = Arc::clone(&self.peers);
            let task = async move {
                let _ = peers.call(node, PeerRequest::NodesChanged.encode()).await;
            };
            self.env.spawner.spawn("kv node states", Box::pin(task));
        }
    }

    async fn put_alone(self: &Arc<Self>, key: Key, value: Bytes, if_absent: bool) -> Result<()> {
        self.ask(Request::Put { key, value, seq: 0, if_absent }).await.map(drop)
    }

    /// The newest values of a span.
    async fn scan_alone(self: &Arc<Self>, span: Span) -> Result<Vec<(Key, Bytes)>> {
        let (mut all, mut rest) = (Vec::new(), Some(span));
        while let Some(span) = rest.take() {
            let header = BatchHeader {
                consistency: ReadConsistency::Inconsistent,
                rows_max: PAGE_ROWS,
                ..BatchHeader::default()
            };
            let request = Request::Scan { span, reverse: false, lock: None, program: None };
            let batch = BatchRequest { header, requests: vec![request] };
            let response = Box::pin(self.route(batch)).await?.responses.into_iter().next();
            let Some(Response::Scan { batch: ScanBatch::Rows(rows), resume }) = response else {
                return Err(Error::Internal("a scan was answered by something else".to_owned()));
            };
            all.extend(rows);
            rest = resume.filter(|rest| !rest.is_empty());
        }
        Ok(all)
    }
}
