//! All nodes restarted: the first answer. A node that comes back empty: when it holds everything again.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::fill::fill;
use crate::{
    chaos::{Outcome, options::Options},
    cluster::{
        member::within,
        real::{Plan, RealCluster},
        status::rows,
    },
};

const NODES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn run(options: &Options) -> Outcome {
    let mebibytes: u64 = options.get("mebibytes", 1_024)?;
    let mut plan = Plan::new(&options.binary, &options.folder, NODES);
    plan.set("--range-max-bytes", &options.get("range-max-bytes", "64MiB".to_owned())?);
    plan.set("--cache", "128MiB");
    let mut cluster = RealCluster::start(&plan).await?;
    cluster.whole(NODES, PATIENCE).await?;
    let begun = Instant::now();
    let count = fill(&cluster.members[0].connect().await?, mebibytes).await?;
    cluster.whole(NODES, PATIENCE).await?;
    let ranges = cluster.ranges().await?.len();
    println!("{mebibytes} MiB in {:.0} s, {ranges} ranges", begun.elapsed().as_secs_f64());

    for node in 0..NODES {
        cluster.kill(node)?;
    }
    let begun = Instant::now();
    for node in 0..NODES {
        cluster.spawn(node)?;
    }
    let port = cluster.sql_ports()[0];
    let answer = within(PATIENCE, async {
        loop {
            let read = async {
                let client = crate::chaos::process::connect(port).await?;
                let query = format!("select length(pad) from big where id = {}", count / 2);
                rows(&client, &query).await.map_err(Into::into)
            };
            let read: Outcome<_> = within(Duration::from_secs(20), read).await;
            match read {
                Ok(rows) if rows.len() == 1 => return Ok(begun.elapsed()),
                Ok(rows) => return Err(format!("{} rows instead of one", rows.len()).into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    println!("all killed and started: first answer after {:.2} s", answer.await?.as_secs_f64());
    cluster.start_missing().await?;
    let whole = cluster.whole(NODES, PATIENCE).await?;
    println!("whole after another {:.2} s", whole.as_secs_f64());

    cluster.kill(2)?;
    fs::remove_dir_all(&cluster.members[2].site.store)?;
    let begun = Instant::now();
    cluster.start_node(2).await?;
    cluster.whole(NODES, PATIENCE).await?;
    println!("a node that comes back empty holds everything after {:.1} s", begun.elapsed().as_secs_f64());
    let client = cluster.members[2].connect().await?;
    let counted = rows(&client, "select count(*) from big").await?;
    if counted != [[Some(count.to_string())]] {
        return Err(format!("{counted:?} rows of {count}").into());
    }
    Ok(())
}
