//! The directory of a simulated cluster: all nodes see the same one, and it changes at once.

use std::{collections::BTreeSet, sync::Arc};

use basalt_base::NodeId;
use basalt_kv_api::{Directory, NodeInfo};
use parking_lot::Mutex;

/// Who belongs to the cluster. Clones share it.
#[derive(Clone, Default)]
pub struct Members {
    numbers: Arc<Mutex<BTreeSet<u64>>>,
}

impl Members {
    pub fn add(&self, node: u64) {
        self.numbers.lock().insert(node);
    }

    /// The node has left for ever.
    pub fn remove(&self, node: u64) {
        self.numbers.lock().remove(&node);
    }
}

impl Directory for Members {
    fn nodes(&self) -> Vec<NodeInfo> {
        let info = |node: &u64| NodeInfo { node_id: NodeId(*node), locality: Vec::new(), draining: false };
        self.numbers.lock().iter().map(info).collect()
    }
}
