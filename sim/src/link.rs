//! The simulated network as the key-value layer sees it.

use std::sync::Arc;

use basalt_base::NodeId;
use basalt_env::sim::SimNetwork;
use basalt_kv_api::{Class, Link, Receiver};
use bytes::Bytes;

/// One node's end.
pub(crate) struct SimLink {
    pub network: SimNetwork,
    pub node: u64,
}

impl Link for SimLink {
    fn send(&self, to: NodeId, class: Class, message: Bytes) -> bool {
        self.network.send(self.node, to.0, number(class), message)
    }

    fn deliver_to(&self, receiver: Arc<dyn Receiver>) {
        let receive = move |from, class: u8, message| {
            if let Some(class) = Class::ALL.into_iter().find(|known| number(*known) == class) {
                receiver.receive(NodeId(from), class, message);
            }
        };
        self.network.connect(self.node, Arc::new(receive));
    }
}

fn number(class: Class) -> u8 {
    match class {
        Class::Raft => 0,
        Class::Batch => 1,
        Class::Snapshot => 2,
    }
}
