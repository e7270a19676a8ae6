//! The directory of a simulated cluster: all nodes see the same one, and it changes at once.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::NodeId;
use basalt_kv_api::{Directory, NodeInfo};
use parking_lot::Mutex;

/// Who belongs to the cluster, whether they drain, and where they stand. Clones share it.
#[derive(Clone, Default)]
pub struct Members {
    numbers: Arc<Mutex<BTreeMap<u64, Member>>>,
}

#[derive(Default)]
struct Member {
    draining: bool,
    zone: Option<u64>,
}

impl Members {
    pub fn add(&self, node: u64) {
        self.numbers.lock().entry(node).or_default();
    }

    /// The node stands in a zone.
    pub fn set_zone(&self, node: u64, zone: u64) {
        self.numbers.lock().entry(node).or_default().zone = Some(zone);
    }

    /// The node has left for ever.
    pub fn remove(&self, node: u64) {
        self.numbers.lock().remove(&node);
    }

    /// As one of the nodes sees it.
    pub fn seen_by(&self, node: u64) -> Seen {
        Seen { members: self.clone(), node }
    }
}

pub struct Seen {
    members: Members,
    node: u64,
}

impl Directory for Seen {
    fn nodes(&self) -> Vec<NodeInfo> {
        let info = |(node, member): (&u64, &Member)| NodeInfo {
            node_id: NodeId(*node),
            locality: member.zone.iter().map(|zone| ("zone".to_owned(), zone.to_string())).collect(),
            draining: member.draining,
            capacity: None,
        };
        self.members.numbers.lock().iter().map(info).collect()
    }

    fn set_draining(&self, is_draining: bool) {
        if let Some(member) = self.members.numbers.lock().get_mut(&self.node) {
            member.draining = is_draining;
        }
    }
}
