//! Replicas that are removed, and those that must not come back.

use std::sync::{Arc, atomic::Ordering};

use basalt_base::{RangeId, ReplicaId};
use basalt_env::sim::{SimDisk, SimExecutor, SimRng, Tear};
use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};

use super::{
    cluster::{Cluster, RANGE, eventually, options, start, write},
    toy::Toy,
};
use crate::{
    Envelope, Error, GroupDescriptor, Membership, MembershipChange, MessageKind, RaftHandle, Result,
};

fn message(range: u64, kind: MessageType, from: u64, to: u64, term: u64) -> Envelope {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (from, to, term);
    // A candidate whose log is longer than any here.
    (message.index, message.log_term) = (1_000_000, term);
    Envelope::new(RangeId(range), &message)
}

/// What a removal and what is around it have answered before the power went.
#[derive(Default)]
struct Answered {
    split: bool,
    right: Vec<String>,
    removed: bool,
    created: bool,
    finished: bool,
}

/// Splits range 1, removes it, and makes a newer replica of it.
async fn removal(handle: &RaftHandle, answered: &mut Answered) -> Result<()> {
    write(handle, 1, "a").await?;
    write(handle, 1, "split 19").await?;
    answered.split = true;
    answered.right.push(write(handle, 19, "b").await?);
    handle.remove_group(RANGE, ReplicaId(5)).await?;
    answered.removed = true;
    answered.right.push(write(handle, 19, "c").await?);
    handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(7))).await?;
    answered.created = true;
    answered.right.push(write(handle, 19, "d").await?);
    handle.truncate_log().await?;
    answered.right.push(write(handle, 19, "e").await?);
    answered.finished = true;
    Ok(())
}

#[test]
fn a_removed_replica_is_here_whole_or_not_at_all_whenever_the_power_goes() {
    for (eager, torn) in [(false, false), (false, true), (true, false), (true, true)] {
        for point in 0.. {
            let (executor, disk, toy) = (SimExecutor::new(point), SimDisk::new(), Toy::new(1, &[1], 2));
            toy.eager.store(eager, Ordering::SeqCst);
            let context = format!("eager {eager}, torn {torn}, point {point}");
            let finished = executor.run(async {
                disk.stop_at_sync(point);
                let mut answered = Answered::default();
                if let Ok(handle) = start(&executor, &disk, &toy).await {
                    let _ = removal(&handle, &mut answered).await;
                }
                executor.kill(1);
                let rng = SimRng::new(point);
                let disk = disk.crash(if torn { Tear::Random(&rng) } else { Tear::Lose });
                let toy = toy.after_crash();
                let handle = start(&executor, &disk, &toy).await.unwrap();
                check(&handle, &toy, &answered, &context).await;
                answered.finished
            });
            executor.clear();
            if finished {
                assert!(point > 12, "only {point} crash points");
                break;
            }
        }
    }
}

async fn check(handle: &RaftHandle, toy: &Toy, answered: &Answered, context: &str) {
    let here = handle.status(RANGE).map(|status| status.replica_id.0);
    match here {
        Some(1) => {
            assert!(!answered.removed, "{context}");
            write(handle, 1, "still").await.unwrap();
            handle.remove_group(RANGE, ReplicaId(5)).await.unwrap();
        }
        Some(7) => assert_eq!(toy.replica(1), None, "{context}"),
        other => {
            assert_eq!(other, None, "{context}");
            assert!(!answered.created, "{context}");
            assert_eq!(toy.replica(1), None, "{context}: a ghost");
        }
    }
    if here.is_none() || here == Some(1) {
        for old in [1, 4] {
            let error = handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(old))).await.err();
            let expected = Error::ReplicaTooOld { range_id: RANGE, next_replica_id: ReplicaId(5) };
            assert_eq!(error, Some(expected), "{context}");
        }
        assert_eq!(toy.replica(1), None, "{context}");
    }
    if answered.split {
        write(handle, 19, "last").await.unwrap();
        let commands = toy.commands(19);
        assert!(commands.starts_with(&answered.right), "{context}: {commands:?}");
    }
    write(handle, 2, "other").await.unwrap();
}

#[test]
fn waiters_hear_that_nobody_will_know() {
    let executor = SimExecutor::new(1);
    executor.run(async {
        let cluster = Cluster::new(&executor, 3).await;
        cluster.grow().await;
        cluster.network.cut(1);
        let handle = &cluster.store(1).handle;
        let mut lost = handle.propose(RANGE, Bytes::from_static(b"lost"));
        executor.sleep(options().tick_interval).await;
        assert!(matches!(handle.remove_group(RANGE, ReplicaId(1)).await, Err(Error::Invalid(_))));
        handle.remove_group(RANGE, ReplicaId(2)).await.unwrap();
        assert!(matches!((&mut lost).await, Err(Error::Ambiguous(_))));
        assert!(lost.late().is_none());
        assert_eq!(write(handle, 1, "gone").await, Err(Error::RangeNotFound(RANGE)));
        assert!(handle.status(RANGE).is_none() && cluster.store(1).toy.ranges().is_empty());
        // Once more, without a replica: the rule is raised.
        handle.remove_group(RANGE, ReplicaId(9)).await.unwrap();
        let error = handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(8))).await.err();
        assert_eq!(error, Some(Error::ReplicaTooOld { range_id: RANGE, next_replica_id: ReplicaId(9) }));
        cluster.leader_among(&[2, 3]).await;
    });
    executor.clear();
}

#[test]
fn a_tombstone_outlives_its_segment() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 2));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        handle.remove_group(RANGE, ReplicaId(5)).await.unwrap();
        let size = options().command_bytes_max / 2;
        for turn in 0..100 {
            write(&handle, 2, &format!("{turn}{}", "x".repeat(size))).await.unwrap();
        }
        handle.truncate_log().await.unwrap();
        assert!(handle.counts().segments_removed > 5);
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        let handle = start(&executor, &disk, &toy).await.unwrap();
        let old = handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(4))).await;
        assert!(matches!(old, Err(Error::ReplicaTooOld { .. })));
        handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(5))).await.unwrap();
    });
    executor.clear();
}

#[test]
fn what_has_no_room_to_be_destroyed_is_destroyed_later() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        // Its right side must be flushed first.
        write(&handle, 1, "split 19").await.unwrap();
        for flag in [&toy.full, &toy.busy] {
            flag.store(true, Ordering::SeqCst);
        }
        let removing = handle.clone();
        let done = Arc::new(std::sync::atomic::AtomicBool::default());
        let told = done.clone();
        let removal = async move {
            removing.remove_group(RANGE, ReplicaId(2)).await.unwrap();
            told.store(true, Ordering::SeqCst);
        };
        executor.spawner(2).spawn("removal", Box::pin(removal));
        for flag in [&toy.full, &toy.busy] {
            executor.sleep(options().disk_full_retry * 5).await;
            assert!(!done.load(Ordering::SeqCst));
            let new = handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(3))).await;
            assert!(matches!(new, Err(Error::Unavailable(_))), "{new:?}");
            flag.store(false, Ordering::SeqCst);
        }
        eventually(&executor, "the replica is removed", || done.load(Ordering::SeqCst)).await;
        assert_eq!(toy.ranges(), [19]);
        handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(3))).await.unwrap();
    });
    executor.clear();
}

#[test]
fn the_owner_hears_of_unknown_ranges_and_newer_replicas_only_when_it_may_act() {
    let executor = SimExecutor::new(1);
    executor.run(async {
        let cluster = Cluster::with(&executor, 1, options(), false).await;
        let store = cluster.store(1);
        store.handle.remove_group(RangeId(7), ReplicaId(5)).await.unwrap();
        let steps = [
            // A response, and what replicas that are no more had asked.
            message(6, MessageType::MsgAppendResponse, 2, 101, 9),
            message(6, MessageType::MsgTimeoutNow, 2, 101, 9),
            message(7, MessageType::MsgHeartbeat, 2, 4, 9),
            // These may make one.
            message(6, MessageType::MsgRequestVote, 2, 101, 9),
            message(7, MessageType::MsgAppend, 2, 5, 9),
            // To an older replica of the range here, a newer one, and in answer to a newer one.
            message(1, MessageType::MsgHeartbeat, 2, 0, 9),
            message(1, MessageType::MsgHeartbeat, 2, 101, 9),
            message(1, MessageType::MsgHeartbeatResponse, 2, 101, 9),
        ];
        store.handle.step(steps.to_vec());
        executor.sleep(options().tick_interval).await;
        let unknown = [
            (RangeId(6), ReplicaId(101), MessageKind::Vote),
            (RangeId(7), ReplicaId(5), MessageKind::Append),
        ];
        assert_eq!(*store.owner.unknown.lock(), unknown);
        assert_eq!(*store.owner.newer.lock(), [(RANGE, ReplicaId(101), MessageKind::Heartbeat)]);
        let newer = store.handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(101))).await;
        assert!(matches!(newer, Err(Error::Invalid(_))));
    });
    executor.clear();
}

/// Store 3's replica is removed from the group while the store does not listen, and added again under a new id. The
/// store learns that from the messages to the new one, and the power may go at any time.
#[test]
fn a_range_that_was_removed_and_added_again_takes_the_place_of_the_old_replica() {
    for eager in [false, true] {
        for point in 0.. {
            let executor = SimExecutor::new(point);
            let finished = executor.run(async {
                let mut cluster = Cluster::with(&executor, 3, options(), true).await;
                cluster.grow().await;
                write(&cluster.store(1).handle, 1, "a").await.unwrap();
                cluster.agree(&[1, 2, 3]).await;
                let toy = cluster.store(3).toy.clone();
                toy.eager.store(eager, Ordering::SeqCst);
                cluster.network.cut(3);
                cluster.change(1, &[MembershipChange::Remove(ReplicaId(3))]).await;
                write(&cluster.store(1).handle, 1, "b").await.unwrap();
                cluster.change(1, &[MembershipChange::AddLearner(ReplicaId(103))]).await;
                cluster.store(3).disk.stop_at_sync(point);
                cluster.network.heal(3);
                for _ in 0..100 {
                    executor.sleep(options().tick_interval).await;
                    if toy.commands(1) == cluster.store(1).toy.commands(1) {
                        break;
                    }
                }
                let finished = !cluster.store(3).disk.is_stopped();
                cluster.kill(3);
                let rng = SimRng::new(point);
                cluster.restart_torn(3, Tear::Random(&rng)).await.unwrap();
                eventually(&executor, "the new replica has the state", || {
                    cluster.store(3).toy.replica(1) == Some(ReplicaId(103))
                })
                .await;
                cluster.change(1, &[MembershipChange::AddVoter(ReplicaId(103))]).await;
                write(&cluster.store(1).handle, 1, "c").await.unwrap();
                cluster.agree(&[1, 2, 3]).await;
                finished
            });
            executor.clear();
            if finished {
                assert!(point > 3, "only {point} crash points");
                break;
            }
        }
    }
}

#[test]
fn a_split_makes_nothing_that_was_removed_here_before() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        handle.remove_group(RangeId(11), ReplicaId(2)).await.unwrap();
        handle.create_group(GroupDescriptor::blank(RangeId(12), ReplicaId(101))).await.unwrap();
        for range in [11, 12, 13] {
            write(&handle, 1, &format!("split {range}")).await.unwrap();
        }
        write(&handle, 13, "a").await.unwrap();
        assert_eq!(toy.ranges(), [1, 13]);
        assert!(handle.status(RangeId(11)).is_none());
        assert_eq!(handle.status(RangeId(12)).unwrap().replica_id, ReplicaId(101));
        // The splits are durable, the destruction of their right sides is not.
        executor.kill(1);
        let eager = toy.after_crash();
        let handle = start(&executor, &disk.crash(Tear::Lose), &eager).await.unwrap();
        write(&handle, 1, "b").await.unwrap();
        write(&handle, 13, "b").await.unwrap();
        assert_eq!(eager.ranges(), [1, 13]);
        assert_eq!(handle.status(RangeId(12)).unwrap().replica_id, ReplicaId(101));
    });
    executor.clear();
}

#[test]
fn state_of_a_removed_replica_that_was_flushed_is_destroyed_at_boot() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 2));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "a").await.unwrap();
        // Flushed before the tombstone, and not after.
        handle.remove_group(RANGE, ReplicaId(2)).await.unwrap();
        assert_eq!(toy.durable_replica(1), Some(ReplicaId(1)));
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        let handle = start(&executor, &disk, &toy).await.unwrap();
        assert!(handle.status(RANGE).is_none());
        assert_eq!((toy.ranges(), toy.destroyed.load(Ordering::SeqCst)), (vec![2], 1));
    });
    executor.clear();
}

/// Membership of three, so that nobody decides alone.
fn initial(range: u64) -> GroupDescriptor {
    let voters = Membership::voters([1, 2, 3].map(ReplicaId));
    GroupDescriptor::initial(RangeId(range), ReplicaId(1), voters)
}

#[test]
fn a_blank_replica_that_gets_its_state_keeps_its_vote() {
    for restart in [false, true] {
        let executor = SimExecutor::new(1);
        executor.run(async {
            let mut cluster = Cluster::with(&executor, 1, options(), false).await;
            let range = RangeId(19);
            let handle = cluster.store(1).handle.clone();
            handle.create_group(GroupDescriptor::blank(range, ReplicaId(1))).await.unwrap();
            handle.step(vec![message(19, MessageType::MsgRequestVote, 2, 1, 9)]);
            executor.sleep(options().tick_interval).await;
            assert_eq!(handle.status(range).unwrap().term, 9);
            let granted = cluster.network.votes.lock().clone();
            assert_eq!(granted, [(9, ReplicaId(2), true)]);
            // As a split does, whose state is in the engine.
            cluster.store(1).toy.insert(initial(19));
            handle.create_group(initial(19)).await.unwrap();
            if restart {
                cluster.kill(1);
                cluster.restart(1).await;
            }
            let status = cluster.store(1).handle.status(range).unwrap();
            assert_eq!((status.term, status.committed, status.applied), (9, 10, 10));
            let handle = &cluster.store(1).handle;
            handle.step(vec![message(19, MessageType::MsgRequestVote, 3, 1, 9)]);
            executor.sleep(options().tick_interval / 2).await;
            assert_eq!(cluster.network.votes.lock().last(), Some(&(9, ReplicaId(3), false)));
        });
        executor.clear();
    }
}

/// The right side's leader reaches the third store before the split does.
#[test]
fn a_split_turns_a_blank_replica_into_one_with_state() {
    for seed in 0..10 {
        let executor = SimExecutor::new(seed);
        executor.run(async {
            let mut cluster = Cluster::with(&executor, 3, options(), true).await;
            cluster.grow().await;
            cluster.agree(&[1, 2, 3]).await;
            cluster.network.cut_range(Some((RANGE, 3)));
            write(&cluster.store(1).handle, 1, "split 19").await.unwrap();
            for turn in 0..5 {
                eventually(&executor, "the right side has a leader", || {
                    let status = cluster.store(1).handle.status(RangeId(19));
                    status.is_some_and(|status| status.role == crate::Role::Leader)
                })
                .await;
                write(&cluster.store(1).handle, 19, &turn.to_string()).await.unwrap();
                executor.sleep(options().tick_interval * 3).await;
            }
            let status = cluster.store(3).handle.status(RangeId(19)).unwrap();
            assert_eq!((status.applied, status.last_index), (0, 0), "blank");
            if seed % 2 == 1 {
                cluster.kill(3);
                cluster.restart(3).await;
            }
            // The state comes with the split, not over the wire.
            cluster.store(3).toy.refuses.store(true, Ordering::SeqCst);
            cluster.network.cut_range(None);
            eventually(&executor, "the split arrives", || {
                cluster.store(3).toy.commands(19) == ["0", "1", "2", "3", "4"]
            })
            .await;
            assert_eq!(cluster.store(3).toy.commands(1).last().unwrap(), "split 19");
        });
        executor.clear();
    }
}

/// A blank replica, then the split, and the power goes at any time.
#[test]
fn a_split_over_a_blank_replica_survives_power_cuts() {
    for eager in [false, true] {
        for point in 0.. {
            let (executor, disk, toy) = (SimExecutor::new(point), SimDisk::new(), Toy::new(1, &[1], 1));
            toy.eager.store(eager, Ordering::SeqCst);
            let finished = executor.run(async {
                disk.stop_at_sync(point);
                let mut answered = Vec::new();
                let work = async {
                    let handle = start(&executor, &disk, &toy).await?;
                    handle.create_group(GroupDescriptor::blank(RangeId(19), ReplicaId(1))).await?;
                    handle.step(vec![message(19, MessageType::MsgRequestVote, 2, 1, 9)]);
                    handle.persist_clock_bound(basalt_base::Timestamp(1)).await?;
                    let voted = handle.status(RangeId(19)).map(|status| status.term);
                    write(&handle, 1, "split 19").await?;
                    for command in ["a", "b"] {
                        answered.push(write(&handle, 19, command).await?);
                    }
                    Result::Ok(voted)
                };
                let voted: Result<_> = work.await;
                executor.kill(1);
                let rng = SimRng::new(point);
                let (disk, toy) = (disk.crash(Tear::Random(&rng)), toy.after_crash());
                let handle = start(&executor, &disk, &toy).await.unwrap();
                // Behind everything in the log.
                write(&handle, 1, "probe").await.unwrap();
                if !toy.commands(1).contains(&"split 19".to_owned()) {
                    handle.create_group(GroupDescriptor::blank(RangeId(19), ReplicaId(1))).await.unwrap();
                    write(&handle, 1, "split 19").await.unwrap();
                }
                write(&handle, 19, "last").await.unwrap();
                let commands = toy.commands(19);
                assert!(commands.starts_with(&answered), "eager {eager}, point {point}: {commands:?}");
                if let Ok(voted) = voted {
                    assert!(handle.status(RangeId(19)).map(|status| status.term) > voted);
                }
                voted.is_ok()
            });
            executor.clear();
            if finished {
                assert!(point > 8, "only {point} crash points");
                break;
            }
        }
    }
}

/// The right side's log survives, its state does not: the left side's log must make it again, with nobody to say that the
/// split was committed. Store 1 leads, and its disk is slow: it learns of the commit when its own sync is done.
#[test]
fn a_split_is_replayed_without_anybodys_help() {
    for victim in [1, 3] {
        for point in 0.. {
            let executor = SimExecutor::new(point);
            let finished = executor.run(async {
                let mut cluster = Cluster::with(&executor, 3, options(), true).await;
                cluster.grow().await;
                cluster.agree(&[1, 2, 3]).await;
                let slow = executor.clone();
                cluster.store(1).disk.delay_syncs(move || slow.sleep(options().tick_interval / 10));
                cluster.store(victim).disk.stop_at_sync(point);
                let (handle, toy) = (cluster.store(1).handle.clone(), cluster.store(1).toy.clone());
                let split = handle.propose(RANGE, Bytes::from_static(b"split 19"));
                for _ in 0..20 {
                    if toy.ranges().contains(&19) || cluster.store(victim).disk.is_stopped() {
                        break;
                    }
                    executor.sleep(options().tick_interval / 20).await;
                }
                // Only the vote of the right side, and nothing more on the left.
                executor.sleep(options().tick_interval / 4).await;
                drop(split);
                let finished = !cluster.store(victim).disk.is_stopped();
                cluster.kill(victim);
                (1..=3).filter(|id| *id != victim).for_each(|id| cluster.network.cut(id));
                cluster.restart(victim).await;
                executor.sleep(options().tick_interval).await;
                // Here already, or not at all.
                let blank = GroupDescriptor::blank(RangeId(19), ReplicaId(victim));
                let created = cluster.store(victim).handle.create_group(blank).await;
                assert_eq!(created, Ok(()), "store {victim}, point {point}");
                finished
            });
            executor.clear();
            if finished {
                assert!(point > 1, "only {point} crash points");
                break;
            }
        }
    }
}

#[test]
fn a_log_that_still_has_a_split_to_replay_does_not_go() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "split 19").await.unwrap();
        write(&handle, 19, "a").await.unwrap();
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        toy.full.store(true, Ordering::SeqCst);
        let handle = start(&executor, &disk, &toy).await.unwrap();
        let removal = handle.remove_group(RANGE, ReplicaId(2)).await;
        assert!(matches!(removal, Err(Error::Unavailable(_))), "{removal:?}");
        toy.full.store(false, Ordering::SeqCst);
        eventually(&executor, "the split is replayed", || toy.commands(19) == ["a"]).await;
        handle.remove_group(RANGE, ReplicaId(2)).await.unwrap();
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 19, "b").await.unwrap();
        assert_eq!((toy.commands(19), toy.ranges()), (vec!["a".to_owned(), "b".to_owned()], vec![19]));
    });
    executor.clear();
}
