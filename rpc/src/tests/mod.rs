//! Wires of one process, on loopback.

mod delivery;
mod directory;
mod joining;
mod lives;
mod refusals;
mod stalls;
mod strangers;
mod tls;

use std::{collections::BTreeMap, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use basalt_base::NodeId;
use basalt_env::{Env, os::os_env};
use basalt_kv_api::{Class, Link, Receiver};
use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::{KnownNodes, Listener, LocalNode, QueueLimits, Security, Wire, WireConfig, WireOptions};

const CLUSTER: u128 = 0xC1;
const OFFSET_MAX: Duration = Duration::from_millis(500);
/// Nothing here takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what arrives.
#[derive(Default)]
pub(super) struct Inbox {
    got: Mutex<BTreeMap<(NodeId, Class), Vec<Bytes>>>,
    more: Notify,
}

impl Receiver for Inbox {
    fn receive(&self, from: NodeId, class: Class, message: Bytes) {
        self.got.lock().entry((from, class)).or_default().push(message);
        self.more.notify_waiters();
    }
}

impl Inbox {
    fn count(&self, from: NodeId, class: Class) -> usize {
        self.got.lock().get(&(from, class)).map_or(0, Vec::len)
    }

    async fn reach(&self, from: NodeId, class: Class, count: usize) {
        in_time("messages", async {
            loop {
                let more = self.more.notified();
                if self.count(from, class) >= count {
                    return;
                }
                more.await;
            }
        })
        .await
    }

    /// What one node sent in one class, once it is that many messages.
    async fn wait(&self, from: NodeId, class: Class, count: usize) -> Vec<Bytes> {
        self.reach(from, class, count).await;
        self.got.lock().get(&(from, class)).cloned().unwrap_or_default()
    }
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let env = os_env("");
    tokio::select! {
        biased;
        value = future => value,
        () = env.spawner.sleep(PATIENCE) => panic!("{what} did not come in time"),
    }
}

/// Asks again until it is so.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let env = os_env("");
    in_time(what, async {
        while !holds() {
            env.spawner.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn quick() -> WireOptions {
    WireOptions {
        alive_interval: Duration::from_millis(100),
        // On a machine that is busy with other things, unoptimised code may stand still for seconds.
        silence_max: PATIENCE,
        handshake_timeout: PATIENCE,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        gossip_interval: Duration::from_millis(50),
        ..WireOptions::default()
    }
}

fn small_queue() -> QueueLimits {
    QueueLimits { messages: 100_000, bytes: 1 << 20, message_bytes: 1 << 20 }
}

/// Where a node is to be found, before it runs.
struct Seat {
    node_id: NodeId,
    env: Env,
    folder: TempDir,
    listener: Listener,
    security: Security,
    cluster_id: u128,
    offset_max: Duration,
    replicas_wanted: usize,
    options: WireOptions,
    seeds: Vec<String>,
}

struct Node {
    node_id: NodeId,
    address: String,
    env: Env,
    wire: Wire,
    inbox: Arc<Inbox>,
    folder: TempDir,
}

impl Seat {
    fn new(node_id: u64) -> Self {
        Self::with(node_id, Security::Insecure)
    }

    fn with(node_id: u64, security: Security) -> Self {
        Self::at(node_id, security, tempfile::tempdir().unwrap())
    }

    fn at(node_id: u64, security: Security, folder: TempDir) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            node_id: NodeId(node_id),
            env: os_env(PathBuf::from(folder.path())),
            folder,
            listener: Listener::bind(loopback, &security).unwrap(),
            security,
            cluster_id: CLUSTER,
            offset_max: OFFSET_MAX,
            replicas_wanted: 3,
            options: quick(),
            seeds: Vec::new(),
        }
    }

    fn address(&self) -> String {
        self.listener.address().to_string()
    }

    fn local(&self) -> LocalNode {
        LocalNode {
            rpc_address: self.address(),
            sql_address: "sql:1".into(),
            locality: vec![("zone".into(), format!("z{}", self.node_id))],
            build: "test".into(),
            ..LocalNode::default()
        }
    }

    async fn start(self, known: &[(NodeId, String)]) -> Node {
        self.try_start(known).await.unwrap()
    }

    async fn try_start(self, known: &[(NodeId, String)]) -> Result<Node, crate::RpcError> {
        let (node_id, address) = (self.node_id, self.address());
        let local = self.local();
        let config = WireConfig {
            cluster_id: self.cluster_id,
            node_id,
            offset_max: self.offset_max,
            replicas_wanted: self.replicas_wanted,
            security: self.security,
            local,
            known: KnownNodes::new(known.iter().cloned()),
            seeds: self.seeds,
            options: self.options,
        };
        let wire = Wire::start(self.env.clone(), self.listener, config).await?;
        let inbox = Arc::new(Inbox::default());
        wire.deliver_to(inbox.clone());
        Ok(Node { node_id, address, env: self.env, wire, inbox, folder: self.folder })
    }
}

impl Node {
    fn known(&self) -> (NodeId, String) {
        (self.node_id, self.address.clone())
    }

    fn complains(&self, of: &str) -> bool {
        self.wire.complaints().iter().any(|text| text.contains(of))
    }

    /// Waits for the complaint.
    async fn must_complain(&self, of: &str) {
        let complained = async {
            while !self.complains(of) {
                self.env.spawner.sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            biased;
            () = complained => {}
            () = self.env.spawner.sleep(PATIENCE) => {
                panic!("node {} does not say \"{of}\", but {:?}", self.node_id, self.wire.complaints());
            }
        }
    }
}

/// Starts nodes that know each other.
async fn start_all(seats: Vec<Seat>) -> Vec<Node> {
    let known: Vec<_> = seats.iter().map(|seat| (seat.node_id, seat.address())).collect();
    let mut nodes = Vec::new();
    for seat in seats {
        nodes.push(seat.start(&known).await);
    }
    nodes
}
