//! Crashes under load: the process dies, or the power of its disk fails.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Outcome,
    load::{Fate, Journal, Load, create_tables},
    loop_fs::LoopFs,
    options::Options,
    process::{Launch, Node},
    verify::violations,
    wait::until,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    Kill,
    PowerCut,
}

/// Load, crash, restart, compare; as often as asked, on one store.
pub async fn run(options: &Options, crash: Crash) -> Outcome {
    let rounds: u32 = options.get("rounds", 5)?;
    let writes: usize = options.get("writes", 2_000)?;
    let clients: u32 = options.get("clients", 8)?;
    let disk = match crash {
        Crash::Kill => None,
        Crash::PowerCut => Some(LoopFs::create(&options.folder, options.get("disk-mib", 4_096)?)?),
    };
    let store = disk.as_ref().map_or(options.folder.as_path(), LoopFs::path).join("store");
    let launch = Launch::new(&options.binary, &store, &["--range-max-bytes", "1MiB", "--cache", "64MiB"]);
    let journal = Arc::new(Journal::default());
    let mut node = launch.start()?;
    create_tables(&node.connect().await?).await?;
    let mut failures = Vec::new();
    for round in 1..=rounds {
        // Never the same moment of flushes and splits twice.
        let enough = journal.count(Fate::Acknowledged) + writes + 137 * round as usize;
        let load = Load::start(node.port, clients, &journal);
        let acknowledged = async || Ok(journal.count(Fate::Acknowledged) >= enough);
        until("the writes of a round are acknowledged", PATIENCE, acknowledged).await?;
        match &disk {
            Some(disk) => {
                disk.cut_power()?;
                // Answers given after the cut count too: they must not acknowledge what is lost. The first write to the
                // log fails, and a node without its log has to end.
                until("the node ends without its disk", PATIENCE, async || Ok(!node.is_running()?)).await?;
                load.finish(PATIENCE).await?;
                disk.remount()?;
            }
            None => {
                node.kill()?;
                load.finish(PATIENCE).await?;
            }
        }
        node = launch.start()?;
        failures.extend(report(round, &node, &journal).await?);
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("{} violations", failures.len()).into()) }
}

async fn report(round: u32, node: &Node, journal: &Journal) -> Outcome<Vec<String>> {
    let client = node.connect().await?;
    let begun = Instant::now();
    let found = violations(&client, journal).await?;
    let ranges: i64 = client.query_one("select count(*) from basalt_ranges", &[]).await?.get(0);
    println!(
        "round {round}: {} acknowledged, {} refused, {} unknown, {} retries; {ranges} ranges; started in {:?}, checked in {:?}; {} violations",
        journal.count(Fate::Acknowledged),
        journal.count(Fate::Refused),
        journal.count(Fate::Unknown),
        journal.retries.load(Ordering::Relaxed),
        node.started_in,
        begun.elapsed(),
        found.len(),
    );
    for violation in found.iter().take(10) {
        println!("  {violation}");
    }
    let errors = std::mem::take(&mut *journal.errors.lock().expect("nobody panics with it"));
    let mut counted = std::collections::BTreeMap::<String, usize>::new();
    for error in errors {
        *counted.entry(error).or_default() += 1;
    }
    for (error, count) in counted.iter().take(8) {
        println!("  seen by clients, {count} times: {error}");
    }
    Ok(found)
}
