//! How fast two wires on loopback are: `cargo run --release -p basalt-rpc --example measure`.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::{Env, os::os_env};
use basalt_kv_api::{Class, Link, Receiver};
use basalt_rpc::{KnownNodes, Listener, LocalNode, Security, Wire, WireConfig, WireOptions, certificates};
use bytes::Bytes;
use tokio::sync::Notify;

const CALLS: usize = 20_000;
const FLOOD: usize = 1_000_000;
const SNAPSHOT_BYTES: usize = 256 << 20;

/// Counts, and sends requests back.
struct Counter {
    echo: Option<Arc<Wire>>,
    count: AtomicUsize,
    more: Notify,
}

impl Counter {
    fn new(echo: Option<Arc<Wire>>) -> Arc<Self> {
        Arc::new(Self { echo, count: AtomicUsize::new(0), more: Notify::new() })
    }

    async fn reach(&self, count: usize) {
        while self.count.load(Ordering::Acquire) < count {
            self.more.notified().await;
        }
    }
}

impl Receiver for Counter {
    fn receive(&self, from: NodeId, class: Class, message: Bytes) {
        self.count.fetch_add(1, Ordering::Release);
        self.more.notify_one();
        if let (Some(wire), Class::Raft) = (&self.echo, class) {
            wire.send(from, class, message);
        }
    }
}

async fn wire(env: &Env, node: u64, listener: Listener, security: &Security, known: KnownNodes) -> Arc<Wire> {
    let local = LocalNode { rpc_address: listener.address().to_string(), ..LocalNode::default() };
    let config = WireConfig {
        cluster_id: 1,
        node_id: NodeId(node),
        offset_max: Duration::from_millis(500),
        replicas_wanted: 0,
        security: security.clone(),
        local,
        seeds: known.addresses().into_iter().map(|(_, address)| address).collect(),
        known,
        options: WireOptions { snapshot_bytes_per_second: u64::MAX, ..WireOptions::default() },
    };
    Arc::new(Wire::start(env.clone(), listener, config).await.expect("a wire starts on a fresh store"))
}

async fn send(env: &Env, wire: &Wire, class: Class, message: Bytes) {
    while !wire.send(NodeId(2), class, message.clone()) {
        env.spawner.sleep(Duration::from_micros(200)).await;
    }
}

async fn measure(name: &str, security: Security, folder: &Path) {
    let envs = [1, 2].map(|node| os_env(folder.join(format!("{name}{node}"))));
    for env in &envs {
        env.disk.create_dir_all("").expect("a temporary folder can be made");
    }
    let env = &envs[0];
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners = [1, 2].map(|_| Listener::bind(loopback, &security).expect("loopback can be listened on"));
    let [first_listener, second_listener] = listeners;
    let known = KnownNodes::new([(NodeId(2), second_listener.address().to_string())]);
    let second = wire(&envs[1], 2, second_listener, &security, KnownNodes::default()).await;
    let first = wire(env, 1, first_listener, &security, known).await;
    let (caller, callee) = (Counter::new(None), Counter::new(Some(second.clone())));
    first.deliver_to(caller.clone());
    second.deliver_to(callee.clone());

    for length in [100, 4096] {
        let message = Bytes::from(vec![7; length]);
        let before = caller.count.load(Ordering::Acquire);
        let mut trips = Vec::with_capacity(CALLS);
        for call in 1..=CALLS {
            let sent = env.clock.monotonic();
            send(env, &first, Class::Raft, message.clone()).await;
            caller.reach(before + call).await;
            trips.push(env.clock.monotonic() - sent);
        }
        trips.sort();
        let at = |share: f64| trips[(share * (CALLS - 1) as f64) as usize];
        println!(
            "{name}: round trip of {length} bytes: median {:?}, 99 % {:?}, worst {:?}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    for length in [100, 1024] {
        let message = Bytes::from(vec![7; length]);
        let before = callee.count.load(Ordering::Acquire);
        let began = env.clock.monotonic();
        for _ in 0..FLOOD {
            send(env, &first, Class::Batch, message.clone()).await;
        }
        callee.reach(before + FLOOD).await;
        let seconds = (env.clock.monotonic() - began).as_secs_f64();
        println!("{name}: {:.0} messages of {length} bytes per second, one way", FLOOD as f64 / seconds);
    }
    let before = callee.count.load(Ordering::Acquire);
    let began = env.clock.monotonic();
    send(env, &first, Class::Snapshot, vec![7; SNAPSHOT_BYTES].into()).await;
    callee.reach(before + 1).await;
    let seconds = (env.clock.monotonic() - began).as_secs_f64();
    println!(
        "{name}: {:.0} MiB per second of one message of {} MiB",
        (SNAPSHOT_BYTES >> 20) as f64 / seconds,
        SNAPSHOT_BYTES >> 20
    );
    first.close();
    second.close();
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    measure("plain", Security::Insecure, folder.path()).await;
    let clock = os_env(folder.path()).clock;
    let certs = folder.path().join("certs");
    certificates::create_authority(&certs, &*clock).expect("the folder is empty");
    certificates::create_node(&certs, &[], None, &*clock).expect("the authority is there");
    let security = Security::from_certs_dir(&certs, clock).expect("it was just made");
    measure("TLS", security, folder.path()).await;
}
