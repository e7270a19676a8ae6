//! Groups that sleep because nothing happens.

use std::time::Duration;

use basalt_base::{RangeId, ReplicaId};
use basalt_env::sim::SimExecutor;

use super::{
    cluster::{Cluster, RANGE, eventually, options, write},
    toy::Toy,
};
use crate::{MessageKind, Options, Role};

const VOTERS: [u64; 3] = [1, 2, 3];

/// Three stores with ranges 1 to `count`, all voters.
async fn cluster(executor: &SimExecutor, count: u64, options: Options) -> Cluster<'_> {
    let toys = VOTERS.iter().map(|id| Toy::new(*id, &VOTERS, count)).collect();
    let cluster = Cluster::of(executor, toys, options, false).await;
    for range in 1..=count {
        cluster.store(range % 3 + 1).handle.campaign(RangeId(range)).unwrap();
    }
    cluster
}

fn sleeping(cluster: &Cluster<'_>, node: u64, range: u64) -> bool {
    cluster.store(node).handle.status(RangeId(range)).is_some_and(|status| status.is_quiescent)
}

async fn asleep(cluster: &Cluster<'_>, nodes: &[u64]) {
    eventually(cluster.executor, "the range sleeps", || nodes.iter().all(|id| sleeping(cluster, *id, 1)))
        .await;
}

fn leader(cluster: &Cluster<'_>, range: u64) -> Option<u64> {
    let leads = |id: &u64| {
        let status = cluster.store(*id).handle.status(RangeId(range));
        status.is_some_and(|status| status.role == Role::Leader)
    };
    VOTERS.into_iter().find(leads)
}

#[test]
fn a_thousand_idle_groups_do_nothing_and_wake_for_a_write() {
    let executor = SimExecutor::new(1);
    executor.run(async {
        let cluster = cluster(&executor, 1000, Options { cache_bytes_max: 8 << 20, ..options() }).await;
        eventually(&executor, "all sleep", || {
            cluster
                .stores
                .iter()
                .all(|store| store.handle.statuses().values().all(|status| status.is_quiescent))
        })
        .await;
        let before: Vec<_> = cluster.stores.iter().map(|store| store.handle.counts()).collect();
        executor.sleep(Duration::from_secs(3600)).await;
        let after: Vec<_> = cluster.stores.iter().map(|store| store.handle.counts()).collect();
        assert_eq!(before, after, "an idle store does nothing at all");
        for range in [1, 500, 1000] {
            let leader = leader(&cluster, range).unwrap();
            write(&cluster.store(leader).handle, range, "a").await.unwrap();
            eventually(&executor, "all have it", || {
                cluster.stores.iter().all(|store| store.toy.commands(range) == ["a"])
            })
            .await;
        }
        // Only three groups woke.
        let awake =
            cluster.stores[0].handle.statuses().values().filter(|status| !status.is_quiescent).count();
        assert!(awake <= 3, "{awake} awake");
        executor.sleep(Duration::from_secs(60)).await;
        let before: Vec<_> = cluster.stores.iter().map(|store| store.handle.counts().ticks).collect();
        executor.sleep(Duration::from_secs(60)).await;
        let after: Vec<_> = cluster.stores.iter().map(|store| store.handle.counts().ticks).collect();
        assert_eq!(before, after);
        // Nobody called an election while waking.
        let leaders: u64 = cluster.stores.iter().map(|store| store.handle.counts().leader_changes).sum();
        assert_eq!(leaders, 1000);
    });
    executor.clear();
}

#[test]
fn a_leader_that_died_asleep_is_replaced_when_the_others_are_woken() {
    for seed in 0..20 {
        let executor = SimExecutor::new(seed);
        executor.run(async {
            let mut cluster = cluster(&executor, 1, options()).await;
            asleep(&cluster, &VOTERS).await;
            let dead = leader(&cluster, 1).unwrap();
            cluster.kill(dead);
            executor.sleep(Duration::from_secs(3600)).await;
            let others: Vec<u64> = VOTERS.into_iter().filter(|id| *id != dead).collect();
            assert!(others.iter().all(|id| sleeping(&cluster, *id, 1)), "nobody told them");
            let started = executor.now();
            others.iter().for_each(|id| cluster.store(*id).handle.wake(RANGE));
            let term = cluster.store(others[0]).handle.status(RANGE).unwrap().term;
            let new = cluster.leader_among(&others).await;
            let took = executor.now() - started;
            // A whole election timeout at least, and few of them.
            let timeout = options().tick_interval * options().election_ticks as u32;
            assert!(took >= timeout - options().tick_interval && took < 6 * timeout, "{took:?}");
            assert!(cluster.store(new).handle.status(RANGE).unwrap().term > term);
            write(&cluster.store(new).handle, 1, "a").await.unwrap();
            // As long as the dead member is thought to live, it keeps the others awake.
            executor.sleep(Duration::from_secs(60)).await;
            assert!(!sleeping(&cluster, new, 1));
            cluster.network.dead.lock().insert(dead);
            asleep(&cluster, &others).await;
            cluster.restart(dead).await;
            cluster.network.dead.lock().clear();
            cluster.store(new).handle.wake(RANGE);
            cluster.agree(&VOTERS).await;
            asleep(&cluster, &VOTERS).await;
        });
        executor.clear();
    }
}

#[test]
fn a_request_at_a_follower_wakes_the_leader_without_an_election() {
    let executor = SimExecutor::new(4);
    executor.run(async {
        let cluster = cluster(&executor, 1, options()).await;
        asleep(&cluster, &VOTERS).await;
        let leader_id = leader(&cluster, 1).unwrap();
        let follower = VOTERS.into_iter().find(|id| *id != leader_id).unwrap();
        let term = cluster.store(leader_id).handle.status(RANGE).unwrap().term;
        cluster.store(follower).handle.wake(RANGE);
        executor.sleep(Duration::from_millis(50)).await;
        assert!(VOTERS.iter().all(|id| !sleeping(&cluster, *id, 1)), "a wake-up reaches all");
        asleep(&cluster, &VOTERS).await;
        let status = cluster.store(leader_id).handle.status(RANGE).unwrap();
        assert_eq!((status.term, status.role), (term, Role::Leader));
        assert_eq!(cluster.network.count(MessageKind::Wake), 1);
    });
    executor.clear();
}

#[test]
fn a_follower_that_missed_the_last_heartbeat_brings_the_group_back_to_agreement() {
    for seed in 0..10 {
        let executor = SimExecutor::new(seed);
        executor.run(async {
            let cluster = cluster(&executor, 1, options()).await;
            let leader_id = cluster.leader_among(&VOTERS).await;
            write(&cluster.store(leader_id).handle, 1, "a").await.unwrap();
            let follower = VOTERS.into_iter().find(|id| *id != leader_id).unwrap();
            let quiet = || cluster.network.count(MessageKind::Quiesce) > 0;
            // Cut off just before the group falls asleep, so that its own last answer was in time.
            let ticks = options().quiesce_after_ticks as u32;
            executor.sleep(options().tick_interval * (ticks - 1)).await;
            while !quiet() {
                cluster.network.cut_link(leader_id, follower);
                executor.sleep(Duration::from_millis(5)).await;
            }
            cluster.network.heal_all();
            assert!(sleeping(&cluster, leader_id, 1) && !sleeping(&cluster, follower, 1), "seed {seed}");
            asleep(&cluster, &VOTERS).await;
            let status = cluster.store(leader_id).handle.status(RANGE).unwrap();
            assert_eq!(status.role, Role::Leader, "its lease was respected");
            write(&cluster.store(leader_id).handle, 1, "b").await.unwrap();
            cluster.agree(&VOTERS).await;
        });
        executor.clear();
    }
}

#[test]
fn a_member_that_lags_keeps_its_leader_awake() {
    let executor = SimExecutor::new(6);
    executor.run(async {
        let cluster = Cluster::new(&executor, 3).await;
        cluster.grow().await;
        cluster.network.cut(3);
        write(&cluster.store(1).handle, 1, "a").await.unwrap();
        executor.sleep(Duration::from_secs(60)).await;
        assert!(!sleeping(&cluster, 1, 1));
        let active = |id: u64| {
            let progress = cluster.store(1).handle.progress(RANGE).unwrap();
            progress.iter().find(|member| member.replica_id == ReplicaId(id)).unwrap().recently_active
        };
        assert!(active(1) && active(2) && !active(3));
        cluster.network.heal(3);
        asleep(&cluster, &VOTERS).await;
        assert!(active(3));
        let matched: Vec<_> =
            cluster.store(1).handle.progress(RANGE).unwrap().iter().map(|member| member.matched).collect();
        assert!(matched.iter().all(|index| *index == matched[0]), "{matched:?}");
        assert!(cluster.store(2).handle.progress(RANGE).is_none());
    });
    executor.clear();
}

/// What kv's transport packs for each store anyway: the number of messages of one kind that leave in one call.
#[test]
fn heartbeats_of_many_active_groups_leave_together() {
    let executor = SimExecutor::new(7);
    executor.run(async {
        let awake = Options { quiesce_after_ticks: 0, ..options() };
        let cluster = cluster(&executor, 1000, awake).await;
        executor.sleep(Duration::from_secs(2)).await;
        let before = (cluster.network.count(MessageKind::Heartbeat), cluster.network.calls());
        let ticks = cluster.store(1).handle.counts().ticks;
        executor.sleep(Duration::from_secs(2)).await;
        let ticks = cluster.store(1).handle.counts().ticks - ticks;
        let heartbeats = cluster.network.count(MessageKind::Heartbeat) - before.0;
        let calls = cluster.network.calls() - before.1;
        // Two members for each group, every second tick.
        assert!(
            heartbeats.abs_diff(1000 * 2 * ticks / 2) <= 4000,
            "{heartbeats} heartbeats in {ticks} ticks"
        );
        assert!(calls <= 20 * ticks, "{calls} calls in {ticks} ticks");
    });
    executor.clear();
}
