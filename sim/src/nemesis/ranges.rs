//! What an operator or a balancer does to ranges.

use std::{sync::atomic::Ordering, time::Duration};

use basalt_base::{Key, NodeId};
use basalt_kv_api::{BatchHeader, BatchRequest, Request};
use tokio::sync::oneshot;

use super::{Nemesis, weather::Kind};
use crate::{
    cluster::Cluster,
    node::Node,
    workload::{Context, row_key},
};

impl Nemesis {
    pub(super) async fn split(&self, every: Duration) {
        let ranges_max = self.context.parameters.long.as_ref().map_or(usize::MAX, |long| long.ranges_max);
        while self.due(Kind::Split, every).await {
            if self.context.cluster.range_count() < ranges_max {
                split_somewhere(&self.context).await;
            }
        }
    }

    /// Moves leases about.
    pub(super) async fn transfer_leases(&self, every: Duration) {
        while self.due(Kind::Lease, every).await {
            let key = some_row(&self.context);
            let nodes = self.context.cluster.nodes();
            let to = NodeId(nodes[self.index(nodes.len())].number());
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

    /// Gives leases away, and lets that be overtaken: who asked for it gives up, or the node that gives is cut off, at any
    /// moment of it. Its own clients go on asking it.
    pub(super) async fn give_leases_away(&self, every: Duration) {
        let network = self.context.cluster.network();
        while self.due(Kind::Lease, every).await {
            let key = some_row(&self.context);
            let Some(giver) = self.context.cluster.server_of(&key) else { continue };
            let others =
                self.context.cluster.nodes().into_iter().filter(|node| node.number() != giver.number());
            let others: Vec<Node> = others.collect();
            let to = NodeId(others[self.index(others.len())].number());
            let patience = self.context.parameters.network.delay_max * 8;
            let patience = patience.mul_f64(self.context.below(1_000) as f64 / 1e3);
            let (executor, trace) = (self.executor.clone(), self.context.trace.clone());
            let session = giver.session(move |client| {
                Box::pin(async move {
                    let requests = vec![Request::AdminTransferLease { key: key.clone(), to }];
                    let batch = BatchRequest { header: BatchHeader::default(), requests };
                    let outcome = tokio::select! {
                        biased;
                        outcome = client.sender().send(batch) => Some(outcome.map(drop)),
                        () = executor.sleep(patience) => None,
                    };
                    trace.line(|| format!("lease of {key:?} to node {to} within {patience:?}: {outcome:?}"));
                })
            });
            let Some(session) = session else { continue };
            if self.context.coin() {
                self.executor.sleep(patience.mul_f64(self.context.below(1_000) as f64 / 1e3)).await;
                self.context.trace.line(|| format!("node {} is cut off, giving", giver.number()));
                network.isolate(giver.number());
                self.wait(self.context.parameters.network.partition_for / 2).await;
                network.heal();
            }
            let _ = session.await;
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
pub(super) fn some_row(context: &Context) -> Key {
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
