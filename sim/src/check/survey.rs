//! What the stores of a cluster hold, read once from their engines: every copy of every range.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{NodeId, RangeId};
use basalt_kv::replica::{RangeDescriptor, RangeSet, Replica};
use basalt_storage::{Family, IterOptions, MemoryEngine, Reader};

use crate::cluster::Cluster;

/// One replica, as its store has it.
pub struct Copy {
    pub node: u64,
    pub replica: Arc<Replica>,
    engine: MemoryEngine,
}

/// All copies that running nodes have.
pub struct Survey {
    pub copies: BTreeMap<RangeId, Vec<Copy>>,
    /// Nodes that do not run.
    pub down: Vec<u64>,
}

impl Survey {
    pub fn take(cluster: &Cluster) -> Result<Self, String> {
        let mut survey = Self { copies: BTreeMap::new(), down: Vec::new() };
        for node in cluster.nodes() {
            let number = node.number();
            let Some(engine) = node.with_running(|_, engine| engine.clone()) else {
                survey.down.push(number);
                continue;
            };
            let set = RangeSet::load(&engine);
            for replica in set.map_err(|error| format!("ranges of node {number}: {error}"))?.all() {
                let copies = survey.copies.entry(replica.range_id).or_default();
                copies.push(Copy { node: number, replica, engine: engine.clone() });
            }
        }
        Ok(survey)
    }

    /// A problem if a node is down.
    pub fn complete(self) -> Result<Self, String> {
        match self.down.first() {
            Some(node) => Err(format!("node {node} is down")),
            None => Ok(self),
        }
    }

    /// Of each range the copy that has come furthest. One that was removed, or lags, may hold what others have changed.
    pub fn newest(&self) -> impl Iterator<Item = &Copy> {
        self.copies.values().filter_map(|copies| copies.iter().max_by_key(|copy| copy.place()))
    }

    /// The newest descriptors, in key order.
    pub fn descriptors(&self) -> Vec<RangeDescriptor> {
        let mut ranges: Vec<_> = self.newest().map(|copy| (*copy.replica.descriptor()).clone()).collect();
        ranges.sort_by(|one, other| one.span.start.cmp(&other.span.start));
        ranges
    }

    /// Why some range does not have `wanted` voters, all on nodes of which `is_there` holds, and no other members. `None`
    /// if all have.
    pub fn short_of_replicas(&self, wanted: usize, is_there: impl Fn(NodeId) -> bool) -> Option<String> {
        self.newest().find_map(|copy| {
            let (descriptor, membership) = (copy.replica.descriptor(), copy.replica.membership());
            let settled = !membership.is_joint() && membership.learners.is_empty();
            let whole = membership.voters.len() >= wanted
                && descriptor.replicas.iter().all(|place| is_there(place.node_id));
            (!settled || !whole).then(|| {
                format!(
                    "range {} does not have {wanted} replicas: {:?}, {membership:?} on node {}",
                    descriptor.range_id, descriptor.replicas, copy.node
                )
            })
        })
    }
}

impl Copy {
    /// How far it has come.
    pub fn place(&self) -> (u64, u64) {
        (self.replica.descriptor().generation, self.replica.applied().index)
    }

    /// Keys with a provisional value or a replicated lock.
    pub fn locks(&self) -> basalt_storage::Result<Vec<Vec<u8>>> {
        let span = self.replica.descriptor().span.clone();
        let mut iter = self.engine.iter(Family::Lock, IterOptions::within(&span))?;
        iter.seek(&span.start)?;
        let mut keys = Vec::new();
        while iter.valid() {
            keys.push(iter.key().to_vec());
            iter.next()?;
        }
        Ok(keys)
    }

    /// A hash of all that replicas have in common.
    pub fn hash(&self) -> basalt_storage::Result<u64> {
        let mut hash = Hash::new();
        let state = self.replica.state();
        hash.add(&state.descriptor.encode());
        hash.add(&state.lease.encode());
        hash.add(&state.applied.encode());
        hash.add(&state.gc_threshold.0.to_be_bytes());
        for (family, span) in basalt_kv::replica::families(&state.descriptor.span) {
            let mut iter = self.engine.iter(family, IterOptions::within(&span))?;
            iter.seek(&span.start)?;
            hash.add(&[family as u8]);
            while iter.valid() {
                hash.add(iter.key());
                hash.add(iter.value());
                iter.next()?;
            }
        }
        Ok(hash.0)
    }
}

/// 64-bit FNV-1a over length-prefixed parts.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
