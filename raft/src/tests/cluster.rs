//! Starting stores and connecting them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{NodeId, RangeId, ReplicaId, StoreId};
use basalt_env::sim::{SimDisk, SimExecutor};
use bytes::Bytes;
use parking_lot::Mutex;

use super::toy::Toy;
use crate::{Envelope, Error, Observer, Options, RaftHandle, RaftStore, Result, StoreIdent, Term, Transport};

/// Small segments, so that tests see many.
pub fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        log_bytes_max: 64 << 10,
        command_bytes_max: 8 << 10,
        ..Options::default()
    }
}

pub async fn open(executor: &SimExecutor, node: u64, disk: &SimDisk) -> Result<RaftStore> {
    let mut store = RaftStore::open(executor.env(node, disk.clone()), options()).await?;
    if store.ident().is_none() {
        store.bootstrap(StoreIdent { cluster_id: 7, node_id: NodeId(node), store_id: StoreId(node) }).await?;
    }
    Ok(store)
}

/// A store without peers.
pub async fn start(executor: &SimExecutor, disk: &SimDisk, toy: &Arc<Toy>) -> Result<RaftHandle> {
    open(executor, 1, disk).await?.start(toy.clone(), Arc::new(crate::NoTransport), Arc::new(())).await
}

/// Proposes and gives the text that the state machine answered.
pub async fn write(handle: &RaftHandle, range: u64, command: &str) -> Result<String> {
    let outcome = handle.propose(RangeId(range), Bytes::copy_from_slice(command.as_bytes())).await?;
    Ok(*outcome.downcast::<String>().expect("the toy answers with text"))
}

/// Delivers at once, except between stores that are cut off.
#[derive(Clone, Default)]
pub struct Network {
    stores: Arc<Mutex<BTreeMap<u64, RaftHandle>>>,
    cut: Arc<Mutex<BTreeSet<u64>>>,
    pub snapshots: Arc<AtomicU64>,
}

impl Network {
    /// The store of replica `id` sends and receives from now on.
    pub fn connect(&self, id: u64, handle: RaftHandle) {
        self.stores.lock().insert(id, handle);
    }

    pub fn cut(&self, id: u64) {
        self.cut.lock().insert(id);
    }

    pub fn heal(&self, id: u64) {
        self.cut.lock().remove(&id);
    }
}

impl Transport for Network {
    fn send(&self, messages: Vec<Envelope>) {
        for message in messages {
            let cut = self.cut.lock();
            let lost = cut.contains(&message.from.0) || cut.contains(&message.to.0);
            drop(cut);
            let stores = self.stores.lock();
            if message.is_snapshot {
                self.snapshots.fetch_add(1, Ordering::SeqCst);
                if let Some(sender) = stores.get(&message.from.0) {
                    sender.report_snapshot(message.range_id, message.to, !lost);
                }
            }
            if let Some(receiver) = stores.get(&message.to.0).filter(|_| !lost) {
                receiver.step(vec![message]);
            }
        }
    }
}

/// Remembers who led which term, and fails when two did.
#[derive(Default)]
pub struct Leaders(Mutex<BTreeMap<(RangeId, Term), ReplicaId>>);

impl Observer for Leaders {
    fn on_leader_change(&self, range_id: RangeId, term: Term, leader: Option<ReplicaId>, is_leader: bool) {
        if let Some(leader) = leader.filter(|_| is_leader) {
            let known = *self.0.lock().entry((range_id, term)).or_insert(leader);
            assert_eq!(known, leader, "two leaders in term {term}");
        }
    }

    fn on_fatal(&self, _error: &Error) {}
}

/// Waits in virtual time until `condition` holds.
pub async fn eventually(executor: &SimExecutor, what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        executor.sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
