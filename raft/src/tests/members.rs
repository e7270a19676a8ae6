//! Groups with several members.

use std::{sync::atomic::Ordering, time::Duration};

use basalt_base::ReplicaId;
use basalt_env::sim::{SimExecutor, SimRng, Tear};
use bytes::Bytes;

use super::{
    cluster::{Cluster, RANGE, eventually, options, write},
    network::Faults,
};
use crate::{Error, Membership, MembershipChange, Role};

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
fn a_change_of_other_members_than_were_meant_is_refused() {
    let executor = SimExecutor::new(5);
    executor.run(async {
        let cluster = Cluster::new(&executor, 3).await;
        cluster.grow().await;
        let handle = &cluster.store(1).handle;
        let members = Membership::voters([1, 2, 3].map(ReplicaId));
        let remove = |from: &Membership, gone: u64| {
            let changes = vec![MembershipChange::Remove(ReplicaId(gone))];
            handle.change_membership_from(RANGE, from.clone(), changes, Bytes::new())
        };
        // Both were decided when there were three. One of them would leave one member without the other knowing.
        let (first, second) = (remove(&members, 3), remove(&members, 2));
        assert!(first.await.is_ok());
        assert!(matches!(second.await, Err(Error::Unavailable(_))));
        assert!(matches!(remove(&members, 2).await, Err(Error::Unavailable(_))));
        assert!(remove(&Membership::voters([1, 2].map(ReplicaId)), 2).await.is_ok());
    });
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

#[test]
fn a_transfer_refuses_proposals_and_one_that_fails_is_given_up() {
    let executor = SimExecutor::new(6);
    executor.run(async {
        let cluster = Cluster::new(&executor, 3).await;
        cluster.grow().await;
        cluster.agree(&[1, 2, 3]).await;
        let handle = &cluster.store(1).handle;
        // To a member that does not answer.
        cluster.network.cut(3);
        handle.transfer_leader(RANGE, ReplicaId(3)).unwrap();
        let started = executor.now();
        assert!(matches!(write(handle, 1, "refused").await, Err(Error::Unavailable(_))));
        assert_eq!(executor.now(), started, "at once");
        assert!(handle.status(RANGE).unwrap().is_transferring);
        let timeout = options().tick_interval * (options().election_ticks as u32 + 1);
        executor.sleep(timeout).await;
        write(handle, 1, "a").await.unwrap();
        // To a member that takes over, faster than by an election.
        let started = executor.now();
        handle.transfer_leader(RANGE, ReplicaId(2)).unwrap();
        assert_eq!(cluster.leader_among(&[2]).await, 2);
        assert!(executor.now() - started < options().tick_interval);
        write(&cluster.store(2).handle, 1, "b").await.unwrap();
        cluster.network.heal(3);
        cluster.agree(&[1, 2, 3]).await;
        assert!(!cluster.store(1).toy.commands(1).contains(&"refused".to_owned()));
    });
    executor.clear();
}

#[test]
fn a_learner_neither_leads_nor_counts() {
    let executor = SimExecutor::new(7);
    executor.run(async {
        let cluster = Cluster::new(&executor, 4).await;
        cluster.grow().await;
        cluster.change(1, &[MembershipChange::AddLearner(ReplicaId(4))]).await;
        cluster.agree(&[1, 2, 3, 4]).await;
        let term = cluster.store(1).handle.status(RANGE).unwrap().term;
        cluster.store(4).handle.campaign(RANGE).unwrap();
        executor.sleep(10 * options().tick_interval).await;
        let status = cluster.store(4).handle.status(RANGE).unwrap();
        assert_eq!((status.role, status.term), (Role::Follower, term));
        let progress = cluster.store(1).handle.progress(RANGE).unwrap();
        let learners: Vec<_> =
            progress.iter().filter(|member| member.is_learner).map(|member| member.replica_id).collect();
        assert_eq!((progress.len(), learners), (4, vec![ReplicaId(4)]));
        // The leader and the learner have it: that is one vote.
        cluster.network.cut(2);
        cluster.network.cut(3);
        let alone = cluster.store(1).handle.propose(RANGE, Bytes::from_static(b"alone"));
        executor.sleep(5 * options().tick_interval).await;
        let (leader, learner) =
            (cluster.store(1).handle.status(RANGE), cluster.store(4).handle.status(RANGE));
        let (leader, learner) = (leader.unwrap(), learner.unwrap());
        assert_eq!(learner.last_index, leader.last_index);
        assert!(leader.committed < leader.last_index);
        cluster.network.heal(2);
        alone.await.unwrap();
        cluster.network.heal(3);
        cluster.agree(&[1, 2, 3, 4]).await;
        // A candidate with the learner on its side has one vote too.
        cluster.network.cut(1);
        cluster.network.cut(3);
        executor.sleep(Duration::from_secs(10)).await;
        assert_ne!(cluster.store(2).handle.status(RANGE).unwrap().role, Role::Leader);
        cluster.network.heal(3);
        cluster.leader_among(&[2, 3]).await;
    });
    executor.clear();
}

#[test]
fn a_leader_that_removes_itself_hands_over() {
    for seed in 0..10 {
        let executor = SimExecutor::new(seed);
        executor.run(async {
            let cluster = Cluster::new(&executor, 3).await;
            cluster.grow().await;
            cluster.agree(&[1, 2, 3]).await;
            let started = executor.now();
            cluster.change(1, &[MembershipChange::Remove(ReplicaId(1))]).await;
            let leader = cluster.leader_among(&[2, 3]).await;
            assert!(executor.now() - started < 5 * options().tick_interval, "no election timeout passed");
            write(&cluster.store(leader).handle, 1, "a").await.unwrap();
            cluster.agree(&[2, 3]).await;
            executor.sleep(Duration::from_secs(60)).await;
            let out = cluster.store(1).handle.status(RANGE).unwrap();
            assert_eq!((out.role, out.leader), (Role::Follower, None));
            assert!(cluster.store(leader).handle.status(RANGE).unwrap().is_quiescent);
            let ticks = cluster.store(1).handle.counts().ticks;
            executor.sleep(Duration::from_secs(60)).await;
            assert_eq!(cluster.store(1).handle.counts().ticks, ticks, "time means nothing to who is out");
        });
        executor.clear();
    }
}

#[test]
fn an_impossible_change_carries_nothing() {
    let executor = SimExecutor::new(8);
    executor.run(async {
        let cluster = Cluster::with(&executor, 1, options(), false).await;
        let handle = &cluster.store(1).handle;
        // The last voter.
        let change = vec![MembershipChange::Remove(ReplicaId(1))];
        let outcome = handle.change_membership(RANGE, change, Bytes::from_static(b"carried")).await;
        assert_eq!(outcome.err(), Some(Error::Dropped));
        write(handle, 1, "a").await.unwrap();
        assert_eq!(cluster.store(1).toy.commands(1), ["a"]);
    });
    executor.clear();
}

/// A follower truncates by itself, behind its own flushed state, whenever the power goes.
#[test]
fn a_follower_that_truncates_survives_power_cuts() {
    for eager in [false, true] {
        for point in 0.. {
            let executor = SimExecutor::new(point);
            let finished = executor.run(async {
                let mut cluster = Cluster::new(&executor, 3).await;
                cluster.grow().await;
                cluster.agree(&[1, 2, 3]).await;
                cluster.store(3).toy.eager.store(eager, Ordering::SeqCst);
                cluster.store(3).disk.stop_at_sync(point);
                for turn in 0..12 {
                    let command = format!("{turn} {}", "x".repeat(2500));
                    write(&cluster.store(1).handle, 1, &command).await.unwrap();
                    executor.sleep(Duration::from_millis(5)).await;
                    if turn % 3 == 2 {
                        let handle = cluster.store(3).handle.clone();
                        let truncate = async move { drop(handle.truncate_log().await) };
                        executor.spawner(3).spawn("truncate", Box::pin(truncate));
                    }
                }
                let finished = !cluster.store(3).disk.is_stopped();
                let durable = cluster.store(3).toy.durable_index(1);
                cluster.kill(3);
                let rng = SimRng::new(point);
                cluster.restart_torn(3, Tear::Random(&rng)).await.unwrap();
                let status = cluster.store(3).handle.status(RANGE).unwrap();
                assert!(status.first_index - 1 <= durable, "{status:?}, flushed up to {durable}");
                assert!(status.committed >= status.applied && status.applied >= status.first_index - 1);
                cluster.agree(&[1, 2, 3]).await;
                assert!(!finished || status.first_index > 20, "nothing was truncated: {status:?}");
                finished
            });
            executor.clear();
            if finished {
                assert!(point > 15, "only {point} crash points");
                break;
            }
        }
    }
}

/// Nobody tells it that it was removed; who looks after replicas must find it.
#[test]
fn a_learner_that_was_left_behind_has_no_leader() {
    let executor = SimExecutor::new(9);
    executor.run(async {
        let cluster = Cluster::new(&executor, 4).await;
        cluster.grow().await;
        cluster.change(1, &[MembershipChange::AddLearner(ReplicaId(4))]).await;
        cluster.agree(&[1, 2, 3, 4]).await;
        let leader = |id: u64| cluster.store(id).handle.status(RANGE).unwrap().leader;
        assert_eq!(leader(4), Some(ReplicaId(1)));
        executor.sleep(Duration::from_secs(60)).await;
        assert_eq!(leader(4), Some(ReplicaId(1)), "asleep, all is well");
        cluster.network.cut(4);
        cluster.change(1, &[MembershipChange::Remove(ReplicaId(4))]).await;
        cluster.store(4).handle.wake(RANGE);
        executor.sleep(Duration::from_secs(5)).await;
        cluster.network.heal(4);
        executor.sleep(Duration::from_secs(5)).await;
        assert_eq!(leader(4), None);
        assert_eq!(leader(3), Some(ReplicaId(1)));
    });
    executor.clear();
}

#[test]
fn an_idle_group_leaves_a_joint_configuration_that_a_transfer_has_kept_it_in() {
    let executor = SimExecutor::new(5);
    executor.run(async {
        let cluster = Cluster::new(&executor, 4).await;
        cluster.grow().await;
        cluster.change(1, &[MembershipChange::AddLearner(ReplicaId(4))]).await;
        cluster.agree(&[1, 2, 3, 4]).await;
        let handle = cluster.store(1).handle.clone();
        let swap = vec![MembershipChange::Remove(ReplicaId(2)), MembershipChange::AddVoter(ReplicaId(4))];
        // Between proposal and commit the leader is asked to hand over to one that cannot be reached: as long as it tries
        // to, it proposes nothing.
        cluster.network.cut(2);
        let slow = Faults { lost: 0, repeated: 0, delay_max: Duration::from_millis(50) };
        cluster.network.set_faults(&executor, Some(slow));
        let change = handle.change_membership(RANGE, swap, Bytes::from_static(b"change"));
        executor.sleep(Duration::from_micros(10)).await;
        handle.transfer_leader(RANGE, ReplicaId(2)).unwrap();
        assert!(change.await.is_ok());
        assert!(cluster.store(1).toy.membership(1).is_joint());
        assert!(handle.status(RANGE).is_some_and(|status| status.is_transferring));
        eventually(&executor, "the joint configuration is left", || {
            [1, 3, 4].iter().all(|id| !cluster.store(*id).toy.membership(1).is_joint())
        })
        .await;
    });
}
