//! Groups with several members.

use std::{sync::atomic::Ordering, time::Duration};

use basalt_base::ReplicaId;
use basalt_env::sim::SimExecutor;
use bytes::Bytes;

use super::cluster::{Cluster, RANGE, write};
use crate::{Error, MembershipChange};

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
