//! What must be true of healed nodes that nobody uses any more.

use std::collections::BTreeMap;

use basalt_base::{
    RangeId,
    keys::{KEY_MAX, KEY_MIN, meta_key},
};
use basalt_kv::replica::{RangeDescriptor, RangeSet};
use basalt_storage::{Family, IterOptions, MemoryEngine, Reader};
use basalt_txn::{ReadOptions, TxnConfig};

use crate::workload::{Context, Ended, transact};

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

/// The ranges tile the key space, and meta says so.
pub async fn check_ranges(context: &Context) {
    // The newest that any node knows of each range.
    let mut newest: BTreeMap<RangeId, RangeDescriptor> = BTreeMap::new();
    for node in context.cluster.nodes() {
        match node.with_running(|_, engine| ranges(engine)) {
            Some(Ok(ranges)) => {
                for range in ranges {
                    let known = newest.entry(range.range_id).or_insert_with(|| range.clone());
                    if known.generation < range.generation {
                        *known = range;
                    }
                }
            }
            Some(Err(error)) => context.violations.report(format!("ranges can't be read: {error}")),
            None => context.violations.report("a node is down after the run"),
        }
    }
    let mut ranges: Vec<RangeDescriptor> = newest.into_values().collect();
    ranges.sort_by(|one, other| one.span.start.cmp(&other.span.start));
    check_tiling(context, &ranges);
    check_meta(context, ranges).await;
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

fn check_tiling(context: &Context, ranges: &[RangeDescriptor]) {
    let mut next = KEY_MIN;
    for range in ranges {
        if range.span.start != next || range.span.is_empty() {
            context.violations.report(format!("ranges do not tile: {range:?} should begin at {next:02x?}"));
            return;
        }
        next = range.span.end.clone();
    }
    if next != KEY_MAX {
        context.violations.report(format!("ranges end at {next:02x?}"));
    }
}

/// Routing finds what the ranges say of themselves.
async fn check_meta(context: &Context, ranges: Vec<RangeDescriptor>) {
    for _ in 0..10 {
        let ranges = ranges.clone();
        let violations = context.violations.clone();
        let config = TxnConfig { read_only: true, ..TxnConfig::default() };
        let ended = transact(&context.cluster, &context.violations, config, move |txn| {
            let (ranges, violations) = (ranges.clone(), violations.clone());
            Box::pin(async move {
                for range in ranges {
                    let stored = txn.get(&meta_key(&range.span.end), ReadOptions::default()).await?;
                    let stored = stored.and_then(|bytes| RangeDescriptor::decode(bytes).ok());
                    if stored.as_ref() != Some(&range) {
                        violations.report(format!("meta says {stored:?} of {range:?}"));
                    }
                }
                Ok(())
            })
        })
        .await;
        if matches!(ended, Ended::Committed(..)) {
            return;
        }
        context.cluster.pause().await;
    }
    context.violations.report("meta can't be read");
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
