//! The nodes of a run and the network between them.
//!
//! Clients do not choose: each session goes to a node drawn from the seed, whoever serves what it asks for.

use std::sync::Arc;

use basalt_base::{Key, NodeId};
use basalt_env::{
    BoxFuture,
    sim::{SimExecutor, SimNetwork},
};
use basalt_kv_api::{Directory, NodeInfo};
use basalt_txn::TxnClient;
use tokio::sync::oneshot;

use crate::{Parameters, Reached, Violations, node::Node, trace::Trace};

/// Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    executor: SimExecutor,
    network: SimNetwork,
    nodes: Arc<Vec<Node>>,
}

/// All nodes that a run has, from the beginning.
struct Everybody(u64);

impl Directory for Everybody {
    fn nodes(&self) -> Vec<NodeInfo> {
        let info = |node| NodeInfo { node_id: NodeId(node), locality: Vec::new(), draining: false };
        (1..=self.0).map(info).collect()
    }
}

impl Cluster {
    pub fn new(
        executor: SimExecutor,
        parameters: &Arc<Parameters>,
        trace: &Trace,
        violations: &Violations,
    ) -> Self {
        let network = SimNetwork::new(&executor);
        let directory: Arc<dyn Directory> = Arc::new(Everybody(parameters.nodes));
        let node = |number| {
            Node::new(
                number,
                executor.clone(),
                network.clone(),
                Arc::clone(&directory),
                Arc::clone(parameters),
                trace.clone(),
                violations.clone(),
            )
        };
        let nodes = Arc::new((1..=parameters.nodes).map(node).collect());
        Self { executor, network, nodes }
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// Makes the cluster: the first node begins it, the others join.
    pub async fn found(&self) {
        let Some((first, others)) = self.nodes.split_first() else { return };
        first.start();
        first.until_up().await;
        let Some(cluster_id) = first.with_running(|running, _| running.store.ident().cluster_id) else {
            return;
        };
        for node in others {
            node.join(cluster_id);
            node.start();
        }
        self.until_up().await;
    }

    pub async fn until_up(&self) {
        for node in self.nodes.iter() {
            node.until_up().await;
        }
    }

    pub async fn pause(&self) {
        self.executor.sleep(crate::node::PAUSE).await;
    }

    pub(crate) fn executor(&self) -> &SimExecutor {
        &self.executor
    }

    /// A node drawn from the seed.
    pub fn any(&self) -> &Node {
        if self.nodes.len() == 1 {
            return &self.nodes[0];
        }
        &self.nodes[self.executor.rng().below(self.nodes.len())]
    }

    /// Runs `body` as a session on some node. The receiver fails when that node crashes; `None` when it is down.
    pub fn session<T: Send + 'static>(
        &self,
        body: impl FnOnce(TxnClient) -> BoxFuture<'static, T>,
    ) -> Option<oneshot::Receiver<T>> {
        self.any().session(body)
    }

    /// The range of a key, by where it begins, as some node knows it.
    pub(crate) fn range_start(&self, key: &[u8]) -> Option<Key> {
        self.nodes.iter().find_map(|node| node.range_start(key))
    }

    /// Lifts all faults.
    pub fn heal(&self) {
        self.network.heal();
        self.network.set_link_faults(basalt_env::sim::LinkFaults::default());
        self.nodes.iter().for_each(Node::heal);
    }

    /// Writes what all nodes know of their ranges into the trace.
    pub fn describe(&self, trace: &Trace) {
        for node in self.nodes.iter() {
            let lines = node.with_running(|running, _| running.store.describe_replicas()).unwrap_or_default();
            for line in lines {
                trace.line(|| format!("node {}: {line}", node.number()));
            }
        }
    }

    /// Lets go of everything, at the end of a run.
    pub fn stop(&self) {
        self.nodes.iter().for_each(Node::stop);
        self.network.clear();
    }

    /// Counts what a cluster has gone through. Before [`Cluster::stop`].
    pub(crate) fn report(&self, reached: &Reached) {
        if self.nodes.len() == 1 {
            return;
        }
        self.nodes.iter().for_each(|node| node.report(reached));
        let counts = self.network.counts();
        reached.add("message dropped", counts.dropped);
        reached.add("message duplicated", counts.duplicated);
        reached.add("message slow", counts.slow);
    }

    pub fn crashes(&self) -> u64 {
        self.nodes.iter().map(Node::crashes).sum()
    }

    pub fn commits(&self) -> u64 {
        self.nodes.iter().map(Node::commits).sum()
    }

    pub fn range_count(&self) -> usize {
        self.nodes.iter().map(Node::range_count).max().unwrap_or(0)
    }
}
