//! What ranges cost that nobody uses: messages between three nodes, and the time of a processor.

use std::time::Duration;

use basalt_env::sim::SimExecutor;
use basalt_kv_api::Request;

use crate::{Parameters, Violations, cluster::Cluster, cost::ask, trace::Trace, workload::row_key};

/// In which leases and replicas find their places, and groups fall asleep.
const SETTLING: Duration = Duration::from_secs(600);
const MEASURED: Duration = Duration::from_secs(600);

/// Of a whole cluster, in a minute of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    pub messages: u64,
    pub bytes: u64,
    /// Of the messages, those of Raft.
    pub raft_messages: u64,
    /// Leases and replicas that moved for balance, in the whole time.
    pub moves: u64,
    /// Groups led by the node that leads most, and by the one that leads least.
    pub led_most: usize,
    pub led_least: usize,
    /// The time of a real processor.
    pub busy: Duration,
}

/// Measures so many ranges on three nodes.
pub fn idle(ranges: u64, balances: bool) -> Idle {
    let executor = SimExecutor::new(1);
    let parameters = Parameters { balances, ..Parameters::quiet(3) };
    let cluster =
        Cluster::new(executor.clone(), &parameters.into(), &Trace::new(false), &Violations::default());
    let measured = executor.run(measure(&executor, &cluster, ranges));
    cluster.stop();
    executor.clear();
    measured
}

#[derive(Clone, Copy, Default)]
struct Reading {
    messages: u64,
    bytes: u64,
    raft_messages: u64,
    moves: u64,
}

async fn measure(executor: &SimExecutor, cluster: &Cluster, ranges: u64) -> Idle {
    cluster.found().await;
    for row in 1..ranges {
        ask(executor, cluster, Request::AdminSplit { key: row_key(b'c', row) }).await;
    }
    executor.sleep(SETTLING).await;
    let (before, begun) = (read(cluster), processor_time());
    executor.sleep(MEASURED).await;
    let (after, busy) = (read(cluster), processor_time().saturating_sub(begun));
    let minutes = MEASURED.as_secs() / 60;
    let led = cluster.nodes().into_iter().filter_map(|node| {
        node.with_running(|running, _| {
            running.store.replicas().iter().filter(|replica| replica.leads).count()
        })
    });
    let led: Vec<usize> = led.collect();
    Idle {
        messages: (after.messages - before.messages) / minutes,
        bytes: (after.bytes - before.bytes) / minutes,
        raft_messages: (after.raft_messages - before.raft_messages) / minutes,
        moves: after.moves,
        led_most: led.iter().copied().max().unwrap_or(0),
        led_least: led.iter().copied().min().unwrap_or(0),
        busy: busy / u32::try_from(minutes).unwrap_or(1),
    }
}

/// What this thread has had of a processor; nothing where the system does not say so.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn read(cluster: &Cluster) -> Reading {
    let counts = cluster.network().counts();
    let mut sums =
        Reading { messages: counts.sent, bytes: counts.bytes.values().sum(), ..Reading::default() };
    for node in cluster.nodes() {
        let counts = node.with_running(|running, _| (running.store.counts(), running.store.raft_counts()));
        let Some((kv, raft)) = counts else { continue };
        sums.raft_messages += raft.messages;
        sums.moves += kv.leases_balanced + kv.replicas_balanced;
    }
    sums
}
