//! `basalt-chaos SCENARIO --binary PATH [--flag value]...`: faults on real nodes, judged from outside.

use std::process::ExitCode;

use basalt_tests::{
    chaos::{
        Outcome, clients,
        crash::{self, Crash},
        damage, disk_full,
        loop_fs::LoopFs,
        options::Options,
        order, volume,
    },
    cluster::{campaign::campaign, figures},
};

const SCENARIOS: &str = "scenarios:
  kill9      kill -9 under load          [--rounds 5 --writes 2000 --clients 8]
  powercut   power cuts under load, root [--rounds 5 --writes 2000 --clients 8 --disk-mib 4096]
  disks      whether this machine has what power cuts need
  order      no reply before its sync    [--commits 60]
  diskfull   a disk that fills up, root  [--disk-mib 400]
  damage     flipped bytes, two processes on one store
  clients    garbage, vanished clients, many connections [--connections 250]
  volume     many rows under a memory cap, root [--rows 1000000 --memory-mib 1024]
  cluster    faults on clusters under checked workloads
             [--minutes 10 --nodes 3 --nemesis all --workload all --seconds 60 --clients 8 --hold 6 --first 0]
  failover   longest stall of clients, by fault [--trials 9 --mode all --hold 12]
  recovery   restart of all nodes, a wiped node [--mebibytes 1024 --range-max-bytes 64MiB]
  idle       processor of idle ranges           [--ranges 1000]
everywhere: --binary PATH (or BASALT_BINARY), --folder PATH";

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    // What is under way is dropped: its processes end, its file systems are unmounted.
    let ended = tokio::select! {
        biased;
        name = interrupted() => Err(format!("interrupted by {name}").into()),
        ended = run() => ended,
    };
    match ended {
        Ok(()) => {
            println!("passed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> &'static str {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

async fn run() -> Outcome {
    let options = Options::from_command_line()?;
    match options.scenario.as_str() {
        "kill9" => crash::run(&options, Crash::Kill).await,
        "powercut" => crash::run(&options, Crash::PowerCut).await,
        "disks" => LoopFs::probe(&options.folder),
        "order" => order::run(&options).await,
        "diskfull" => disk_full::run(&options).await,
        "damage" => damage::run(&options).await,
        "clients" => clients::run(&options).await,
        "volume" => volume::run(&options).await,
        "cluster" => campaign(&options).await,
        "failover" => figures::failover::run(&options).await,
        "recovery" => figures::recovery::run(&options).await,
        "idle" => figures::idle::run(&options).await,
        other => Err(format!("no scenario {other}\n{SCENARIOS}").into()),
    }
}
