//! A cluster that nothing befalls, and what may be asked of it.

use std::{future::Future, sync::Arc, time::Duration};

use basalt_base::{Key, NodeId};
use basalt_env::sim::{SimExecutor, SimRng};
use basalt_kv::{LocalSender, Store};
use basalt_kv_api::{BatchHeader, BatchRequest, Request, Response, Sender};
use basalt_txn::{Txn, TxnConfig};
use bytes::Bytes;

use crate::{
    Mix, Parameters, Reached, Violations,
    cluster::Cluster,
    node::Node,
    trace::Trace,
    workload::{Context, row_key},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Fixture {
    pub cluster: Cluster,
    pub executor: SimExecutor,
    parameters: Arc<Parameters>,
    violations: Violations,
}

/// Runs a test on a fresh cluster.
pub fn with_cluster<F: Future<Output = ()>>(seed: u64, nodes: u64, test: impl FnOnce(Fixture) -> F) {
    with_parameters(calm(seed, nodes), test);
}

/// Parameters of a cluster whose network, disks and clocks do what they should.
pub fn calm(seed: u64, nodes: u64) -> Parameters {
    let mut parameters = Parameters::from_seed(seed, nodes, Some(Mix::Bank), Some(false));
    parameters.stall_one_in = u64::MAX;
    parameters.sync_delay_max = Duration::from_micros(200);
    parameters.range_bytes_max = 512 << 20;
    parameters.replicas = 3;
    parameters.split_requests = u64::MAX;
    parameters
}

pub fn with_parameters<F: Future<Output = ()>>(parameters: Parameters, test: impl FnOnce(Fixture) -> F) {
    let executor = SimExecutor::new(parameters.accounts);
    let violations = Violations::default();
    let parameters = Arc::new(parameters);
    let cluster = Cluster::new(executor.clone(), &parameters, &Trace::new(false), &violations);
    let fixture = Fixture { cluster: cluster.clone(), executor: executor.clone(), parameters, violations };
    executor.run(async {
        fixture.cluster.found().await;
        test(fixture.clone()).await;
    });
    cluster.stop();
    executor.clear();
    assert_eq!(fixture.violations.take(), Vec::<String>::new());
}

impl Fixture {
    /// For faults.
    pub fn context(&self) -> Context {
        Context {
            cluster: self.cluster.clone(),
            parameters: Arc::clone(&self.parameters),
            violations: self.violations.clone(),
            trace: Trace::new(false),
            rng: Arc::new(SimRng::new(self.parameters.accounts)),
            events: Arc::default(),
            reached: Reached::default(),
        }
    }

    pub fn node(&self, number: u64) -> Node {
        self.cluster.nodes().swap_remove(usize::try_from(number - 1).unwrap())
    }

    pub fn store(&self, number: u64) -> Arc<Store> {
        self.node(number).with_running(|running, _| Arc::clone(&running.store)).expect("the node is up")
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Duration {
        let begun = self.executor.now();
        while !done() {
            if self.executor.now() - begun >= PATIENCE {
                let nodes = 1..=self.cluster.nodes().len() as u64;
                let lines: Vec<String> = nodes
                    .flat_map(|number| {
                        let lines = self.store(number).describe_replicas();
                        lines.into_iter().map(move |line| format!("node {number}: {line}"))
                    })
                    .collect();
                panic!("{what}: not after {PATIENCE:?}\n{}", lines.join("\n"));
            }
            self.executor.sleep(Duration::from_millis(20)).await;
        }
        self.executor.now() - begun
    }

    /// Every range has so many voters, as each of its replicas knows it.
    pub async fn until_replicated(&self, voters: usize) {
        self.until("ranges are replicated", || {
            let stores = (1..=self.cluster.nodes().len() as u64).map(|number| self.store(number));
            let mut replicas = stores.flat_map(|store| store.replicas()).peekable();
            replicas.peek().is_some()
                && replicas.all(|replica| replica.voters == voters && replica.is_settled)
        })
        .await;
    }

    pub async fn send(&self, number: u64, request: Request) -> Response {
        let sender = LocalSender::new(self.store(number));
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        let response = sender.send(batch).await.expect("the request succeeds");
        response.responses.into_iter().next().expect("one answer")
    }

    pub async fn put(&self, number: u64, row: u64) {
        let request =
            Request::Put { key: key(row), value: Bytes::from_static(b"value"), seq: 0, if_absent: false };
        self.send(number, request).await;
    }

    /// Whether a write succeeds.
    pub async fn tries_to_put(&self, number: u64, row: u64) -> bool {
        let request =
            Request::Put { key: key(row), value: Bytes::from_static(b"value"), seq: 0, if_absent: false };
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        LocalSender::new(self.store(number)).send(batch).await.is_ok()
    }

    /// So many ranges of a row each, every one replicated and served.
    pub async fn spread(&self, rows: u64) {
        for row in 1..rows {
            self.split(row).await;
        }
        self.until_replicated(3).await;
        for row in 0..rows {
            self.put(1, row).await;
        }
    }

    pub fn begin(&self, number: u64) -> Txn {
        self.begin_with(number, TxnConfig::default())
    }

    pub fn begin_with(&self, number: u64, config: TxnConfig) -> Txn {
        let client = self.node(number).with_running(|running, _| running.client.clone()).expect("it is up");
        client.begin(config).expect("the clock runs")
    }

    pub async fn split(&self, row: u64) {
        self.send(1, Request::AdminSplit { key: key(row) }).await;
    }

    /// Nodes with how many leases in force each, as the leaseholders themselves see it.
    pub fn served(&self) -> Vec<usize> {
        let numbers = 1..=self.cluster.nodes().len() as u64;
        numbers.map(|number| self.store(number).drain_progress().leases_left).collect()
    }
}

pub fn key(row: u64) -> Key {
    row_key(b'a', row)
}

pub fn id(number: u64) -> NodeId {
    NodeId(number)
}
