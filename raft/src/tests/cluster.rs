//! Starting stores and connecting them.

use std::{sync::Arc, time::Duration};

use basalt_base::{NodeId, RangeId, ReplicaId, StoreId};
use basalt_env::sim::{SimDisk, SimExecutor, Tear};
use bytes::Bytes;

use super::{
    network::{Leaders, Network, Owner},
    toy::Toy,
};
use crate::{
    Error, GroupDescriptor, MembershipChange, Options, RaftHandle, RaftStore, Result, Role, StoreIdent,
};

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
    open_with(executor, node, disk, options()).await
}

pub async fn open_with(
    executor: &SimExecutor,
    node: u64,
    disk: &SimDisk,
    options: Options,
) -> Result<RaftStore> {
    let mut store = RaftStore::open(executor.env(node, disk.clone()), options).await?;
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

pub struct Store {
    pub id: u64,
    pub disk: SimDisk,
    pub toy: Arc<Toy>,
    pub handle: RaftHandle,
    pub owner: Arc<Owner>,
}

pub const RANGE: RangeId = RangeId(1);

/// Stores that reach each other. They have replicas whose ids are their own, or their own plus hundreds.
pub struct Cluster<'a> {
    pub executor: &'a SimExecutor,
    pub network: Network,
    leaders: Arc<Leaders>,
    pub stores: Vec<Store>,
    pub options: Options,
    /// The stores make blank replicas when messages ask for them.
    pub adopts: bool,
}

impl<'a> Cluster<'a> {
    /// Store 1 has the range, as its only voter; the others have blank replicas of it.
    pub async fn new(executor: &'a SimExecutor, size: u64) -> Self {
        let cluster = Self::with(executor, size, options(), false).await;
        for store in &cluster.stores[1..] {
            store.handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(store.id))).await.unwrap();
        }
        cluster
    }

    /// Store 1 has the range, as its only voter; the others have nothing.
    pub async fn with(executor: &'a SimExecutor, size: u64, options: Options, adopts: bool) -> Self {
        let toys = (1..=size).map(|id| Toy::new(id, &[id], u64::from(id == 1))).collect();
        Self::of(executor, toys, options, adopts).await
    }

    /// One store for each state machine.
    pub async fn of(executor: &'a SimExecutor, toys: Vec<Arc<Toy>>, options: Options, adopts: bool) -> Self {
        let (network, leaders) = (Network::default(), Arc::default());
        let mut cluster = Self { executor, network, leaders, stores: Vec::new(), options, adopts };
        for (id, toy) in (1..).zip(toys) {
            let store = cluster.start(id, SimDisk::new(), toy).await.unwrap();
            cluster.stores.push(store);
        }
        cluster
    }

    async fn start(&self, id: u64, disk: SimDisk, toy: Arc<Toy>) -> Result<Store> {
        let store = open_with(self.executor, id, &disk, self.options.clone()).await?;
        let owner = Owner::new(self.executor, id, self.leaders.clone(), self.adopts);
        let handle = store.start(toy.clone(), Arc::new(self.network.clone()), owner.clone()).await?;
        owner.set_handle(handle.clone());
        self.network.connect(id, handle.clone());
        Ok(Store { id, disk, toy, handle, owner })
    }

    pub fn store(&self, id: u64) -> &Store {
        &self.stores[id as usize - 1]
    }

    pub fn kill(&self, id: u64) {
        self.network.cut(id);
        self.executor.kill(id);
    }

    /// After [`Cluster::kill`]: with what was durable.
    pub async fn restart(&mut self, id: u64) {
        self.restart_torn(id, Tear::Lose).await.unwrap();
    }

    pub async fn restart_torn(&mut self, id: u64, tear: Tear<'_>) -> Result<()> {
        let (disk, toy) = (self.store(id).disk.crash(tear), self.store(id).toy.after_crash());
        let started = self.start(id, disk.clone(), toy.clone()).await;
        let store = &mut self.stores[id as usize - 1];
        (store.disk, store.toy) = (disk, toy);
        *store = started?;
        self.network.heal(id);
        Ok(())
    }

    pub async fn change(&self, leader: u64, changes: &[MembershipChange]) {
        let handle = &self.store(leader).handle;
        for _ in 0..500 {
            match handle.change_membership(RANGE, changes.to_vec(), Bytes::from_static(b"change")).await {
                Ok(_) => return,
                Err(Error::Unavailable(_)) => self.executor.sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the membership never changed");
    }

    /// Store 1 leads, 2 and 3 become voters.
    pub async fn grow(&self) {
        self.change(1, &[MembershipChange::AddLearner(ReplicaId(2))]).await;
        self.change(1, &[MembershipChange::AddLearner(ReplicaId(3))]).await;
        self.agree(&[1, 2, 3]).await;
        let promote = [MembershipChange::AddVoter(ReplicaId(2)), MembershipChange::AddVoter(ReplicaId(3))];
        self.change(1, &promote).await;
        eventually(self.executor, "all are voters and the joint configuration is left", || {
            self.stores[..3].iter().all(|store| {
                let membership = store.toy.membership(1);
                membership.voters.len() == 3 && !membership.is_joint()
            })
        })
        .await;
    }

    pub async fn agree(&self, ids: &[u64]) {
        eventually(self.executor, "the replicas agree", || {
            let first = self.store(ids[0]).toy.commands(1);
            ids.iter().all(|id| self.store(*id).toy.commands(1) == first)
        })
        .await;
    }

    pub async fn leader_among(&self, ids: &[u64]) -> u64 {
        let leader = || {
            ids.iter().copied().find(|id| {
                self.store(*id).handle.status(RANGE).is_some_and(|status| status.role == Role::Leader)
            })
        };
        eventually(self.executor, "a leader is elected", || leader().is_some()).await;
        leader().unwrap()
    }
}
