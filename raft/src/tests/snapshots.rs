//! Snapshots that are refused, lost, many, or interrupted.

use std::{sync::atomic::Ordering, time::Duration};

use basalt_base::{RangeId, ReplicaId};
use basalt_env::sim::SimExecutor;
use bytes::Bytes;

use super::{
    cluster::{Cluster, RANGE, eventually, options, write},
    network::Faults,
    toy::Toy,
};
use crate::{GroupDescriptor, MembershipChange, Options};

/// Writes at store 1 until its log no longer reaches back to what it was.
async fn outrun(cluster: &Cluster<'_>) {
    for turn in 0..60 {
        write(&cluster.store(1).handle, 1, &format!("{turn} {}", "x".repeat(3000))).await.unwrap();
        cluster.executor.sleep(Duration::from_millis(20)).await;
    }
}

/// Three voters, of which the third is cut off and needs a snapshot.
async fn third_needs_snapshot(executor: &SimExecutor) -> Cluster<'_> {
    let mut cluster = Cluster::with(executor, 3, options(), true).await;
    // Store 3 does not flush because its log is long.
    cluster.kill(3);
    cluster.options.log_bytes_max = 16 << 20;
    cluster.restart(3).await;
    cluster.grow().await;
    write(&cluster.store(1).handle, 1, "split 19").await.unwrap();
    cluster.agree(&[1, 2, 3]).await;
    cluster.network.cut_range(Some((RANGE, 3)));
    outrun(&cluster).await;
    cluster
}

#[test]
fn a_replica_that_comes_from_a_snapshot_can_call_an_election() {
    let executor = SimExecutor::new(1);
    executor.run(async {
        let cluster = third_needs_snapshot(&executor).await;
        let installed = cluster.store(3).handle.counts().snapshots_installed;
        cluster.network.cut_range(None);
        eventually(&executor, "the snapshot is installed", || {
            cluster.store(3).handle.counts().snapshots_installed > installed
        })
        .await;
        // Nothing was applied behind the snapshot.
        let status = cluster.store(3).handle.status(RANGE).unwrap();
        assert_eq!((status.applied, status.first_index), (status.last_index, status.last_index + 1));
        cluster.kill(1);
        executor.sleep(2 * options().tick_interval * options().election_ticks as u32).await;
        cluster.store(3).handle.campaign(RANGE).unwrap();
        let leader = cluster.leader_among(&[2, 3]).await;
        assert_eq!(cluster.store(3).handle.stopped(), None);
        write(&cluster.store(leader).handle, 1, "a").await.unwrap();
        cluster.agree(&[2, 3]).await;
    });
    executor.clear();
}

/// The log that the snapshot replaces has the split that made range 19, whose state is not durable yet.
#[test]
fn a_snapshot_over_a_split_that_is_not_flushed_loses_no_right_side() {
    let executor = SimExecutor::new(1);
    executor.run(async {
        let mut cluster = third_needs_snapshot(&executor).await;
        let toy = cluster.store(3).toy.clone();
        assert_eq!(toy.durable_replica(19), None, "the test wants a split that is not flushed");
        toy.busy.store(true, Ordering::SeqCst);
        cluster.network.cut_range(None);
        eventually(&executor, "the snapshot is in the log", || {
            let status = cluster.store(3).handle.status(RANGE).unwrap();
            status.first_index > status.applied + 1
        })
        .await;
        cluster.kill(3);
        cluster.restart(3).await;
        assert!(cluster.store(3).handle.status(RangeId(19)).is_some());
        cluster.agree(&[1, 2, 3]).await;
        write(&cluster.store(1).handle, 19, "a").await.unwrap();
        eventually(&executor, "the right side lives", || cluster.store(3).toy.commands(19) == ["a"]).await;
    });
    executor.clear();
}

#[test]
fn an_installation_that_must_wait_holds_up_only_its_group() {
    let executor = SimExecutor::new(2);
    executor.run(async {
        let cluster = third_needs_snapshot(&executor).await;
        let toy = cluster.store(3).toy.clone();
        toy.busy.store(true, Ordering::SeqCst);
        cluster.network.cut_range(None);
        executor.sleep(Duration::from_secs(3)).await;
        assert_eq!(cluster.store(3).handle.stopped(), None);
        let applied = cluster.store(3).handle.status(RANGE).unwrap().applied;
        // The log goes on behind the snapshot, and so do others.
        write(&cluster.store(1).handle, 1, "behind").await.unwrap();
        write(&cluster.store(1).handle, 19, "other").await.unwrap();
        eventually(&executor, "the other range goes on", || toy.commands(19) == ["other"]).await;
        let status = cluster.store(3).handle.status(RANGE).unwrap();
        assert_eq!(status.applied, applied);
        assert!(status.committed > applied);
        toy.busy.store(false, Ordering::SeqCst);
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(toy.commands(1).last().unwrap(), "behind");
    });
    executor.clear();
}

#[test]
fn a_refused_snapshot_is_offered_again_but_not_all_the_time() {
    let executor = SimExecutor::new(3);
    executor.run(async {
        let cluster = third_needs_snapshot(&executor).await;
        let toy = cluster.store(3).toy.clone();
        toy.refuses.store(true, Ordering::SeqCst);
        let before = cluster.store(1).handle.counts().snapshots_sent;
        let installed = cluster.store(3).handle.counts().snapshots_installed;
        cluster.network.cut_range(None);
        executor.sleep(Duration::from_secs(30)).await;
        let sent = cluster.store(1).handle.counts().snapshots_sent - before;
        assert!((2..=30).contains(&sent), "{sent} snapshots in thirty seconds");
        assert_eq!(cluster.store(3).handle.counts().snapshots_installed, installed);
        toy.refuses.store(false, Ordering::SeqCst);
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(cluster.store(3).handle.counts().snapshots_installed, installed + 1);
    });
    executor.clear();
}

#[test]
fn a_snapshot_of_which_nothing_is_heard_is_sent_again() {
    let executor = SimExecutor::new(4);
    executor.run(async {
        let short = Options { snapshot_timeout: Duration::from_secs(5), ..options() };
        let cluster = Cluster::with(&executor, 2, short, true).await;
        *cluster.network.hides_snapshots.lock() = true;
        cluster.change(1, &[MembershipChange::AddLearner(ReplicaId(2))]).await;
        executor.sleep(Duration::from_secs(4)).await;
        let pending = || {
            let progress = cluster.store(1).handle.progress(RANGE).unwrap();
            progress.iter().any(|member| member.pending_snapshot.is_some())
        };
        assert!(pending());
        *cluster.network.hides_snapshots.lock() = false;
        cluster.agree(&[1, 2]).await;
        assert!(executor.now() > Duration::from_secs(5));
        eventually(&executor, "it is settled", || !pending()).await;
    });
    executor.clear();
}

#[test]
fn few_snapshots_are_on_their_way_at_a_time() {
    let executor = SimExecutor::new(5);
    executor.run(async {
        let toys = (1..=2).map(|id| Toy::new(id, &[id], if id == 1 { 9 } else { 0 })).collect();
        let cluster = Cluster::of(&executor, toys, options(), true).await;
        let slow = Faults { lost: 0, repeated: 0, delay_max: Duration::from_millis(300) };
        cluster.network.set_faults(&executor, Some(slow));
        for range in 1..=9 {
            write(&cluster.store(1).handle, range, "a").await.unwrap();
            let learner = vec![MembershipChange::AddLearner(ReplicaId(2))];
            let change =
                cluster.store(1).handle.change_membership(RangeId(range), learner, Bytes::from_static(b"c"));
            change.await.unwrap();
        }
        eventually(&executor, "all have arrived", || {
            (1..=9).all(|range| cluster.store(2).toy.commands(range) == ["a", "c"])
        })
        .await;
        assert_eq!(cluster.network.most_snapshots(), options().snapshots_in_flight_max as u64);
        // A blank replica whose snapshot has not come has said so in the meantime.
        let blank = cluster.store(2).handle.create_group(GroupDescriptor::blank(RANGE, ReplicaId(2))).await;
        assert_eq!(blank, Ok(()));
    });
    executor.clear();
}
