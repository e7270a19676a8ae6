//! Groups with several members.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use basalt_base::{RangeId, ReplicaId};
use basalt_env::sim::{SimDisk, SimExecutor, Tear};
use bytes::Bytes;

use super::{
    cluster::{Leaders, Network, eventually, open, write},
    toy::Toy,
};
use crate::{Error, GroupDescriptor, MembershipChange, RaftHandle, Role};

const RANGE: RangeId = RangeId(1);

struct Store {
    id: u64,
    disk: SimDisk,
    toy: Arc<Toy>,
    handle: RaftHandle,
}

struct Cluster<'a> {
    executor: &'a SimExecutor,
    network: Network,
    leaders: Arc<Leaders>,
    stores: Vec<Store>,
}

impl<'a> Cluster<'a> {
    /// Store 1 has the range, as its only voter; the others have blank replicas of it.
    async fn new(executor: &'a SimExecutor, size: u64) -> Self {
        let mut cluster =
            Self { executor, network: Network::default(), leaders: Arc::default(), stores: Vec::new() };
        for id in 1..=size {
            let toy = Toy::new(id, &[id], u64::from(id == 1));
            let store = cluster.start(id, SimDisk::new(), toy).await;
            if id > 1 {
                store.handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(id))).await.unwrap();
            }
            cluster.stores.push(store);
        }
        cluster
    }

    async fn start(&self, id: u64, disk: SimDisk, toy: Arc<Toy>) -> Store {
        let store = open(self.executor, id, &disk).await.unwrap();
        let handle =
            store.start(toy.clone(), Arc::new(self.network.clone()), self.leaders.clone()).await.unwrap();
        self.network.connect(id, handle.clone());
        Store { id, disk, toy, handle }
    }

    fn store(&self, id: u64) -> &Store {
        &self.stores[id as usize - 1]
    }

    fn kill(&self, id: u64) {
        self.network.cut(id);
        self.executor.kill(id);
    }

    async fn restart(&mut self, id: u64) {
        let (disk, toy) = (self.store(id).disk.crash(Tear::Lose), self.store(id).toy.after_crash());
        self.network.heal(id);
        self.stores[id as usize - 1] = self.start(id, disk, toy).await;
    }

    async fn change(&self, leader: u64, changes: &[MembershipChange]) {
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
    async fn grow(&self) {
        self.change(1, &[MembershipChange::AddLearner(ReplicaId(2))]).await;
        self.change(1, &[MembershipChange::AddLearner(ReplicaId(3))]).await;
        self.agree(&[1, 2, 3]).await;
        let promote = [MembershipChange::AddVoter(ReplicaId(2)), MembershipChange::AddVoter(ReplicaId(3))];
        self.change(1, &promote).await;
        eventually(self.executor, "all are voters and the joint configuration is left", || {
            self.stores.iter().all(|store| {
                let membership = store.toy.membership(1);
                membership.voters.len() == 3 && !membership.is_joint()
            })
        })
        .await;
    }

    async fn agree(&self, ids: &[u64]) {
        eventually(self.executor, "the replicas agree", || {
            let first = self.store(ids[0]).toy.commands(1);
            ids.iter().all(|id| self.store(*id).toy.commands(1) == first)
        })
        .await;
    }

    async fn leader_among(&self, ids: &[u64]) -> u64 {
        let leader = || {
            ids.iter().copied().find(|id| {
                self.store(*id).handle.status(RANGE).is_some_and(|status| status.role == Role::Leader)
            })
        };
        eventually(self.executor, "a leader is elected", || leader().is_some()).await;
        leader().unwrap()
    }
}

#[test]
fn a_lone_voter_gains_two_that_catch_up() {
    for seed in 0..10 {
        let executor = SimExecutor::new(seed);
        executor.run(async {
            let cluster = Cluster::new(&executor, 3).await;
            for turn in 0..20 {
                write(&cluster.store(1).handle, 1, &turn.to_string()).await.unwrap();
            }
            if seed % 2 == 0 {
                cluster.store(1).handle.truncate_log().await.unwrap();
            }
            cluster.grow().await;
            assert!(cluster.network.snapshots.load(Ordering::SeqCst) >= 2, "blank replicas need snapshots");
            write(&cluster.store(1).handle, 1, "after").await.unwrap();
            cluster.agree(&[1, 2, 3]).await;
            assert_eq!(cluster.store(3).toy.commands(1).last().unwrap(), "after");
        });
    }
}

#[test]
fn a_follower_that_was_away_catches_up_by_log_or_by_snapshot() {
    for truncate in [false, true] {
        let executor = SimExecutor::new(3);
        executor.run(async {
            let mut cluster = Cluster::new(&executor, 3).await;
            cluster.grow().await;
            cluster.kill(3);
            let snapshots = cluster.network.snapshots.load(Ordering::SeqCst);
            for turn in 0..if truncate { 200 } else { 10 } {
                let command = format!("{turn} {}", "x".repeat(3000));
                write(&cluster.store(1).handle, 1, &command).await.unwrap();
                if truncate {
                    executor.sleep(Duration::from_millis(20)).await;
                }
            }
            cluster.restart(3).await;
            cluster.agree(&[1, 2, 3]).await;
            let sent = cluster.network.snapshots.load(Ordering::SeqCst) - snapshots;
            assert_eq!(sent > 0, truncate, "{sent} snapshots, truncate {truncate}");
        });
    }
}

#[test]
fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    for seed in 0..20 {
        let executor = SimExecutor::new(seed);
        executor.run(async {
            let mut cluster = Cluster::new(&executor, 3).await;
            cluster.grow().await;
            let mut acknowledged = Vec::new();
            for turn in 0..6 {
                let leader = cluster.leader_among(&[1, 2, 3]).await;
                for _ in 0..5 {
                    let command = format!("{turn} {}", acknowledged.len());
                    if let Ok(command) = write(&cluster.store(leader).handle, 1, &command).await {
                        acknowledged.push(command);
                    }
                }
                cluster.kill(leader);
                let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
                cluster.leader_among(&others).await;
                cluster.restart(leader).await;
            }
            let leader = cluster.leader_among(&[1, 2, 3]).await;
            write(&cluster.store(leader).handle, 1, "end").await.unwrap();
            cluster.agree(&[1, 2, 3]).await;
            let commands = cluster.store(leader).toy.commands(1);
            let mut rest = commands.iter();
            assert!(acknowledged.iter().all(|wanted| rest.any(|command| command == wanted)), "seed {seed}");
        });
    }
}

#[test]
fn a_deposed_leader_tells_lost_from_refused() {
    let executor = SimExecutor::new(5);
    executor.run(async {
        let cluster = Cluster::new(&executor, 3).await;
        cluster.grow().await;
        cluster.network.cut(1);
        // Appended at the old leader only; another entry will take its index.
        let lost = cluster.store(1).handle.propose(RANGE, Bytes::from_static(b"lost"));
        let leader = cluster.leader_among(&[2, 3]).await;
        for turn in 0..3 {
            write(&cluster.store(leader).handle, 1, &format!("new {turn}")).await.unwrap();
        }
        let id = cluster.store(leader).id;
        cluster.network.heal(1);
        assert_eq!(lost.await.err(), Some(Error::Dropped));
        cluster.agree(&[1, 2, 3]).await;
        assert!(!cluster.store(1).toy.commands(1).contains(&"lost".to_owned()));
        let refused = write(&cluster.store(1).handle, 1, "refused").await;
        assert_eq!(refused, Err(Error::NotLeader { leader: Some(ReplicaId(id)) }));
    });
}

#[test]
fn a_snapshot_whose_installation_was_cut_off_is_installed_again() {
    for point in 0..8 {
        let executor = SimExecutor::new(point);
        executor.run(async {
            let mut cluster = Cluster::new(&executor, 3).await;
            write(&cluster.store(1).handle, 1, "a").await.unwrap();
            cluster.store(2).disk.stop_at_sync(point);
            let add = vec![MembershipChange::AddLearner(ReplicaId(2))];
            cluster.store(1).handle.change_membership(RANGE, add, Bytes::from_static(b"c")).await.unwrap();
            executor.sleep(Duration::from_secs(5)).await;
            cluster.kill(2);
            cluster.restart(2).await;
            cluster.agree(&[1, 2]).await;
        });
    }
}
