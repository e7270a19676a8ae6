//! What must be true of healed nodes that nobody uses any more.

use std::sync::Arc;

use basalt_base::keys::{KEY_MAX, KEY_MIN, meta_key};
use basalt_kv::replica::RangeDescriptor;
use basalt_txn::{ReadOptions, TxnConfig};

use parking_lot::Mutex;

use super::survey::Survey;
use crate::workload::{Context, Ended, transact};

/// With a pause after each.
const ATTEMPTS: u32 = 300;

/// Keys with a provisional value or a replicated lock, whoever holds it. That they can't be read is a violation.
pub fn locks(context: &Context) -> Vec<Vec<u8>> {
    let survey = Survey::take(&context.cluster).and_then(Survey::complete);
    let keys = survey.and_then(|survey| {
        let keys = survey.newest().map(|copy| copy.locks().map_err(|error| error.to_string()));
        keys.collect::<Result<Vec<_>, _>>()
    });
    match keys {
        Ok(keys) => keys.into_iter().flatten().collect(),
        Err(problem) => {
            context.violations.report(format!("locks can't be counted: {problem}"));
            Vec::new()
        }
    }
}

/// The ranges tile the key space, and meta says so, a while after the last fault.
pub async fn check_ranges(context: &Context) {
    let mut problem = None;
    for _ in 0..ATTEMPTS {
        // Again each time: replicas are still being added and moved.
        problem = match Survey::take(&context.cluster)
            .and_then(Survey::complete)
            .map(|survey| survey.descriptors())
        {
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
