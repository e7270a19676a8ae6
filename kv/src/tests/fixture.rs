//! A store that can lose its power, and a small client.

use std::{future::Future, sync::Arc};

use basalt_base::{Key, Span, Timestamp, TxnId};
use basalt_env::sim::{SimDisk, SimExecutor, SimRng, Tear};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, IgnoredSeqs, LockStrength, LockWait, Observed, Request,
    Response, Result, ScanBatch, Sender, TxnMeta, TxnPriority,
};
use basalt_raft::Options;
use basalt_storage::MemoryEngine;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{LocalSender, Network, Store, StoreConfig};

/// The simulated node of the store; the clients are on another, so that they outlive it.
const NODE: u64 = 1;
pub const CLIENTS: u64 = 2;

/// One machine: what survives a crash, and the store that runs now.
#[derive(Clone)]
pub struct Machine {
    pub executor: SimExecutor,
    pub config: StoreConfig,
    state: Arc<Mutex<(SimDisk, MemoryEngine)>>,
}

pub fn machine(seed: u64) -> Machine {
    Machine {
        executor: SimExecutor::new(seed),
        config: StoreConfig::default(),
        state: Arc::new(Mutex::new((SimDisk::new(), MemoryEngine::new()))),
    }
}

/// Runs a test on a fresh store.
pub fn with_store<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Machine, Client) -> F) {
    let machine = machine(seed);
    machine.executor.clone().run(async move {
        let store = machine.start().await;
        test(machine, Client::new(store)).await;
    });
}

impl Machine {
    pub async fn start(&self) -> Arc<Store> {
        self.try_start().await.expect("the store opens")
    }

    pub async fn try_start(&self) -> Result<Arc<Store>> {
        let (disk, engine) = self.state.lock().clone();
        let env = self.executor.env(NODE, disk);
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        Store::open(env, Arc::new(engine), options, Network::none(self.config.node_id), self.config.clone())
            .await
    }

    pub fn disk(&self) -> SimDisk {
        self.state.lock().0.clone()
    }

    pub fn engine(&self) -> MemoryEngine {
        self.state.lock().1.clone()
    }

    /// Ends the process at whatever await points it is, and loses what was not synced.
    pub fn crash(&self, rng: &SimRng) {
        self.executor.kill(NODE);
        let mut state = self.state.lock();
        state.0 = state.0.crash(Tear::Random(rng));
        state.1 = state.1.crash_random(&mut |below| rng.below(below as usize) as u64);
    }

    /// Runs a task beside the test; its result arrives in the returned slot.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Arc<Mutex<Option<T>>> {
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        self.executor.spawner(CLIENTS).spawn(
            "client",
            Box::pin(async move {
                let value = task.await;
                *result.lock() = Some(value);
            }),
        );
        slot
    }

    pub async fn sleep_ms(&self, ms: u64) {
        self.executor.sleep(std::time::Duration::from_millis(ms)).await;
    }
}

pub fn key(text: &str) -> Key {
    Key::from([&[0x10][..], text.as_bytes(), &[0]].concat())
}

pub fn span(from: &str, to: &str) -> Span {
    Span::new(
        Key::from([&[0x10][..], from.as_bytes()].concat()),
        Key::from([&[0x10][..], to.as_bytes()].concat()),
    )
}

#[derive(Clone)]
pub struct Client {
    pub store: Arc<Store>,
    pub sender: LocalSender,
}

impl Client {
    pub fn new(store: Arc<Store>) -> Self {
        Self { sender: LocalSender::new(Arc::clone(&store)), store }
    }

    pub fn begin(&self, id: u128) -> TxnMeta {
        let now = self.store.now().expect("the clock runs");
        TxnMeta {
            id: TxnId(id),
            anchor: Key::new(),
            epoch: 0,
            read_ts: now,
            write_ts: now,
            min_ts: now,
            global_limit: now,
            priority: TxnPriority(1),
            read_seq: 0,
            ignored: IgnoredSeqs::default(),
            observed: Observed::default(),
        }
    }

    pub async fn send(&self, header: BatchHeader, requests: Vec<Request>) -> Result<BatchResponse> {
        self.sender.send(BatchRequest { header, requests }).await
    }

    /// Sends in a transaction and takes over what the server says of it.
    pub async fn in_txn(&self, txn: &mut TxnMeta, requests: Vec<Request>) -> Result<Vec<Response>> {
        let header = BatchHeader { txn: Some(txn.clone()), ..BatchHeader::default() };
        let response = self.send(header, requests).await?;
        *txn = response.txn.expect("a transaction's answer carries it");
        Ok(response.responses)
    }

    pub async fn put(&self, name: &str, value: &str) -> Result<()> {
        self.send(BatchHeader::default(), vec![put(name, value, 0)]).await.map(|_| ())
    }

    pub async fn get(&self, name: &str) -> Result<Option<String>> {
        let response = self.send(BatchHeader::default(), vec![get(name)]).await?;
        Ok(value_of(&response.responses[0]))
    }

    pub async fn get_in(&self, txn: &mut TxnMeta, name: &str) -> Result<Option<String>> {
        self.in_txn(txn, vec![get(name)]).await.map(|responses| value_of(&responses[0]))
    }

    pub async fn lock(&self, txn: &mut TxnMeta, name: &str, wait: LockWait) -> Result<Option<String>> {
        let header = BatchHeader { txn: Some(txn.clone()), lock_wait: wait, ..BatchHeader::default() };
        let request = Request::Get { key: key(name), lock: Some(LockStrength::Exclusive) };
        let response = self.send(header, vec![request]).await?;
        *txn = response.txn.expect("a transaction's answer carries it");
        Ok(value_of(&response.responses[0]))
    }

    /// Commits `writes` in one batch.
    pub async fn commit(&self, txn: &mut TxnMeta, writes: Vec<Request>) -> Result<Timestamp> {
        let one_phase = true;
        let lock_spans = writes.iter().filter_map(|write| match write {
            Request::Put { key, .. } | Request::Delete { key, .. } => Some(Span::prefix(key.clone())),
            _ => None,
        });
        let end =
            Request::EndTxn { commit: true, lock_spans: lock_spans.collect(), one_phase, deadline: None };
        let requests = writes.into_iter().chain([end]).collect();
        commit_ts(self.in_txn(txn, requests).await?)
    }

    /// Ends a transaction whose writes are locks already.
    pub async fn end(&self, txn: &mut TxnMeta, commit: bool, names: &[&str]) -> Result<Timestamp> {
        let lock_spans = names.iter().map(|name| Span::prefix(key(name))).collect();
        let end = Request::EndTxn { commit, lock_spans, one_phase: false, deadline: None };
        commit_ts(self.in_txn(txn, vec![end]).await?)
    }

    pub async fn rows(&self, span: Span) -> Result<Vec<(String, String)>> {
        let request = Request::Scan { span, reverse: false, lock: None, program: None };
        let response = self.send(BatchHeader::default(), vec![request]).await?;
        Ok(rows_of(&response.responses[0]))
    }

    pub async fn split(&self, name: &str) -> Result<()> {
        let request = Request::AdminSplit { key: key(name) };
        self.send(BatchHeader::default(), vec![request]).await.map(|_| ())
    }
}

fn commit_ts(responses: Vec<Response>) -> Result<Timestamp> {
    match responses.last() {
        Some(Response::EndTxn { commit_ts, .. }) => Ok(*commit_ts),
        other => panic!("a commit was answered by {other:?}"),
    }
}

pub fn get(name: &str) -> Request {
    Request::Get { key: key(name), lock: None }
}

pub fn put(name: &str, value: &str, seq: u32) -> Request {
    Request::Put { key: key(name), value: Bytes::copy_from_slice(value.as_bytes()), seq, if_absent: false }
}

pub fn value_of(response: &Response) -> Option<String> {
    match response {
        Response::Get { value } => value.as_ref().map(|value| text(value)),
        other => panic!("a get was answered by {other:?}"),
    }
}

pub fn rows_of(response: &Response) -> Vec<(String, String)> {
    match response {
        Response::Scan { batch: ScanBatch::Rows(rows), .. } => {
            rows.iter().map(|(key, value)| (text(&key[1..key.len() - 1]), text(value))).collect()
        }
        other => panic!("a scan was answered by {other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
