//! Waiting for what a scenario is about, instead of for a time in which it has mostly happened.

use std::time::{Duration, Instant};

use super::{Outcome, process::Node};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `holds`; an error that names `what` once `patience` is over.
pub async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> Outcome<bool>) -> Outcome {
    let deadline = Instant::now() + patience;
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        looks.tick().await;
        if holds().await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("not within {patience:?}: {what}").into());
        }
    }
}

/// The share of a processor that the node uses over `window`, in percent.
pub async fn processor_percent(node: &Node, window: Duration) -> Outcome<f64> {
    let (before, begun) = (node.processor_time()?, Instant::now());
    // A share is one of a time: this is what is measured, not what is waited for.
    let mut ends = tokio::time::interval(window);
    ends.tick().await;
    ends.tick().await;
    Ok(100.0 * (node.processor_time()? - before).as_secs_f64() / begun.elapsed().as_secs_f64())
}
