//! How long clients wait for an answer when the node with most leases fails.
//!
//! Two figures, because two things happen. Clients of other nodes wait until the leases have moved. Clients of the node that
//! fails have to notice it first, which is up to them when it says nothing: here they give up after their own patience.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    chaos::{Outcome, options::Options},
    cluster::{
        campaign::is_root,
        nemesis::Nemesis,
        real::{Plan, RealCluster},
        recorder::Recorder,
        run::{Heartbeat, Load},
        workload::{Kind, Workload},
    },
};

const MODES: [Nemesis; 4] = [Nemesis::KillOne, Nemesis::Freeze, Nemesis::Ring, Nemesis::DiskStall];
const NODES: usize = 3;
const CLIENTS: usize = 6;
const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(90);

struct Trial {
    others: Duration,
    own: Duration,
    machine: Duration,
}

pub async fn run(options: &Options) -> Outcome {
    let trials: usize = options.get("trials", 9)?;
    let hold = Duration::from_secs_f64(options.get("hold", 12.0)?);
    let modes = match options.get("mode", "all".to_owned())?.as_str() {
        "all" => MODES.to_vec(),
        names => names.split(',').map(Nemesis::named).collect::<Outcome<_>>()?,
    };
    let mut table = "| fault of the node with most leases | trials | longest stall through other nodes | median | longest stall of its own clients |\n|---|---|---|---|---|\n".to_owned();
    for mode in modes {
        if mode.needs_disks() && !is_root() {
            println!("skipped: {} needs root for file systems of its own", mode.name());
            continue;
        }
        let mut plan = Plan::new(&options.binary, &options.folder.join(mode.name()), NODES);
        plan.disks = mode.needs_disks().then_some(1_024);
        let mut cluster = RealCluster::start(&plan).await?;
        cluster.whole(NODES, PATIENCE).await?;
        let workload = Arc::new(Workload::new(Kind::Register));
        workload.create(&cluster.members[0].connect().await?).await?;
        let mut stalls = Vec::new();
        for number in 0..trials {
            let trial = one(&mut cluster, mode, hold, &workload).await?;
            println!(
                "{} {number}: {:.2} s through other nodes, {:.2} s through the victim (machine {:.2} s)",
                mode.name(),
                trial.others.as_secs_f64(),
                trial.own.as_secs_f64(),
                trial.machine.as_secs_f64()
            );
            stalls.push(trial);
        }
        let mut others: Vec<Duration> = stalls.iter().map(|trial| trial.others).collect();
        others.sort_unstable();
        let own = stalls.iter().map(|trial| trial.own).max().unwrap_or_default();
        table.push_str(&format!(
            "| {} | {trials} | {:.2} s | {:.2} s | {:.2} s |\n",
            mode.name(),
            others.last().copied().unwrap_or_default().as_secs_f64(),
            others.get(others.len() / 2).copied().unwrap_or_default().as_secs_f64(),
            own.as_secs_f64()
        ));
    }
    println!("{table}");
    Ok(())
}

async fn one(
    cluster: &mut RealCluster,
    mode: Nemesis,
    hold: Duration,
    workload: &Arc<Workload>,
) -> Outcome<Trial> {
    cluster.whole(NODES, PATIENCE).await?;
    cluster.learn_ids().await?;
    let recorder = Arc::new(Recorder::default());
    let load = Load::start(cluster, CLIENTS, workload, &recorder);
    tokio::time::sleep(SETTLE).await;
    let victim = cluster.busiest().await?;
    let heartbeat = Heartbeat::start();
    let begun = Instant::now();
    let shown = mode.inflict_on(victim, cluster, hold).await?;
    let ended = Instant::now();
    let machine = heartbeat.stop();
    println!("  {shown}");
    load.finish().await?;
    // Each client begins with the node of its own number.
    let (own, others): (Vec<usize>, Vec<usize>) =
        (0..CLIENTS).partition(|client| client % cluster.len() == victim);
    let stall = |clients: &[usize]| recorder.longest_stall(clients, begun, ended);
    Ok(Trial { others: stall(&others), own: stall(&own), machine })
}
