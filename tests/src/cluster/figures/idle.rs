//! What ranges cost that nobody uses.

use std::time::{Duration, Instant};

use super::fill::{extend, fill};
use crate::{
    chaos::{Outcome, options::Options},
    cluster::real::{Plan, RealCluster},
};

const NODES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(30);
/// A range of one mebibyte is divided in two when it is full, so this makes too few.
const ROWS_PER_RANGE: u64 = 700;

pub async fn run(options: &Options) -> Outcome {
    let wanted: u64 = options.get("ranges", 1_000)?;
    let plan = Plan::new(&options.binary, &options.folder, NODES);
    let mut cluster = RealCluster::start(&plan).await?;
    cluster.whole(NODES, PATIENCE).await?;
    let client = cluster.members[0].connect().await?;
    let mut rows = fill(&client, 1).await?;
    while (cluster.ranges().await?.len() as u64) < wanted {
        let missing = wanted - cluster.ranges().await?.len() as u64;
        let more = (missing * ROWS_PER_RANGE).max(ROWS_PER_RANGE);
        extend(&client, rows, rows + more).await?;
        rows += more;
    }
    drop(client);
    cluster.whole(NODES, PATIENCE).await?;
    // Until splits, moves and compactions are done.
    let mut last = usage(&cluster, Duration::from_secs(5)).await?;
    for _ in 0..24 {
        let now = usage(&cluster, Duration::from_secs(5)).await?;
        if now.iter().zip(&last).all(|(now, last)| (now - last).abs() < 1.0) {
            break;
        }
        last = now;
    }
    let percents = usage(&cluster, WINDOW).await?;
    let ranges = cluster.ranges().await?.len();
    println!("{ranges} idle ranges on {NODES} nodes: {percents:.2?} percent of a processor");
    cluster.stop(2).await?;
    Ok(())
}

/// Of each node, in percent of one processor.
async fn usage(cluster: &RealCluster, window: Duration) -> Outcome<Vec<f64>> {
    let times = || cluster.members.iter().map(|member| member.processor_time()).collect::<Outcome<Vec<_>>>();
    let (before, begun) = (times()?, Instant::now());
    tokio::time::sleep(window).await;
    let (after, elapsed) = (times()?, begun.elapsed());
    let share = |(after, before): (&Duration, &Duration)| {
        100.0 * (*after - *before).as_secs_f64() / elapsed.as_secs_f64()
    };
    Ok(after.iter().zip(&before).map(share).collect())
}
