//! Simulated nodes that call each other, and a record of what they executed.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use basalt_base::{HlcClock, NodeId, Timestamp};
use basalt_env::{
    BoxFuture, Clock, Spawner,
    sim::{SimDisk, SimExecutor},
};
use basalt_kv_api::{Class, Directory, NodeInfo};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use super::network::Network;
use crate::peer::{CallError, Handler, PeerConfig, Peers};

pub const CLUSTER: u128 = 0xba5a17;

/// What happened, of all nodes and incarnations.
#[derive(Default)]
pub struct Record {
    pub begun: BTreeMap<u64, u32>,
    pub ended: BTreeMap<u64, u32>,
    pub dropped: BTreeMap<u64, u32>,
    pub messages: Vec<(NodeId, NodeId, Class, Bytes)>,
    /// Who was told that whom is up.
    pub liveness: Vec<(NodeId, NodeId, bool)>,
}

#[derive(Clone)]
pub struct Cluster {
    pub executor: SimExecutor,
    pub network: Network,
    pub record: Arc<Mutex<Record>>,
    nodes: Vec<NodeId>,
    running: Arc<Mutex<BTreeMap<NodeId, Arc<Peers>>>>,
    held_up: Arc<Mutex<BTreeMap<NodeId, Duration>>>,
    incarnations: Arc<Mutex<BTreeMap<NodeId, u64>>>,
}

/// What is special about a node.
#[derive(Clone)]
pub struct Options {
    pub cluster_id: u128,
    /// How far its wall clock is ahead, in milliseconds.
    pub clock_ahead_ms: i64,
    pub config: PeerConfig,
}

impl Default for Options {
    fn default() -> Self {
        Self { cluster_id: CLUSTER, clock_ahead_ms: 0, config: PeerConfig::default() }
    }
}

/// Runs a test on nodes 1 to `count`, which have found each other.
pub fn with_cluster<F: Future<Output = ()>>(seed: u64, count: u64, test: impl FnOnce(Cluster) -> F) {
    let cluster = Cluster::new(seed, count);
    let executor = cluster.executor.clone();
    executor.run(async {
        for node in 1..=count {
            cluster.start(node, Options::default());
        }
        cluster.sleep_ms(600).await;
        test(cluster.clone()).await;
    });
    executor.clear();
}

impl Cluster {
    pub fn new(seed: u64, count: u64) -> Self {
        let executor = SimExecutor::new(seed);
        Self {
            network: Network::new(&executor, seed),
            executor,
            record: Arc::default(),
            nodes: (1..=count).map(NodeId).collect(),
            running: Arc::default(),
            held_up: Arc::default(),
            incarnations: Arc::default(),
        }
    }

    pub fn start(&self, node: u64, options: Options) -> Arc<Peers> {
        let mut env = self.executor.env(node, SimDisk::new());
        env.clock = Arc::new(ShiftedClock { clock: env.clock, ahead_ms: options.clock_ahead_ms });
        let clock = HlcClock::new(env.clock.clone(), Timestamp::ZERO, options.config.clock_offset_max);
        clock.set_bound(Timestamp::MAX);
        clock.now().expect("the bound is far away");
        let node_id = NodeId(node);
        let incarnation = {
            let mut incarnations = self.incarnations.lock();
            let incarnation = incarnations.entry(node_id).or_insert(0);
            *incarnation += 1;
            *incarnation
        };
        let peers = Peers::new(
            &env,
            node_id,
            options.cluster_id,
            incarnation,
            self.network.link(node_id),
            Arc::new(Members(self.nodes.clone())),
            Arc::new(clock),
            options.config,
        );
        let handler = Worker {
            me: node_id,
            record: Arc::clone(&self.record),
            held_up: Arc::clone(&self.held_up),
            spawner: env.spawner.clone(),
        };
        peers.start(Arc::new(handler));
        self.running.lock().insert(node_id, Arc::clone(&peers));
        peers
    }

    /// Ends the process.
    pub fn kill(&self, node: u64) {
        self.running.lock().remove(&NodeId(node));
        self.network.remove(NodeId(node));
        self.executor.kill(node);
    }

    /// Lets go of a node whose tasks go on.
    pub fn forget(&self, node: u64) {
        self.running.lock().remove(&NodeId(node));
    }

    /// For how long the disk of a node has not answered.
    pub fn hold_up(&self, node: u64, time: Duration) {
        self.held_up.lock().insert(NodeId(node), time);
    }

    /// Of the process that runs, so that the next one has a later one.
    pub fn set_incarnation(&self, node: u64, incarnation: u64) {
        self.incarnations.lock().insert(NodeId(node), incarnation);
    }

    pub fn incarnation(&self, node: u64) -> u64 {
        self.incarnations.lock()[&NodeId(node)]
    }

    pub fn peers(&self, node: u64) -> Arc<Peers> {
        Arc::clone(&self.running.lock()[&NodeId(node)])
    }

    /// A call as a task of the caller. The slot holds the result and when it came.
    pub fn call(&self, from: u64, to: u64, request: Bytes) -> Slot {
        let slot = Slot::default();
        let (result, peers, executor) = (slot.clone(), self.peers(from), self.executor.clone());
        self.executor.spawner(from).spawn(
            "caller",
            Box::pin(async move {
                let answer = peers.call(NodeId(to), request).await;
                *result.0.lock() = Some((answer, executor.now()));
            }),
        );
        slot
    }

    pub async fn sleep_ms(&self, ms: u64) {
        self.executor.sleep(Duration::from_millis(ms)).await;
    }

    pub fn begun(&self, id: u64) -> u32 {
        self.record.lock().begun.get(&id).copied().unwrap_or(0)
    }

    pub fn ended(&self, id: u64) -> u32 {
        self.record.lock().ended.get(&id).copied().unwrap_or(0)
    }

    pub fn dropped(&self, id: u64) -> u32 {
        self.record.lock().dropped.get(&id).copied().unwrap_or(0)
    }
}

type Outcome = (Result<Bytes, CallError>, Duration);

#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Outcome>>>);

impl Slot {
    pub fn result(&self) -> Option<Result<Bytes, CallError>> {
        self.0.lock().as_ref().map(|(result, _)| result.clone())
    }

    pub fn ended_at(&self) -> Option<Duration> {
        self.0.lock().as_ref().map(|(_, at)| *at)
    }
}

/// Asks for work with this id that takes so long.
pub fn request(id: u64, ms: u64) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u64(id);
    out.put_u64(ms);
    out.freeze()
}

pub fn reply(id: u64) -> Bytes {
    Bytes::from(format!("done {id}"))
}

struct Worker {
    me: NodeId,
    record: Arc<Mutex<Record>>,
    held_up: Arc<Mutex<BTreeMap<NodeId, Duration>>>,
    spawner: Arc<dyn Spawner>,
}

impl Handler for Worker {
    fn call(&self, _from: NodeId, mut request: Bytes) -> BoxFuture<'static, Bytes> {
        let (id, ms) = match (request.try_get_u64(), request.try_get_u64()) {
            (Ok(id), Ok(ms)) => (id, ms),
            _ => return Box::pin(async { Bytes::new() }),
        };
        *self.record.lock().begun.entry(id).or_default() += 1;
        let mut work = Work { id, ended: false, record: Arc::clone(&self.record) };
        let sleep = self.spawner.sleep(Duration::from_millis(ms));
        Box::pin(async move {
            sleep.await;
            work.ended = true;
            *work.record.lock().ended.entry(id).or_default() += 1;
            reply(id)
        })
    }

    fn message(&self, from: NodeId, class: Class, message: Bytes) {
        self.record.lock().messages.push((from, self.me, class, message));
    }

    fn liveness(&self, node: NodeId, is_up: bool) {
        self.record.lock().liveness.push((self.me, node, is_up));
    }

    fn held_up_for(&self) -> Duration {
        self.held_up.lock().get(&self.me).copied().unwrap_or_default()
    }
}

struct Work {
    id: u64,
    ended: bool,
    record: Arc<Mutex<Record>>,
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            *self.record.lock().dropped.entry(self.id).or_default() += 1;
        }
    }
}

struct Members(Vec<NodeId>);

impl Directory for Members {
    fn nodes(&self) -> Vec<NodeInfo> {
        let info = |node_id: &NodeId| NodeInfo {
            node_id: *node_id,
            locality: Vec::new(),
            draining: false,
            capacity: None,
        };
        self.0.iter().map(info).collect()
    }
}

struct ShiftedClock {
    clock: Arc<dyn Clock>,
    ahead_ms: i64,
}

impl Clock for ShiftedClock {
    fn wall_micros(&self) -> i64 {
        self.clock.wall_micros() + self.ahead_ms * 1_000
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
