//! The nodes of a run and the network between them.
//!
//! Clients do not choose: each session goes to a node drawn from the seed, whoever serves what it asks for. Nodes may
//! join while the run goes on; one whose disk is lost never comes back, and another joins in its place.

use std::sync::Arc;

use basalt_base::Key;
use basalt_env::{
    BoxFuture,
    sim::{SimExecutor, SimNetwork},
};
use basalt_txn::TxnClient;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Parameters, Reached, Violations, directory::Members, node::Node, trace::Trace};

/// Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    executor: SimExecutor,
    network: SimNetwork,
    members: Members,
    parameters: Arc<Parameters>,
    trace: Trace,
    violations: Violations,
    /// The place of the node that sessions of this handle go to, instead of one drawn from the seed.
    place: Option<usize>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cluster_id: Option<u128>,
    /// In order of their numbers.
    nodes: Vec<Node>,
    lost: Vec<Node>,
    last_number: u64,
}

impl Cluster {
    pub fn new(
        executor: SimExecutor,
        parameters: &Arc<Parameters>,
        trace: &Trace,
        violations: &Violations,
    ) -> Self {
        let cluster = Self {
            network: SimNetwork::new(&executor),
            executor,
            members: Members::default(),
            parameters: Arc::clone(parameters),
            trace: trace.clone(),
            violations: violations.clone(),
            place: None,
            state: Arc::default(),
        };
        for _ in 0..parameters.nodes - parameters.nodes_later() {
            cluster.add();
        }
        cluster
    }

    /// A node that has not started yet.
    fn add(&self) -> Node {
        let mut state = self.state.lock();
        state.last_number += 1;
        let number = state.last_number;
        self.members.add(number);
        let node = Node::new(
            number,
            self.executor.clone(),
            self.network.clone(),
            Arc::new(self.members.seen_by(number)),
            Arc::clone(&self.parameters),
            self.trace.clone(),
            self.violations.clone(),
        );
        state.nodes.push(node.clone());
        node
    }

    /// Those that are not lost.
    pub fn nodes(&self) -> Vec<Node> {
        self.state.lock().nodes.clone()
    }

    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Makes the cluster: the first node begins it, the others join.
    pub async fn found(&self) {
        let nodes = self.nodes();
        let Some((first, others)) = nodes.split_first() else { return };
        first.start();
        first.until_up().await;
        let Some(cluster_id) = first.with_running(|running, _| running.store.ident().cluster_id) else {
            return;
        };
        self.state.lock().cluster_id = Some(cluster_id);
        for node in others {
            node.join(cluster_id);
            node.start();
        }
        self.until_up().await;
    }

    /// Another node joins, as soon as one that is there takes it in.
    pub async fn grow(&self) -> Node {
        let admits =
            |node: &Node| node.with_running(|running, _| running.store.admit().is_ok()) == Some(true);
        while !self.nodes().iter().any(admits) {
            self.pause().await;
        }
        let node = self.add();
        let cluster_id = self.state.lock().cluster_id;
        cluster_id.into_iter().for_each(|cluster_id| node.join(cluster_id));
        self.trace.line(|| format!("node {} joins", node.number()));
        node.start();
        node
    }

    /// A node is off, and its disk with all that was on it is lost.
    pub fn lose(&self, node: &Node) {
        node.give_up();
        let mut state = self.state.lock();
        state.nodes.retain(|other| other.number() != node.number());
        state.lost.push(node.clone());
        self.trace.line(|| format!("node {} is lost", node.number()));
    }

    pub async fn until_up(&self) {
        for node in self.nodes() {
            node.until_up().await;
        }
    }

    pub async fn pause(&self) {
        self.executor.sleep(crate::node::PAUSE).await;
    }

    pub(crate) fn executor(&self) -> &SimExecutor {
        &self.executor
    }

    /// The same cluster for a client that has a connection to one node only.
    #[must_use]
    pub fn at(&self, place: usize) -> Self {
        Self { place: Some(place), ..self.clone() }
    }

    /// A node drawn from the seed, or the one of [`Cluster::at`].
    pub fn any(&self) -> Node {
        let state = self.state.lock();
        let chosen = match (state.nodes.len(), self.place) {
            (1, _) => 0,
            (count, Some(place)) => place % count,
            (count, None) => self.executor.rng().below(count),
        };
        state.nodes[chosen].clone()
    }

    /// Runs `body` as a session on some node. The receiver fails when that node crashes; `None` when it is down.
    pub fn session<T: Send + 'static>(
        &self,
        body: impl FnOnce(TxnClient) -> BoxFuture<'static, T>,
    ) -> Option<oneshot::Receiver<T>> {
        self.any().session(body)
    }

    /// The node that would answer requests for a key now.
    pub(crate) fn server_of(&self, key: &[u8]) -> Option<Node> {
        self.nodes().into_iter().find(|node| node.served_now().iter().any(|span| span.contains(key)))
    }

    /// The range of a key, by where it begins, as some node knows it.
    pub(crate) fn range_start(&self, key: &[u8]) -> Option<Key> {
        self.nodes().iter().find_map(|node| node.range_start(key))
    }

    /// Lifts all faults.
    pub fn heal(&self) {
        self.network.heal();
        self.network.set_link_faults(basalt_env::sim::LinkFaults::default());
        for node in self.nodes() {
            node.heal();
            if !self.parameters.clocks_hold() || self.parameters.network.clock_set_every.is_some() {
                node.clock().set_offset(0);
            }
        }
    }

    /// Writes what all nodes know of their ranges into the trace.
    pub fn describe(&self, trace: &Trace) {
        for node in self.nodes() {
            let lines = node.with_running(|running, _| running.store.describe_replicas()).unwrap_or_default();
            for line in lines {
                trace.line(|| format!("node {}: {line}", node.number()));
            }
        }
    }

    /// Lets go of everything, at the end of a run.
    pub fn stop(&self) {
        self.everybody().iter().for_each(Node::stop);
        self.network.clear();
    }

    /// Lost ones, too.
    fn everybody(&self) -> Vec<Node> {
        let state = self.state.lock();
        state.nodes.iter().chain(&state.lost).cloned().collect()
    }

    /// Counts what a cluster has gone through. Before [`Cluster::stop`].
    pub(crate) fn report(&self, reached: &Reached) {
        if self.parameters.nodes == 1 {
            return;
        }
        self.everybody().iter().for_each(|node| node.report(reached));
        let counts = self.network.counts();
        reached.add("message dropped", counts.dropped);
        reached.add("message duplicated", counts.duplicated);
        reached.add("message slow", counts.slow);
        reached.add("message reordered", counts.reordered);
    }

    pub fn crashes(&self) -> u64 {
        self.everybody().iter().map(Node::crashes).sum()
    }

    pub fn commits(&self) -> u64 {
        self.everybody().iter().map(Node::commits).sum()
    }

    pub fn range_count(&self) -> usize {
        self.nodes().iter().map(Node::range_count).max().unwrap_or(0)
    }
}
