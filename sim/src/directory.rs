//! The directory of a simulated cluster: all nodes see the same one, and it changes at once.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::NodeId;
use basalt_kv_api::{Directory, NodeInfo};
use parking_lot::Mutex;

/// Who belongs to the cluster, and whether they drain. Clones share it.
#[derive(Clone, Default)]
pub struct Members {
    numbers: Arc<Mutex<BTreeMap<u64, bool>>>,
}

impl Members {
    pub fn add(&self, node: u64) {
        self.numbers.lock().insert(node, false);
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
        let info = |(node, draining): (&u64, &bool)| NodeInfo {
            node_id: NodeId(*node),
            locality: Vec::new(),
            draining: *draining,
        };
        self.members.numbers.lock().iter().map(info).collect()
    }

    fn set_draining(&self, is_draining: bool) {
        if let Some(draining) = self.members.numbers.lock().get_mut(&self.node) {
            *draining = is_draining;
        }
    }
}
