//! What must be true of healed nodes that nobody uses any more.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{
    RangeId,
    keys::{KEY_MAX, KEY_MIN, meta_key},
};
use basalt_kv::replica::{RangeDescriptor, RangeSet};
use basalt_storage::{Family, IterOptions, MemoryEngine, Reader};
use basalt_txn::{ReadOptions, TxnConfig};

use parking_lot::Mutex;

use crate::workload::{Context, Ended, transact};

/// With a pause after each.
const ATTEMPTS: u32 = 300;

/// Keys with a provisional value or a replicated lock, whoever holds it. That they can't be read is a violation.
/// A replica that was removed, or has not caught up, may still hold what others have resolved: the newest copy counts.
pub fn locks(context: &Context) -> Vec<Vec<u8>> {
    let mut newest: BTreeMap<RangeId, (u64, u64, Vec<Vec<u8>>)> = BTreeMap::new();
    for node in context.cluster.nodes() {
        match node.with_running(|_, engine| stored_locks(engine)) {
            Some(Ok(found)) => {
                for (range_id, generation, index, keys) in found {
                    let known = newest.entry(range_id).or_default();
                    if (known.0, known.1) <= (generation, index) {
                        *known = (generation, index, keys);
                    }
                }
            }
            Some(Err(error)) => context.violations.report(format!("locks can't be read: {error}")),
            None => context.violations.report("a node is down when its locks are counted"),
        }
    }
    newest.into_values().flat_map(|(_, _, keys)| keys).collect()
}

/// The ranges tile the key space, and meta says so, a while after the last fault.
pub async fn check_ranges(context: &Context) {
    let mut problem = None;
    for _ in 0..ATTEMPTS {
        // Again each time: replicas are still being added and moved.
        problem = match newest_ranges(context) {
            Err(problem) => Some(problem),
            Ok(ranges) => match tiling_problem(&ranges) {
                None => meta_problem(context, ranges).await,
                problem => problem,
            },
        };
        if problem.is_none() {
            return;
        }
        context.cluster.pause().await;
    }
    problem.into_iter().for_each(|problem| context.violations.report(problem));
}

/// The newest that any node knows of each range, in key order.
fn newest_ranges(context: &Context) -> Result<Vec<RangeDescriptor>, String> {
    let mut newest: BTreeMap<RangeId, RangeDescriptor> = BTreeMap::new();
    for node in context.cluster.nodes() {
        let found = node.with_running(|_, engine| ranges(engine));
        let found = found.ok_or_else(|| format!("node {} is down", node.number()))?;
        for range in found.map_err(|error| format!("ranges can't be read: {error}"))? {
            let known = newest.entry(range.range_id).or_insert_with(|| range.clone());
            if known.generation < range.generation {
                *known = range;
            }
        }
    }
    let mut ranges: Vec<RangeDescriptor> = newest.into_values().collect();
    ranges.sort_by(|one, other| one.span.start.cmp(&other.span.start));
    Ok(ranges)
}

/// Of each range: generation, applied index, locked keys.
fn stored_locks(engine: &MemoryEngine) -> basalt_storage::Result<Vec<(RangeId, u64, u64, Vec<Vec<u8>>)>> {
    let set = RangeSet::load(engine)?;
    let mut found = Vec::new();
    for replica in set.all() {
        let descriptor = replica.descriptor();
        let mut keys = Vec::new();
        let mut iter = engine.iter(Family::Lock, IterOptions::within(&descriptor.span))?;
        iter.seek(&descriptor.span.start)?;
        while iter.valid() {
            keys.push(iter.key().to_vec());
            iter.next()?;
        }
        found.push((replica.range_id, descriptor.generation, replica.applied().index, keys));
    }
    Ok(found)
}

fn ranges(engine: &MemoryEngine) -> Result<Vec<RangeDescriptor>, String> {
    let set = RangeSet::load(engine).map_err(|error| error.to_string())?;
    Ok(set.all().iter().map(|replica| (*replica.descriptor()).clone()).collect())
}

fn tiling_problem(ranges: &[RangeDescriptor]) -> Option<String> {
    let mut next = KEY_MIN;
    for range in ranges {
        if range.span.start != next || range.span.is_empty() {
            return Some(format!("ranges do not tile: {range:?} should begin at {next:02x?}"));
        }
        next = range.span.end.clone();
    }
    (next != KEY_MAX).then(|| format!("ranges end at {next:02x?}"))
}

/// Routing finds what the ranges say of themselves.
async fn meta_problem(context: &Context, ranges: Vec<RangeDescriptor>) -> Option<String> {
    let found = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&found);
    let config = TxnConfig { read_only: true, ..TxnConfig::default() };
    let ended = transact(&context.cluster, &context.violations, config, move |txn| {
        let (ranges, noted) = (ranges.clone(), Arc::clone(&noted));
        Box::pin(async move {
            for range in ranges {
                let stored = txn.get(&meta_key(&range.span.end), ReadOptions::default()).await?;
                let stored = stored.and_then(|bytes| RangeDescriptor::decode(bytes).ok());
                if stored.as_ref() != Some(&range) {
                    *noted.lock() = Some(format!("meta says {stored:?} of {range:?}"));
                }
            }
            Ok(())
        })
    })
    .await;
    match ended {
        Ended::Committed(..) => found.lock().take(),
        other => Some(format!("meta can't be read: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use basalt_env::sim::{SimExecutor, SimRng};

    use super::*;
    use crate::{Parameters, Violations, cluster::Cluster, reached::Reached, trace::Trace};

    #[test]
    fn locks_that_nobody_can_count_are_a_violation() {
        let parameters = Arc::new(Parameters::from_seed(1, 1, None, None));
        let (trace, violations) = (Trace::new(false), Violations::default());
        let executor = SimExecutor::new(1);
        let context = Context {
            cluster: Cluster::new(executor, &parameters, &trace, &violations),
            parameters,
            violations,
            trace,
            rng: Arc::new(SimRng::new(1)),
            events: Arc::new(AtomicU64::new(1)),
            reached: Reached::default(),
        };
        assert!(locks(&context).is_empty());
        assert_eq!(context.violations.take().len(), 1);
    }
}
