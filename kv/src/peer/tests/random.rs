//! Random calls under random faults: each is executed at most once, ends, and its result is true.

use std::collections::BTreeMap;

use basalt_base::NodeId;
use basalt_env::sim::SimRng;

use super::{
    cluster::{Cluster, Options, Slot, reply, request, with_cluster},
    network::Faults,
};
use crate::peer::CallError;

const SEEDS: u64 = 200;
const NODES: u64 = 3;
const STEPS: usize = 120;

#[derive(Default)]
struct Totals {
    answered: u64,
    lost: u64,
    not_sent: u64,
    cancelled: u64,
}

#[test]
fn random_calls_under_random_faults() {
    let mut totals = Totals::default();
    for seed in 0..SEEDS {
        run(seed, &mut totals);
    }
    // Each fate occurs, and the nodes do get work done.
    assert!(totals.answered > 5_000, "{}", totals.answered);
    assert!(totals.lost > 500 && totals.not_sent > 100 && totals.cancelled > 500);
}

fn run(seed: u64, totals: &mut Totals) {
    with_cluster(seed, NODES, async |cluster| {
        let rng = SimRng::new(seed ^ 0x5eed);
        let mut calls: BTreeMap<u64, (u64, Slot)> = BTreeMap::new();
        let mut frozen = None;
        for step in 0..STEPS {
            cluster.sleep_ms(rng.below(120) as u64).await;
            match rng.below(60) {
                0 => cluster.network.set_faults(Faults {
                    loss_percent: rng.below(30),
                    repeat_percent: rng.below(50),
                    delay_max_ms: rng.below(900),
                }),
                1 => cluster.network.cut(some_node(&rng), some_node(&rng)),
                2 => cluster.network.heal(),
                3 => restart(&cluster, &rng).await,
                4 => match frozen.take() {
                    Some(node) => cluster.network.thaw(node),
                    None => {
                        let node = some_node(&rng);
                        cluster.network.freeze(node);
                        frozen = Some(node);
                    }
                },
                5..10 => give_up(&cluster, &rng, (STEPS + step) as u64, totals),
                _ => {
                    let (from, to) = (some_node(&rng).0, some_node(&rng).0);
                    let work = request(step as u64, rng.below(1_500) as u64);
                    if from != to {
                        calls.insert(step as u64, (from, cluster.call(from, to, work)));
                    }
                }
            }
        }
        cluster.network.set_faults(Faults::default());
        cluster.network.heal();
        if let Some(node) = frozen {
            cluster.network.thaw(node);
        }
        cluster.sleep_ms(8_000).await;
        judge(&cluster, seed, &calls, totals);
    });
}

fn some_node(rng: &SimRng) -> NodeId {
    NodeId(1 + rng.below(NODES as usize) as u64)
}

async fn restart(cluster: &Cluster, rng: &SimRng) {
    let node = some_node(rng).0;
    cluster.kill(node);
    cluster.sleep_ms(rng.below(3_000) as u64).await;
    cluster.start(node, Options::default());
}

/// A call that nobody waits for to the end.
fn give_up(cluster: &Cluster, rng: &SimRng, id: u64, totals: &mut Totals) {
    let (from, to) = (some_node(rng).0, some_node(rng));
    let (peers, patience) = (cluster.peers(from), rng.below(800) as u64);
    let patience = cluster.executor.sleep(std::time::Duration::from_millis(patience));
    totals.cancelled += 1;
    cluster.executor.spawner(from).spawn(
        "impatient",
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = peers.call(to, request(id, 60_000)) => {}
                () = patience => {}
            }
        }),
    );
}

fn judge(cluster: &Cluster, seed: u64, calls: &BTreeMap<u64, (u64, Slot)>, totals: &mut Totals) {
    for (id, (from, slot)) in calls {
        let executed = (cluster.begun(*id), cluster.ended(*id));
        assert!(executed.0 <= 1, "seed {seed}: call {id} was executed {} times", executed.0);
        match slot.result() {
            Some(Ok(answer)) => {
                totals.answered += 1;
                assert_eq!((answer, executed), (reply(*id), (1, 1)), "seed {seed}: call {id}");
            }
            Some(Err(CallError::Lost)) => totals.lost += 1,
            Some(Err(CallError::NotSent | CallError::Refused(_))) => {
                totals.not_sent += 1;
                assert_eq!(executed.0, 0, "seed {seed}: call {id}");
            }
            // Only the end of the caller ends nothing.
            None => assert!(cluster.incarnation(*from) > 1, "seed {seed}: call {id} hangs"),
        }
    }
    for node in 1..=NODES {
        assert_eq!(cluster.peers(node).calls_open(), (0, 0), "seed {seed}: node {node} has left-overs");
        for other in (1..=NODES).filter(|other| *other != node) {
            assert!(cluster.peers(node).is_up(NodeId(other)), "seed {seed}: {other} is down at {node}");
        }
    }
    // What nodes were told is what is so.
    let record = cluster.record.lock();
    for (begun, count) in &record.begun {
        let over = record.ended.get(begun).unwrap_or(&0) + record.dropped.get(begun).unwrap_or(&0);
        assert_eq!(*count, over, "seed {seed}: the work of call {begun} is neither done nor dropped");
    }
}
