//! Real threads on a link that delivers at once, in the middle of whatever the sender does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{HlcClock, NodeId, Timestamp};
use basalt_env::{BoxFuture, Env, os::os_env};
use basalt_kv_api::{Class, Directory, Link, NodeInfo, Receiver};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::peer::{Handler, PeerConfig, Peers};

const CALLERS: u64 = 16;
const CALLS: u64 = 1_000;

type Receivers = Arc<RwLock<BTreeMap<NodeId, Arc<dyn Receiver>>>>;

struct DirectLink {
    me: NodeId,
    receivers: Receivers,
}

impl Link for DirectLink {
    fn send(&self, to: NodeId, class: Class, message: Bytes) -> bool {
        let receiver = self.receivers.read().get(&to).cloned();
        receiver.map(|receiver| receiver.receive(self.me, class, message)).is_some()
    }

    fn deliver_to(&self, receiver: Arc<dyn Receiver>) {
        self.receivers.write().insert(self.me, receiver);
    }
}

struct Pair;

impl Directory for Pair {
    fn nodes(&self) -> Vec<NodeInfo> {
        let info =
            |node| NodeInfo { node_id: NodeId(node), locality: Vec::new(), draining: false, capacity: None };
        [1, 2].map(info).to_vec()
    }
}

/// Asks back in the middle of a call, and in the callback of liveness.
struct Echo {
    peers: std::sync::Weak<Peers>,
    executed: AtomicU64,
}

impl Handler for Echo {
    fn call(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        self.executed.fetch_add(1, Ordering::SeqCst);
        let peers = self.peers.upgrade();
        Box::pin(async move {
            let Some(peers) = peers.filter(|_| request.len() > 8) else { return request };
            peers.send(from, Class::Raft, request.clone());
            peers.call(from, request.slice(..8)).await.unwrap_or_default()
        })
    }

    fn message(&self, _from: NodeId, _class: Class, _message: Bytes) {}

    fn liveness(&self, node: NodeId, _is_up: bool) {
        if let Some(peers) = self.peers.upgrade() {
            peers.send(node, Class::Raft, Bytes::new());
            peers.offset_exceeds(Duration::from_millis(1));
        }
    }
}

fn node(env: &Env, me: u64, receivers: &Receivers) -> (Arc<Peers>, Arc<Echo>) {
    let config = PeerConfig {
        ping_interval: Duration::from_millis(1),
        // However busy the machine is.
        silence_max: Duration::from_secs(600),
        ..PeerConfig::default()
    };
    let clock = HlcClock::new(env.clock.clone(), Timestamp::ZERO, config.clock_offset_max);
    clock.set_bound(Timestamp::MAX);
    let link = DirectLink { me: NodeId(me), receivers: Arc::clone(receivers) };
    let peers = Peers::new(env, NodeId(me), 1, 1, Arc::new(link), Arc::new(Pair), Arc::new(clock), config);
    let echo = Arc::new(Echo { peers: Arc::downgrade(&peers), executed: AtomicU64::new(0) });
    peers.start(echo.clone());
    (peers, echo)
}

#[test]
fn threads_neither_deadlock_nor_lose_calls() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let executed = runtime.block_on(async {
        let env = os_env(std::env::temp_dir());
        let receivers = Receivers::default();
        let (one, echo_one) = node(&env, 1, &receivers);
        let (two, echo_two) = node(&env, 2, &receivers);
        while !(one.is_up(NodeId(2)) && two.is_up(NodeId(1))) {
            tokio::task::yield_now().await;
        }
        let (done, mut finished) = tokio::sync::mpsc::channel(CALLERS as usize);
        for caller in 0..CALLERS {
            let (peers, to) = if caller % 2 == 0 { (one.clone(), 2) } else { (two.clone(), 1) };
            let done = done.clone();
            env.spawner.spawn(
                "caller",
                Box::pin(async move {
                    let mut answered = 0;
                    for index in 0..CALLS {
                        let mut request = (caller << 32 | index).to_be_bytes().to_vec();
                        let expected = Bytes::from(request.clone());
                        request.push(0);
                        let call = peers.call(NodeId(to), request.into());
                        if index % 10 == 9 {
                            // Begun, and given up at once.
                            drop(futures::future::poll_immediate(call).await);
                            continue;
                        }
                        assert_eq!(call.await, Ok(expected));
                        answered += 1;
                    }
                    let _ = done.send(answered).await;
                }),
            );
        }
        drop(done);
        let mut answered = 0;
        while let Some(count) = finished.recv().await {
            answered += count;
        }
        assert_eq!(answered, CALLERS * CALLS * 9 / 10);
        while one.calls_open() != (0, 0) || two.calls_open() != (0, 0) {
            tokio::task::yield_now().await;
        }
        let losses = [one.counts().calls_lost, two.counts().calls_lost];
        assert_eq!(losses, [0, 0]);
        echo_one.executed.load(Ordering::SeqCst) + echo_two.executed.load(Ordering::SeqCst)
    });
    // The call, and the one that it makes; those that were given up may have come so far, too.
    let answered = CALLERS * CALLS * 9 / 10;
    assert!((2 * answered..=2 * CALLERS * CALLS).contains(&executed), "{executed}");
}
