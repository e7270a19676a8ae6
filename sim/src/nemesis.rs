//! Faults, each as a task of its own until told to stop.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use basalt_base::{Key, NodeId};
use basalt_env::{
    BoxFuture,
    sim::{LinkFaults, SimExecutor},
};
use basalt_kv_api::{BatchHeader, BatchRequest, Request};
use tokio::sync::oneshot;

use crate::{
    cluster::Cluster,
    node::Node,
    workload::{Context, row_key},
};

/// Scheduling steps between the moment a crash is due and the crash: so it hits any await point.
const CRASH_STEPS_MAX: u64 = 400;
const DOWN_MAX: Duration = Duration::from_millis(800);

#[derive(Clone)]
pub struct Nemesis {
    context: Context,
    executor: SimExecutor,
    stopped: Arc<AtomicBool>,
}

impl Nemesis {
    pub fn new(context: Context, executor: SimExecutor) -> Self {
        Self { context, executor, stopped: Arc::default() }
    }

    /// All kinds of faults that the parameters ask for.
    pub fn tasks(&self) -> Vec<BoxFuture<'static, ()>> {
        let parameters = &self.context.parameters;
        let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
        if let Some(every) = parameters.crash_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.crash(every).await }));
        }
        if let Some(every) = parameters.split_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.split(every).await }));
        }
        if let Some(every) = parameters.disk_full_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.fill_disk(every).await }));
        }
        if let Some(every) = parameters.clock_jump_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.jump_clock(every).await }));
        }
        if parameters.nodes > 1 {
            self.disturb_network();
            if let Some(every) = parameters.network.partition_every {
                let nemesis = self.clone();
                tasks.push(Box::pin(async move { nemesis.partition(every).await }));
            }
            if let Some(every) = parameters.network.lease_transfer_every {
                let nemesis = self.clone();
                tasks.push(Box::pin(async move { nemesis.transfer_leases(every).await }));
            }
        }
        tasks
    }

    /// Faults that last as long as the run.
    fn disturb_network(&self) {
        let faults = &self.context.parameters.network;
        self.context.cluster.network().set_link_faults(LinkFaults {
            delay_max: faults.delay_max,
            slow_one_in: faults.slow_one_in,
            slow_max: faults.slow_max,
            drop_one_in: faults.drop_one_in,
            duplicate_one_in: faults.duplicate_one_in,
            in_order: faults.in_order,
            ..LinkFaults::default()
        });
    }

    /// Cuts some links, waits, and opens all.
    async fn partition(&self, every: Duration) {
        let (cluster, network) = (&self.context.cluster, self.context.cluster.network());
        let nodes: Vec<u64> = cluster.nodes().iter().map(Node::number).collect();
        while self.wait(every).await {
            let one = nodes[self.index(nodes.len())];
            let other = nodes[self.index(nodes.len())];
            let drawn = self.context.below(6);
            let (kind, what) = match drawn {
                0 => {
                    network.isolate(one);
                    ("partition: one node alone", format!("node {one} is cut off"))
                }
                1 => {
                    let (left, right) = nodes.split_at(nodes.len() / 2);
                    network.partition(&[left, right]);
                    ("partition: two halves", format!("{left:?} and {right:?} are apart"))
                }
                2 => {
                    network.majority_ring(&nodes);
                    (
                        "partition: everybody sees another majority",
                        "everybody sees another majority".to_owned(),
                    )
                }
                3 => {
                    network.block(one, other);
                    ("partition: one direction", format!("nothing comes from {one} to {other}"))
                }
                4 => {
                    network.block(one, other);
                    network.block(other, one);
                    ("partition: one pair", format!("{one} and {other} do not see each other"))
                }
                _ => {
                    network.clog(one, other);
                    ("partition: messages wait", format!("what {one} sends to {other} waits"))
                }
            };
            if drawn < 3 || one != other {
                self.context.reached.count(kind);
            }
            self.context.trace.line(|| what);
            self.wait(self.context.parameters.network.partition_for / 2).await;
            network.heal();
            self.context.trace.line(|| "all links are open".to_owned());
        }
    }

    fn index(&self, count: usize) -> usize {
        usize::try_from(self.context.below(count as u64)).expect("small")
    }

    /// Moves leases about, as an operator or a balancer would.
    async fn transfer_leases(&self, every: Duration) {
        while self.wait(every).await {
            let key = some_row(&self.context);
            let to = NodeId(1 + self.context.below(self.context.parameters.nodes));
            let trace = self.context.trace.clone();
            let session = self.context.cluster.session(move |client| {
                Box::pin(async move {
                    let requests = vec![Request::AdminTransferLease { key: key.clone(), to }];
                    let batch = BatchRequest { header: BatchHeader::default(), requests };
                    let outcome = client.sender().send(batch).await.map(drop);
                    trace.line(|| format!("lease of {key:?} to node {to}: {outcome:?}"));
                })
            });
            if let Some(session) = session {
                // The node may crash meanwhile.
                let _ = session.await;
            }
        }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Waits about `mean`; false when it is time to stop.
    async fn wait(&self, mean: Duration) -> bool {
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX / 4);
        let micros = self.context.below(2 * micros) + 1;
        self.executor.sleep(Duration::from_micros(micros)).await;
        !self.is_stopped()
    }

    async fn crash(&self, every: Duration) {
        while self.wait(every).await {
            let node = self.context.cluster.any();
            self.executor.steps(self.context.below(CRASH_STEPS_MAX)).await;
            if self.is_stopped() {
                return;
            }
            if self.context.one_in(6) {
                node.shut_down().await;
            }
            node.crash(&self.context);
            self.wait(DOWN_MAX / 2).await;
            node.start();
        }
    }

    async fn split(&self, every: Duration) {
        while self.wait(every).await {
            split_somewhere(&self.context).await;
        }
    }

    async fn fill_disk(&self, every: Duration) {
        while self.wait(every).await {
            let node = self.context.cluster.any();
            self.context.trace.line(|| format!("disk of node {} is full", node.number()));
            if self.context.parameters.nodes > 1 {
                self.context.reached.count("disk full");
            }
            node.set_disk_full(true);
            self.wait(Duration::from_millis(400)).await;
            self.context.trace.line(|| format!("disk of node {} has room", node.number()));
            node.set_disk_full(false);
        }
    }

    async fn jump_clock(&self, every: Duration) {
        while self.wait(every).await {
            if self.context.parameters.nodes > 1 {
                // Within what clocks of different nodes may differ.
                let most =
                    u64::try_from(self.context.parameters.network.clock_offset.as_micros()).expect("short");
                let micros = i64::try_from(self.context.below(2 * most + 1)).expect("short")
                    - i64::try_from(most).expect("short");
                let node = self.context.cluster.any();
                self.context.trace.line(|| format!("clock of node {} is off by {micros} us", node.number()));
                node.clock().set_offset(micros);
                continue;
            }
            // Backwards and forwards, beyond what the clock believes too.
            let micros = i64::try_from(self.context.below(20_000_000)).expect("small") - 8_000_000;
            self.context.trace.line(|| format!("wall clock jumps by {micros} us"));
            self.executor.jump_wall(micros);
        }
    }
}

/// Splits a range at a random row, as an operator would.
pub async fn split_somewhere(context: &Context) {
    if let Some(session) = begin_split(context, &context.cluster, some_row(context)) {
        // The node may crash meanwhile.
        let _ = session.await;
    }
}

/// The key of a row, of whatever table.
fn some_row(context: &Context) -> Key {
    let tables = [b'a', b'r', b'x', b'f', b's', b'c', b'i', b'l', b'q', b'w'];
    let count = if context.parameters.corners { tables.len() } else { 5 };
    let table = tables[usize::try_from(context.below(count as u64)).expect("small")];
    let row = match table {
        b'a' => context.below(context.parameters.accounts),
        b'r' => context.below(context.events.load(Ordering::Relaxed) + 1),
        b'x' => context.below(context.parameters.registers),
        b's' | b'w' => 500,
        _ => context.below(30),
    };
    row_key(table, row)
}

/// Splits at `key`, beside whatever else happens.
pub fn begin_split(context: &Context, cluster: &Cluster, key: Key) -> Option<oneshot::Receiver<()>> {
    let trace = context.trace.clone();
    cluster.session(move |client| {
        Box::pin(async move {
            let requests = vec![Request::AdminSplit { key: key.clone() }];
            let batch = BatchRequest { header: BatchHeader::default(), requests };
            let outcome = client.sender().send(batch).await.map(drop);
            trace.line(|| format!("split at {key:?}: {outcome:?}"));
        })
    })
}
