//! Replicas of one range hold the same.

use std::collections::BTreeMap;

use basalt_base::RangeId;
use basalt_kv::replica::{RangeSet, Replica};
use basalt_storage::{IterOptions, MemoryEngine, Reader};

use crate::workload::Context;

/// A replica's place in the log, and a hash of all that it holds.
struct Copy {
    node: u64,
    generation: u64,
    index: u64,
    hash: u64,
    is_member: bool,
}

/// What still differs between the replicas of healed nodes that nobody uses; `None` if nothing does.
pub fn differ(context: &Context) -> Option<String> {
    let mut copies: BTreeMap<RangeId, Vec<Copy>> = BTreeMap::new();
    for node in context.cluster.nodes() {
        let number = node.number();
        let Some(found) = node.with_running(|_, engine| copies_on(engine, number)) else {
            return Some(format!("node {number} is down"));
        };
        match found {
            Ok(found) => {
                found.into_iter().for_each(|(range, copy)| copies.entry(range).or_default().push(copy))
            }
            Err(error) => return Some(format!("node {number} can't be read: {error}")),
        }
    }
    for (range, copies) in &copies {
        let newest = copies.iter().max_by_key(|copy| copy.generation)?;
        // One that was removed elsewhere goes when it has heard of it.
        let members: Vec<&Copy> =
            copies.iter().filter(|copy| copy.generation == newest.generation && copy.is_member).collect();
        if let Some(other) = members.iter().find(|copy| copy.index != newest.index) {
            return Some(format!(
                "range {range} is at {} on node {} and at {} on node {}",
                newest.index, newest.node, other.index, other.node
            ));
        }
        if let Some(other) = members.iter().find(|copy| copy.hash != newest.hash) {
            let message = format!(
                "range {range} holds different things at index {} on nodes {} and {}",
                newest.index, newest.node, other.node
            );
            // It will not get better.
            context.violations.report(message.clone());
            return None;
        }
    }
    None
}

fn copies_on(engine: &MemoryEngine, node: u64) -> Result<Vec<(RangeId, Copy)>, String> {
    let set = RangeSet::load(engine).map_err(|error| error.to_string())?;
    set.all()
        .iter()
        .map(|replica| {
            let hash = hash_of(engine, replica).map_err(|error| error.to_string())?;
            let (descriptor, applied) = (replica.descriptor(), replica.applied());
            let is_member = replica.membership().contains(replica.replica_id);
            let copy =
                Copy { node, generation: descriptor.generation, index: applied.index, hash, is_member };
            Ok((replica.range_id, copy))
        })
        .collect()
}

fn hash_of(engine: &MemoryEngine, replica: &Replica) -> basalt_storage::Result<u64> {
    let mut hash = Hash::new();
    let state = replica.state();
    hash.add(&state.descriptor.encode());
    hash.add(&state.lease.encode());
    hash.add(&state.applied.encode());
    hash.add(&state.gc_threshold.0.to_be_bytes());
    for (family, span) in basalt_kv::replica::families(&state.descriptor.span) {
        let mut iter = engine.iter(family, IterOptions::within(&span))?;
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
