//! The ranges of the whole cluster, as one node sees them.

use std::sync::Arc;

use basalt_base::{NodeId, RangeId, Span};
use basalt_kv_api::Result;

use super::Store;
use crate::replica::{Place, RangeDescriptor};

/// One range, for SHOW RANGES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRange {
    pub range_id: RangeId,
    pub span: Span,
    pub generation: u64,
    /// The nodes of its replicas, in order. Without those that have no vote yet, as far as it is known here: nothing
    /// outlives the others on them.
    pub nodes: Vec<NodeId>,
    /// Who serves it; a hint, and `None` when nobody here knows.
    pub leaseholder: Option<NodeId>,
    /// Estimated, all versions; `None` when no replica is here.
    pub bytes: Option<u64>,
}

impl Store {
    /// All ranges of the cluster in key order: what meta says of them, and what replicas here know better.
    pub async fn cluster_ranges(self: &Arc<Self>) -> Result<Vec<ClusterRange>> {
        let stored = self.all_descriptors().await?;
        Ok(stored.iter().map(|descriptor| self.cluster_range(descriptor)).collect())
    }

    fn cluster_range(&self, stored: &RangeDescriptor) -> ClusterRange {
        let here = self.states.ranges.by_id(stored.range_id);
        let newer = here.as_ref().map(|replica| replica.descriptor());
        let descriptor = newer.as_deref().filter(|own| own.generation >= stored.generation).unwrap_or(stored);
        let leaseholder = match &here {
            Some(replica) => self.holder_of(replica),
            None => self.cache.get(&stored.span.start).and_then(|located| located.holder),
        };
        let membership = here.as_ref().map(|replica| replica.membership());
        let votes = |place: &&Place| {
            membership.as_ref().is_none_or(|membership| !membership.learners.contains(&place.replica_id))
        };
        ClusterRange {
            range_id: descriptor.range_id,
            span: descriptor.span.clone(),
            generation: descriptor.generation,
            nodes: descriptor.replicas.iter().filter(votes).map(|place| place.node_id).collect(),
            leaseholder,
            bytes: here.map(|replica| u64::try_from(replica.state().applied.bytes).unwrap_or(0)),
        }
    }
}
