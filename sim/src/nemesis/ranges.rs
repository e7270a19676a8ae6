//! What an operator or a balancer does to ranges.

use std::{sync::atomic::Ordering, time::Duration};

use basalt_base::{Key, NodeId};
use basalt_kv_api::{BatchHeader, BatchRequest, Request};
use tokio::sync::oneshot;

use super::{Nemesis, weather::Kind};
use crate::{
    cluster::Cluster,
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
