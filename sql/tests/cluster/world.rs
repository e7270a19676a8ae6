//! One store, and nodes that share it, each behind a link that can be cut.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{Key, NodeId, Span, Timestamp, keys};
use basalt_env::{
    BoxFuture,
    sim::{SimDisk, SimExecutor},
};
use basalt_kv::{LocalSender, Network, Store, StoreConfig};
use basalt_kv_api::{BatchRequest, BatchResponse, Error, ReadConsistency, Request, Result, Sender};
use basalt_raft::Options;
use basalt_sql::{Cancel, Session, SqlOptions, SqlServices};
use basalt_storage::MemoryEngine;
use basalt_txn::{TxnClient, TxnOptions};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    harness::{Client, Node},
    neighbours::Neighbourhood,
};

pub const CLOCK_OFFSET_MAX: Duration = Duration::from_millis(250);
/// A session and the clock offset, and some time for who waits to look.
pub const FENCED_AFTER: Duration = Duration::from_secs(11);

pub struct World {
    pub executor: SimExecutor,
    disk: SimDisk,
    sender: Arc<dyn Sender>,
    nodes: Arc<Neighbourhood>,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// It is so long on its way, whether or not its sender still waits, and so is its answer.
    pub arrives: Duration,
    pub answers: Duration,
    /// Its sender is told at once that nothing is known of it, and cut off.
    pub is_lost: bool,
}

/// Which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    CommitOfSchema,
    CommitOfRows,
    ReadOfRows,
}

impl Sent {
    fn is(self, batch: &BatchRequest, is_commit: bool) -> bool {
        let of_rows = |key: &Key| key.first() != Some(&keys::SYSTEM_PREFIX);
        batch.requests.iter().any(|request| match (self, request) {
            (Self::CommitOfSchema, Request::Put { key, .. } | Request::Delete { key, .. }) => {
                is_commit && key.starts_with(&[keys::SYSTEM_PREFIX, b'D'])
            }
            (Self::CommitOfRows, Request::Put { key, .. } | Request::Delete { key, .. }) => {
                is_commit && of_rows(key)
            }
            (Self::ReadOfRows, Request::Get { key, .. }) => of_rows(key),
            (Self::ReadOfRows, Request::Scan { span, .. }) => of_rows(&span.start),
            _ => false,
        })
    }
}

/// A node's way to the store.
pub struct Link {
    inner: Arc<dyn Sender>,
    executor: SimExecutor,
    cut: AtomicBool,
    /// Commits stay on the way.
    holds_commits: AtomicBool,
    /// What becomes of the next such request.
    next: Mutex<Option<(Sent, Fate)>>,
    /// The node can't see whether anything has changed.
    blind: AtomicBool,
    sent: AtomicU64,
    /// The node dies with the request of this number, which may or may not get through.
    dies_at: AtomicU64,
    group: u64,
}

impl Link {
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub fn hold_commits(&self, hold: bool) {
        self.holds_commits.store(hold, Ordering::Relaxed);
    }

    pub fn blind(&self, blind: bool) {
        self.blind.store(blind, Ordering::Relaxed);
    }

    pub fn disturb(&self, sent: Sent, fate: Fate) {
        *self.next.lock() = Some((sent, fate));
    }

    async fn disturbed(&self, batch: BatchRequest, sent: Sent, fate: Fate) -> Result<BatchResponse> {
        let (inner, executor) = (self.inner.clone(), self.executor.clone());
        let (sender, answer) = oneshot::channel();
        let delivery = async move {
            executor.sleep(fate.arrives).await;
            let answer = inner.send(batch).await;
            if answer.is_ok() {
                executor.sleep(fate.answers).await;
            }
            // Whoever asked may have gone.
            drop(sender.send(answer));
        };
        self.executor.spawner(0).spawn("delivery", Box::pin(delivery));
        if fate.is_lost {
            self.cut(true);
            return Err(Error::Ambiguous { reason: "the answer was lost".to_owned() });
        }
        let answer = answer.await.expect("the delivery ends with an answer");
        if answer.is_err() {
            // Refused: the next attempt is the commit that was meant.
            self.disturb(sent, fate);
        }
        answer
    }

    /// The node dies with the request that is so many after this.
    pub fn die_after(&self, requests: u64) {
        self.dies_at.store(self.sent.load(Ordering::Relaxed) + requests, Ordering::Relaxed);
    }

    pub fn kill(&self) {
        self.cut(true);
        self.executor.kill(self.group);
    }
}

impl Sender for Link {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse>> {
        Box::pin(async move {
            let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
            let is_commit =
                batch.requests.iter().any(|request| matches!(request, Request::EndTxn { commit: true, .. }));
            if number == self.dies_at.load(Ordering::Relaxed) {
                if number.is_multiple_of(2) {
                    drop(self.inner.send(batch).await);
                }
                self.kill();
                return std::future::pending().await;
            }
            while is_commit && self.holds_commits.load(Ordering::Relaxed) {
                self.executor.sleep(Duration::from_millis(10)).await;
            }
            let disturbed = self.next.lock().take_if(|(sent, _)| sent.is(&batch, is_commit));
            if let Some((sent, fate)) = disturbed {
                return self.disturbed(batch, sent, fate).await;
            }
            let looks = batch.header.consistency == ReadConsistency::Inconsistent;
            if looks && self.blind.load(Ordering::Relaxed) {
                return Err(Error::Unavailable("not to be seen".into()));
            }
            if self.cut.load(Ordering::Relaxed) && !is_commit {
                self.executor.sleep(Duration::from_millis(500)).await;
                return Err(Error::Unavailable("cut off".into()));
            }
            self.inner.send(batch).await
        })
    }

    fn commits_in_one_phase(&self, hull: &Span, keys: &mut dyn Iterator<Item = &Key>) -> bool {
        self.inner.commits_in_one_phase(hull, keys)
    }

    fn releases_at_once(&self, held: &Span) -> bool {
        self.inner.releases_at_once(held)
    }

    fn uncertainty(&self) -> Duration {
        self.inner.uncertainty()
    }

    fn now(&self) -> Result<Timestamp> {
        self.inner.now()
    }
}

pub struct Member {
    pub node: Node,
    pub link: Arc<Link>,
}

impl Member {
    pub fn client(&self) -> Client {
        self.node.client()
    }

    /// A client of a database, as it is opened over the network.
    pub async fn open(
        &self,
        database: &str,
        pid: i32,
        cancel: Arc<dyn Cancel>,
    ) -> basalt_types::Result<Client> {
        let info = self.node.info(database, pid, cancel);
        Ok(Client { session: Session::open(self.node.services.clone(), info).await? })
    }
}

impl World {
    /// A node that joins; fails if it can't.
    pub async fn try_join(&self, number: u64) -> basalt_types::Result<Member> {
        let group = 100 + number;
        let env = self.executor.env(group, self.disk.clone());
        let link = Arc::new(Link {
            inner: self.sender.clone(),
            executor: self.executor.clone(),
            cut: AtomicBool::default(),
            holds_commits: AtomicBool::default(),
            next: Mutex::default(),
            blind: AtomicBool::default(),
            sent: AtomicU64::default(),
            dies_at: AtomicU64::default(),
            group,
        });
        let client = TxnClient::new(env.clone(), link.clone(), TxnOptions::default());
        let options = SqlOptions {
            node_id: NodeId(number),
            clock_offset_max: CLOCK_OFFSET_MAX,
            ..SqlOptions::default()
        };
        let services = SqlServices::open(env, client, options, None, None).await?;
        services.ask_through(self.nodes.enter(NodeId(number), &services, &link));
        let node = Node { executor: self.executor.clone(), disk: self.disk.clone(), services };
        Ok(Member { node, link })
    }

    pub async fn join(&self, number: u64) -> Member {
        self.try_join(number).await.expect("the node joins")
    }

    pub async fn sleep(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    /// What `work` gives, and how long it took.
    pub async fn timed<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let began = self.executor.now();
        let done = work.await;
        (done, self.executor.now().saturating_sub(began))
    }
}

/// Runs `body` over a fresh store.
pub fn with_world<F: Future<Output = ()>>(seed: u64, body: impl FnOnce(World) -> F) {
    let (executor, disk) = (SimExecutor::new(seed), SimDisk::new());
    let env = executor.env(1, disk.clone());
    executor.clone().run(async {
        let config = StoreConfig::default();
        let network = Network::none(config.node_id);
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::open(env, engine, Options::default(), network, config);
        let store = store.await.expect("a new store opens");
        let sender: Arc<dyn Sender> = Arc::new(LocalSender::new(store));
        let nodes = Arc::new(Neighbourhood { executor: executor.clone(), members: Mutex::default() });
        body(World { executor, disk, sender, nodes }).await;
    });
}
