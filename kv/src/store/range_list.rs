//! The ranges as shown to users, and the upkeep of their meta entries.

use std::sync::Arc;

use basalt_base::{NodeId, RangeId, Span, Timestamp, keys};
use basalt_kv_api::{BatchHeader, BatchRequest, Request, Result};
use basalt_storage::Family;

use super::Store;
use crate::{evaluate::storage_error, replica::RangeDescriptor};

/// One range, for SHOW RANGES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeInfo {
    pub range_id: RangeId,
    pub span: Span,
    pub generation: u64,
    /// Estimated, all versions.
    pub bytes: u64,
    /// Written since old versions were last collected.
    pub garbage_bytes: u64,
    pub lease_sequence: u64,
    pub gc_threshold: Timestamp,
    pub applied_index: u64,
}

/// What one replica here knows of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    pub range_id: RangeId,
    /// Nodes with a replica, learners included.
    pub nodes: Vec<NodeId>,
    pub voters: usize,
    /// There are no learners, and no change of membership is under way.
    pub is_settled: bool,
    /// Who had the lease last.
    pub leaseholder: NodeId,
    /// This replica leads the group.
    pub leads: bool,
}

impl Store {
    /// The replicas here.
    pub fn replicas(&self) -> Vec<ReplicaInfo> {
        let describe = |replica: &Arc<crate::replica::Replica>| {
            let state = replica.state();
            ReplicaInfo {
                range_id: replica.range_id,
                nodes: state.descriptor.replicas.iter().map(|place| place.node_id).collect(),
                voters: state.membership.voters.len(),
                is_settled: state.membership.learners.is_empty() && !state.membership.is_joint(),
                leaseholder: state.lease.node_id,
                leads: self.leads(replica),
            }
        };
        self.states.ranges.all().iter().map(describe).collect()
    }

    /// All ranges in key order.
    pub fn ranges(&self) -> Vec<RangeInfo> {
        let describe = |replica: &Arc<crate::replica::Replica>| {
            let state = replica.state();
            RangeInfo {
                range_id: replica.range_id,
                span: state.descriptor.span.clone(),
                generation: state.descriptor.generation,
                bytes: u64::try_from(state.applied.bytes).unwrap_or(0),
                garbage_bytes: u64::try_from(state.applied.garbage).unwrap_or(0),
                lease_sequence: state.lease.sequence,
                gc_threshold: state.gc_threshold,
                applied_index: state.applied.index,
            }
        };
        self.states.ranges.all().iter().map(describe).collect()
    }

    /// A line for each replica here: what it knows of its group, for those who debug.
    pub fn describe_replicas(&self) -> Vec<String> {
        let statuses = self.raft().statuses();
        let line = |(range_id, status): (&RangeId, &basalt_raft::Status)| {
            let known = self.states.ranges.by_id(*range_id).map(|replica| {
                let state = replica.state();
                format!(
                    "gen {} {:?} members {:?} lease {:?} low water {} revoked {}",
                    state.descriptor.generation,
                    state.descriptor.span,
                    state.membership,
                    state.lease,
                    replica.marks().reads,
                    replica.is_revoked()
                )
            });
            format!("range {range_id}: {status:?} {}", known.unwrap_or_else(|| "blank".to_owned()))
        };
        statuses.iter().map(line).collect()
    }

    /// About how many bytes the versions of the keys in `span` take here.
    pub fn bytes_in(&self, span: &Span) -> Result<u64> {
        self.states.engine.approximate_bytes(Family::Data, span).map_err(storage_error)
    }

    /// Writes the meta entries of some ranges. Older news never replace newer ones.
    pub(super) async fn put_meta(self: &Arc<Self>, descriptors: &[&RangeDescriptor]) -> Result<()> {
        let put = |descriptor: &&RangeDescriptor| Request::PutMeta {
            key: keys::meta_key(&descriptor.span.end),
            generation: descriptor.generation,
            descriptor: descriptor.encode(),
        };
        let requests = descriptors.iter().map(put).collect();
        Box::pin(self.route(BatchRequest { header: BatchHeader::default(), requests })).await.map(|_| ())
    }
}
