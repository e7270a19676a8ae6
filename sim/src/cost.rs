//! What a transaction costs on three nodes: how many message delays until it is acknowledged, how many entries of logs,
//! requests, messages of Raft, syncs and bytes until nothing of it is left to do.
//!
//! Every message takes the same time and every sync none, so that time counts delays. The same time without transactions
//! is measured afterwards and taken off.

use std::{sync::Arc, time::Duration};

use basalt_base::NodeId;
use basalt_env::sim::{LinkFaults, SimExecutor};
use basalt_kv_api::{BatchHeader, BatchRequest, LockStrength, Request};
use basalt_txn::{ReadOptions, Result, Txn, TxnClient, TxnConfig};

use crate::{
    Parameters, Violations,
    cluster::Cluster,
    trace::Trace,
    workload::{row_key, row_value},
};

const DELAY: Duration = Duration::from_millis(10);
const TRANSACTIONS: u64 = 20;
/// So many that what their leases cost, by time, is less than one of each.
const READ_ONLY: u64 = 400;
/// In which everything that comes after an acknowledgement is done.
const AFTERWARDS: Duration = Duration::from_secs(8);
const LEFT: u8 = b'c';
const RIGHT: u8 = b'd';

/// What a transaction does. The client is on the node that serves the left range; another one serves the right range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Changes a row and adds one, both here.
    OneRange,
    /// Changes a row here and adds one in the range that is served elsewhere, as pgbench's simple update does.
    TwoRanges,
    /// As above, with the row that it changes elsewhere, too.
    Elsewhere,
    /// Reads two rows here.
    ReadHere,
    /// Reads one row here and one in the range that is served elsewhere.
    ReadTwoRanges,
}

impl Shape {
    pub const ALL: [Self; 5] =
        [Self::OneRange, Self::TwoRanges, Self::Elsewhere, Self::ReadHere, Self::ReadTwoRanges];

    pub fn name(self) -> &'static str {
        match self {
            Self::OneRange => "one range, served here",
            Self::TwoRanges => "two ranges, one served elsewhere",
            Self::Elsewhere => "one range, served elsewhere",
            Self::ReadHere => "read-only, one range, served here",
            Self::ReadTwoRanges => "read-only, two ranges, one served elsewhere",
        }
    }

    fn is_read_only(self) -> bool {
        matches!(self, Self::ReadHere | Self::ReadTwoRanges)
    }
}

/// Of one transaction, rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Messages one after the other, from the first statement to the acknowledgement.
    pub delays: u64,
    /// Of these, those of the commit.
    pub commit_delays: u64,
    /// Entries in the logs, each counted once however many replicas have it.
    pub entries: u64,
    /// Batches that one node has sent another.
    pub requests: u64,
    /// Messages of Raft.
    pub messages: u64,
    /// Syncs of the logs of all nodes together.
    pub syncs: u64,
    /// Bytes written to the logs of all nodes together.
    pub log_bytes: u64,
    /// Bytes of all messages between nodes.
    pub network_bytes: u64,
}

/// Sums of counters over the cluster.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    entries: u64,
    requests: u64,
    messages: u64,
    syncs: u64,
    log_bytes: u64,
    network_bytes: u64,
}

/// Measures transactions of the given shape.
pub fn cost(shape: Shape) -> Cost {
    let executor = SimExecutor::new(1);
    let parameters = Arc::new(Parameters::quiet(3));
    let cluster = Cluster::new(executor.clone(), &parameters, &Trace::new(false), &Violations::default());
    let measured = executor.run(measure(&executor, &cluster, shape));
    cluster.stop();
    executor.clear();
    measured
}

async fn measure(executor: &SimExecutor, cluster: &Cluster, shape: Shape) -> Cost {
    cluster.found().await;
    place_ranges(executor, cluster).await;
    cluster.network().set_link_faults(LinkFaults {
        delay_min: DELAY,
        delay_max: DELAY,
        ..LinkFaults::default()
    });
    cluster.nodes().iter().for_each(crate::node::Node::heal);
    // Routes are known and leases are held.
    for number in 0..5 {
        run_one(executor, cluster, shape, 1_000 + number).await;
    }
    executor.sleep(AFTERWARDS).await;
    let (began, before) = (executor.now(), read(cluster));
    let (mut whole, mut commits) = (Duration::ZERO, Duration::ZERO);
    let count = if shape.is_read_only() { READ_ONLY } else { TRANSACTIONS };
    for number in 0..count {
        let (all, commit) = run_one(executor, cluster, shape, number).await;
        whole += all;
        commits += commit;
    }
    executor.sleep(AFTERWARDS).await;
    let (took, between) = (executor.now() - began, read(cluster));
    executor.sleep(took).await;
    let after = read(cluster);
    let each = |pick: fn(&Reading) -> u64| {
        let busy = pick(&between) - pick(&before);
        let idle = pick(&after) - pick(&between);
        rounded(busy.saturating_sub(idle), count)
    };
    let delays = |time: Duration| {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        rounded(micros(time), count * micros(DELAY))
    };
    Cost {
        delays: delays(whole),
        commit_delays: delays(commits),
        entries: each(|reading| reading.entries),
        requests: each(|reading| reading.requests),
        messages: each(|reading| reading.messages),
        syncs: each(|reading| reading.syncs),
        log_bytes: each(|reading| reading.log_bytes),
        network_bytes: each(|reading| reading.network_bytes),
    }
}

fn rounded(sum: u64, count: u64) -> u64 {
    (sum + count / 2) / count
}

fn read(cluster: &Cluster) -> Reading {
    let bytes = cluster.network().counts().bytes;
    let mut sums = Reading { network_bytes: bytes.values().sum(), ..Reading::default() };
    for node in cluster.nodes() {
        let counts = node.with_running(|running, _| (running.store.counts(), running.store.raft_counts()));
        let Some((kv, raft)) = counts else { continue };
        // Leases cost by time, not by transaction.
        sums.entries += raft.proposals.saturating_sub(kv.lease_proposals);
        sums.requests += kv.batches_sent;
        sums.messages += raft.messages;
        sums.syncs += raft.fsyncs;
        sums.log_bytes += raft.log_bytes;
    }
    sums
}

/// A range boundary between the tables, the left range served by the first node and the right one by the second.
async fn place_ranges(executor: &SimExecutor, cluster: &Cluster) {
    let boundary = row_key(RIGHT, 0).slice(..2);
    ask(executor, cluster, Request::AdminSplit { key: boundary.clone() }).await;
    // Everybody has a replica by then.
    executor.sleep(Duration::from_secs(30)).await;
    ask(executor, cluster, Request::AdminTransferLease { key: boundary, to: NodeId(2) }).await;
    ask(executor, cluster, Request::AdminTransferLease { key: row_key(LEFT, 0), to: NodeId(1) }).await;
}

pub(crate) async fn ask(executor: &SimExecutor, cluster: &Cluster, request: Request) {
    for _ in 0..100 {
        let request = request.clone();
        let asked = on_first_node(cluster, move |client| async move {
            let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
            client.sender().send(batch).await.is_ok()
        });
        if asked.await {
            return;
        }
        executor.sleep(Duration::from_secs(1)).await;
    }
    panic!("the ranges could not be put into place");
}

async fn on_first_node<T, F>(cluster: &Cluster, body: impl FnOnce(TxnClient) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let session = cluster.nodes()[0].session(|client| Box::pin(body(client)));
    session.expect("the node runs").await.expect("the node goes on running")
}

/// How long the transaction took, and how long its commit.
async fn run_one(
    executor: &SimExecutor,
    cluster: &Cluster,
    shape: Shape,
    number: u64,
) -> (Duration, Duration) {
    let clock = executor.clone();
    let read_only = shape.is_read_only();
    let body = async move |txn: Txn| -> Result<Duration> {
        let (changed, added) = match shape {
            Shape::OneRange | Shape::ReadHere => (LEFT, LEFT),
            Shape::TwoRanges | Shape::ReadTwoRanges => (LEFT, RIGHT),
            Shape::Elsewhere => (RIGHT, RIGHT),
        };
        let row = row_key(changed, number % 3);
        if read_only {
            txn.get(&row, ReadOptions::default()).await?;
            txn.statement();
            txn.get(&row_key(added, 1_000_000 + number), ReadOptions::default()).await?;
            let before = clock.now();
            txn.commit().await?;
            return Ok(clock.now() - before);
        }
        let locking = ReadOptions::locking(LockStrength::Exclusive);
        txn.get(&row, locking).await?;
        txn.put(row, row_value(number, 10))?;
        txn.statement();
        txn.insert(row_key(added, 1_000_000 + number), row_value(number, 10))?;
        let before = clock.now();
        txn.commit().await?;
        Ok(clock.now() - before)
    };
    let began = executor.now();
    let commit = on_first_node(cluster, move |client| async move {
        let txn = client.begin(TxnConfig { read_only, ..TxnConfig::default() })?;
        body(txn).await
    });
    let commit = commit.await.expect("nothing is in the way");
    (executor.now() - began, commit)
}
