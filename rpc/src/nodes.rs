//! What this node knows of the nodes of its cluster, itself included.
//!
//! Every node writes one record, its own, and numbers its versions: first by the start of the process (`incarnation`), then
//! within it. The newest one wins wherever two meet, so the order in which they arrive does not matter. A node that hears of
//! a newer version of its own record than it wrote (its store was restored, its clock was set back) writes above it. Removal is
//! for ever: it wins over every version.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use basalt_base::NodeId;
use basalt_kv_api::{Capacity, NodeInfo};
use parking_lot::Mutex;

use crate::{
    message::{Record, Tier},
    options::{NODES_MAX, TEXT_BYTES_MAX, TIERS_MAX},
};

/// What a node tells the others of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNode {
    /// Where other nodes reach it, `host:port`; so the next two.
    pub rpc_address: String,
    pub sql_address: String,
    pub http_address: String,
    /// The widest tier first.
    pub locality: Vec<(String, String)>,
    /// The version of the program.
    pub build: String,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub node_id: NodeId,
    pub node: LocalNode,
    /// Of its store, if it has said.
    pub capacity: Option<Capacity>,
    pub draining: bool,
    /// Taken out of the cluster.
    pub removed: bool,
    /// How long ago it was last heard of by itself; zero of this node, `None` if not since this node started.
    pub silent_for: Option<Duration>,
    /// Why the last attempt to reach it failed, if it did.
    pub problem: Option<String>,
    pub round_trip: Option<Duration>,
}

pub(crate) struct Nodes {
    own: NodeId,
    /// Another node is known. Beside the state, because every transaction asks.
    has_peers: AtomicBool,
    state: Mutex<State>,
}

struct State {
    known: BTreeMap<NodeId, Known>,
    /// Counts changes of what a restarted node must know.
    changes: u64,
    /// A node was removed, and not everybody was told.
    news: bool,
    /// A newer version of this node's record was met than it wrote.
    outbid: bool,
}

struct Known {
    record: Record,
    heard: Option<Duration>,
}

/// Whether the texts of a record are as short as those of an honest node.
pub(crate) fn is_proper(record: &Record) -> bool {
    let short = |text: &String| text.len() <= TEXT_BYTES_MAX;
    record.node_id != 0
        && [&record.rpc_address, &record.sql_address, &record.http_address, &record.build]
            .into_iter()
            .all(short)
        && record.locality.len() <= TIERS_MAX
        && record.locality.iter().all(|tier| short(&tier.key) && short(&tier.value))
}

impl Nodes {
    pub(crate) fn new(own: NodeId, local: LocalNode, incarnation: u64) -> Self {
        let tier = |(key, value)| Tier { key, value };
        let record = Record {
            node_id: own.0,
            incarnation,
            version: 1,
            rpc_address: local.rpc_address,
            sql_address: local.sql_address,
            http_address: local.http_address,
            locality: local.locality.into_iter().map(tier).collect(),
            build: local.build,
            ..Record::default()
        };
        let known = BTreeMap::from([(own, Known { record, heard: None })]);
        Self {
            own,
            has_peers: AtomicBool::new(false),
            state: Mutex::new(State { known, changes: 0, news: false, outbid: false }),
        }
    }

    /// Takes over what is newer than what is known. `heard` if the record comes from its node.
    pub(crate) fn merge(&self, record: Record, heard: Option<Duration>) {
        let node = NodeId(record.node_id);
        if !is_proper(&record) {
            return;
        }
        let mut state = self.state.lock();
        if node != self.own {
            self.has_peers.store(true, Ordering::SeqCst);
        }
        let state = &mut *state;
        if !state.known.contains_key(&node) && state.known.len() >= NODES_MAX {
            return;
        }
        let is_new = !state.known.contains_key(&node);
        let known = state.known.entry(node).or_insert_with(|| Known {
            record: Record { node_id: node.0, ..Record::default() },
            heard: None,
        });
        let removed = known.record.removed || record.removed;
        let newer =
            is_new || (record.incarnation, record.version) > (known.record.incarnation, known.record.version);
        if removed != known.record.removed {
            state.news = true;
        }
        let mut changed = is_new || removed != known.record.removed;
        if node == self.own {
            if newer {
                known.record.incarnation = record.incarnation.saturating_add(1);
                state.outbid = true;
                changed = true;
            }
        } else {
            known.heard = known.heard.max(heard);
            if newer {
                changed |= known.record.rpc_address != record.rpc_address;
                known.record = record;
            }
        }
        known.record.removed = removed;
        state.changes += u64::from(changed);
    }

    /// A node told where it is reached, and that it is there.
    pub(crate) fn met(&self, node: NodeId, address: &str, now: Duration) {
        if node == self.own || address.is_empty() || address.len() > TEXT_BYTES_MAX {
            return;
        }
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(known) = state.known.get_mut(&node) {
            known.heard = known.heard.max(Some(now));
            if known.record.rpc_address != address {
                address.clone_into(&mut known.record.rpc_address);
                state.changes += 1;
            }
        }
    }

    pub(crate) fn change_own(&self, change: impl FnOnce(&mut Record)) {
        let mut state = self.state.lock();
        let record = &mut state.known.get_mut(&self.own).expect("a node knows itself").record;
        let before = record.clone();
        change(record);
        if *record != before {
            record.version += 1;
        }
    }

    pub(crate) fn remove(&self, node: NodeId) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(known) = state.known.get_mut(&node).filter(|known| !known.record.removed) {
            known.record.removed = true;
            state.changes += 1;
            state.news = true;
        }
    }

    /// Where a node is reached; `None` of this one, and of one that is unknown or removed.
    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        let state = self.state.lock();
        let record = &state.known.get(&node)?.record;
        let reachable = node != self.own && !record.removed && !record.rpc_address.is_empty();
        reachable.then(|| record.rpc_address.clone())
    }

    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.state.lock().known.get(&node).is_some_and(|known| known.record.removed)
    }

    pub(crate) fn own_record(&self) -> Record {
        self.state.lock().known[&self.own].record.clone()
    }

    /// This node's first.
    pub(crate) fn records(&self) -> Vec<Record> {
        let state = self.state.lock();
        let own = &state.known[&self.own].record;
        let others = state.known.iter().filter(|(node, _)| **node != self.own);
        std::iter::once(own).chain(others.map(|(_, known)| &known.record)).cloned().collect()
    }

    /// The others that can be reached.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let state = self.state.lock();
        let others = state.known.iter().filter(|(node, known)| **node != self.own && !known.record.removed);
        others.map(|(node, _)| *node).collect()
    }

    /// When any other node was last heard of.
    pub(crate) fn last_heard(&self) -> Option<Duration> {
        self.state.lock().known.values().filter_map(|known| known.heard).max()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Whether there is news that should not wait; asks once.
    pub(crate) fn take_news(&self) -> bool {
        std::mem::take(&mut self.state.lock().news)
    }

    /// Whether somebody else seems to write this node's record; asks once.
    pub(crate) fn take_outbid(&self) -> bool {
        std::mem::take(&mut self.state.lock().outbid)
    }

    /// Whether any other node was ever heard of.
    pub(crate) fn has_peers(&self) -> bool {
        self.has_peers.load(Ordering::SeqCst)
    }

    pub(crate) fn infos(&self) -> Vec<NodeInfo> {
        let state = self.state.lock();
        let there = state.known.values().map(|known| &known.record).filter(|record| !record.removed);
        there
            .map(|record| NodeInfo {
                node_id: NodeId(record.node_id),
                locality: locality(record),
                draining: record.draining,
                capacity: capacity(record),
            })
            .collect()
    }

    pub(crate) fn statuses(&self, now: Duration) -> Vec<NodeStatus> {
        let state = self.state.lock();
        let status = |(node, known): (&NodeId, &Known)| {
            let record = &known.record;
            NodeStatus {
                node_id: *node,
                node: LocalNode {
                    rpc_address: record.rpc_address.clone(),
                    sql_address: record.sql_address.clone(),
                    http_address: record.http_address.clone(),
                    locality: locality(record),
                    build: record.build.clone(),
                },
                capacity: capacity(record),
                draining: record.draining,
                removed: record.removed,
                silent_for: if *node == self.own {
                    Some(Duration::ZERO)
                } else {
                    known.heard.map(|heard| now.saturating_sub(heard))
                },
                problem: None,
                round_trip: None,
            }
        };
        state.known.iter().map(status).collect()
    }
}

fn locality(record: &Record) -> Vec<(String, String)> {
    record.locality.iter().map(|tier| (tier.key.clone(), tier.value.clone())).collect()
}

fn capacity(record: &Record) -> Option<Capacity> {
    (record.capacity_bytes > 0).then_some(Capacity {
        size_bytes: record.capacity_bytes,
        available_bytes: record.available_bytes,
        used_bytes: record.used_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(node_id: u64, incarnation: u64, version: u64, address: &str) -> Record {
        Record { node_id, incarnation, version, rpc_address: address.into(), ..Record::default() }
    }

    fn nodes() -> Nodes {
        Nodes::new(NodeId(1), LocalNode { rpc_address: "one".into(), ..LocalNode::default() }, 10)
    }

    #[test]
    fn the_newest_wins_in_any_order() {
        let versions =
            [record(2, 5, 1, "a"), record(2, 5, 2, "b"), record(2, 6, 1, "c"), record(2, 4, 9, "d")];
        for turn in 0..versions.len() {
            let nodes = nodes();
            for at in 0..versions.len() {
                nodes.merge(versions[(turn + at) % versions.len()].clone(), None);
            }
            assert_eq!(nodes.address(NodeId(2)).as_deref(), Some("c"));
        }
    }

    #[test]
    fn a_removed_node_stays_removed() {
        let nodes = nodes();
        nodes.merge(record(2, 5, 1, "a"), None);
        nodes.remove(NodeId(2));
        nodes.merge(record(2, 9, 9, "a"), None);
        assert!(nodes.is_removed(NodeId(2)) && nodes.address(NodeId(2)).is_none());
        assert!(nodes.take_news() && !nodes.take_news());
        assert_eq!(nodes.infos().len(), 1);
    }

    #[test]
    fn a_node_outbids_newer_versions_of_its_own_record() {
        let nodes = nodes();
        nodes.merge(record(1, 99, 5, "old"), None);
        let own = nodes.own_record();
        assert_eq!((own.incarnation, own.rpc_address.as_str()), (100, "one"));
        assert!(nodes.take_outbid() && !nodes.take_outbid());
    }

    #[test]
    fn excess_is_ignored() {
        let nodes = nodes();
        nodes.merge(record(0, 1, 1, "a"), None);
        nodes.merge(record(2, 1, 1, &"a".repeat(1000)), None);
        assert_eq!(nodes.records().len(), 1);
        for node in 2..2000 {
            nodes.merge(record(node, 1, 1, "a"), None);
        }
        assert_eq!(nodes.records().len(), NODES_MAX);
    }
}
