//! What SQL asks of the store and of the cluster: nodes, ranges, counters, and an operator's orders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_base::{NodeId, Span};
use basalt_env::BoxFuture;
use basalt_kv::{ClusterRange, NodeState, Store};
use basalt_planner::parse::NodeChange;
use basalt_rpc::{NodeStatus, Wire};
use basalt_sql::{MetricsSource, NodeRow, RangeRow, StoreInfo, error::store_error};
use basalt_types::{Result, SqlError, SqlState};

use crate::{cluster::SILENCE_MAX, counters::Counters};

/// How long an order to drain works before it answers; the rest goes on in the background.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How long a list of nodes waits for the ranges that it counts.
const RANGES_PATIENCE: Duration = Duration::from_secs(2);

pub struct ClusterInfo {
    pub store: Arc<Store>,
    pub wire: Arc<Wire>,
    pub counters: Counters,
}

impl MetricsSource for ClusterInfo {
    fn metrics(&self) -> Vec<(String, i64)> {
        self.counters.metrics()
    }
}

impl StoreInfo for ClusterInfo {
    fn ranges(&self) -> BoxFuture<'_, Result<Vec<RangeRow>>> {
        Box::pin(async {
            let ranges = self.store.cluster_ranges().await.map_err(store_error)?;
            Ok(ranges.into_iter().map(range_row).collect())
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>> {
        Box::pin(async {
            // Whoever asks because nothing works is told of the nodes all the same.
            let ranges = tokio::time::timeout(RANGES_PATIENCE, self.store.cluster_ranges()).await;
            let ranges = ranges.ok().and_then(|ranges| ranges.ok());
            let states = match &ranges {
                Some(_) => self.store.node_states().await.unwrap_or_default(),
                None => BTreeMap::new(),
            };
            let count = |counted: &dyn Fn(&ClusterRange) -> bool| {
                let ranges = ranges.as_ref()?;
                Some(ranges.iter().filter(|range| counted(range)).count() as u64)
            };
            let offsets = self.store.peers().offsets();
            let row = |mut status: NodeStatus| {
                let node = status.node_id;
                // One whose disk does not answer still tells of itself, and is down all the same.
                let unanswered = self.store.peers().last_heard(node).unwrap_or_default();
                status.silent_for = status.silent_for.map(|time| time.max(unanswered));
                let state = states.get(&node).copied().unwrap_or_else(|| self.store.state_of(node));
                NodeRow {
                    node_id: node.0,
                    is_local: node == self.store.ident().node_id,
                    status: word(&status, state).to_owned(),
                    locality: locality(&status.node.locality),
                    rpc_address: status.node.rpc_address,
                    sql_address: status.node.sql_address,
                    version: status.node.build,
                    replicas: count(&|range| range.nodes.contains(&node)),
                    leases: count(&|range| range.leaseholder == Some(node)),
                    capacity_bytes: status.capacity.map(|capacity| capacity.size_bytes),
                    available_bytes: status.capacity.map(|capacity| capacity.available_bytes),
                    used_bytes: status.capacity.map(|capacity| capacity.used_bytes),
                    silent_millis: status.silent_for.map(|time| whole(time.as_millis())),
                    round_trip_micros: status.round_trip.map(|time| whole(time.as_micros())),
                    clock_offset_micros: offsets.get(&node).map(|offset| offset.micros),
                    problem: status.problem,
                }
            };
            Ok(self.wire.statuses().into_iter().map(row).collect())
        })
    }

    fn change_node(&self, node: u64, change: NodeChange) -> BoxFuture<'_, Result<()>> {
        let node = NodeId(node);
        Box::pin(async move {
            match change {
                NodeChange::Decommission => self.set_state(node, NodeState::Decommissioning).await,
                NodeChange::Recommission => self.set_state(node, NodeState::Active).await,
                NodeChange::Remove => {
                    self.set_state(node, NodeState::Removed).await?;
                    self.wire.remove_node(node);
                    Ok(())
                }
                NodeChange::Drain | NodeChange::Undrain if node != self.store.ident().node_id => {
                    let text = format!("node {node} can only be drained by itself");
                    let hint = match self.sql_address_of(node) {
                        Some(address) => format!("Connect to {address} and say it there."),
                        None => "Connect to that node and say it there.".to_owned(),
                    };
                    Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, text).with_hint(hint))
                }
                NodeChange::Drain => {
                    self.store.drain(DRAIN_PATIENCE).await;
                    Ok(())
                }
                NodeChange::Undrain => {
                    self.store.undrain();
                    Ok(())
                }
            }
        })
    }

    fn bytes_in(&self, span: &Span) -> u64 {
        // An estimate for people: if the engine can't tell, neither can this.
        self.store.bytes_in(span).unwrap_or(0)
    }
}

impl ClusterInfo {
    async fn set_state(&self, node: NodeId, state: NodeState) -> Result<()> {
        self.store.set_node_state(node, state).await.map_err(|error| match error {
            basalt_kv_api::Error::Invalid(why) => {
                SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, why)
            }
            error => store_error(error),
        })
    }

    fn sql_address_of(&self, node: NodeId) -> Option<String> {
        let status = self.wire.statuses().into_iter().find(|status| status.node_id == node)?;
        Some(status.node.sql_address).filter(|address| !address.is_empty())
    }
}

fn range_row(range: ClusterRange) -> RangeRow {
    RangeRow {
        range_id: range.range_id.0,
        start: range.span.start,
        end: range.span.end,
        bytes: range.bytes,
        replicas: range.nodes.into_iter().map(|node| node.0).collect(),
        leaseholder: range.leaseholder.map(|node| node.0),
    }
}

fn word(status: &NodeStatus, state: NodeState) -> &'static str {
    if status.removed || state == NodeState::Removed {
        return "decommissioned";
    }
    if status.silent_for.is_none_or(|time| time > SILENCE_MAX) {
        return "down";
    }
    match state {
        NodeState::Decommissioning => "decommissioning",
        _ if status.draining => "draining",
        _ => "live",
    }
}

fn locality(tiers: &[(String, String)]) -> String {
    tiers.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn whole(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
