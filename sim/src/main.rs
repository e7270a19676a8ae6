//! `basalt-sim`: runs seeds and reports violations.

use std::{path::PathBuf, process::ExitCode, thread::available_parallelism, time::Duration};

use basalt_env::Bug;
use basalt_sim::{
    Campaign, Mix, NemesisKind, RUN_TWICE, Reached, Report, RunOptions, Shape, Stall, StallFault, Sums, cost,
    find_all_planted, idle, options_for, run_all, stall,
};
use clap::{Parser, ValueEnum};

/// Every range then survives the loss of one.
const DEFAULT_NODES: u64 = 3;
/// Of virtual time.
const DEFAULT_MINUTES: f64 = 10.0;

#[derive(Clone, Copy, ValueEnum)]
enum WorkloadChoice {
    Bank,
    Register,
    Both,
    /// Rows that everybody writes without reading them.
    Hot,
}

/// Simulates a cluster under faults. Equal seeds give equal runs.
#[derive(Parser)]
#[command(name = "basalt-sim", version)]
struct Arguments {
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// A range of seeds, the last one included; 1..100 if nothing is said.
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Goes on with further seeds until so many minutes have passed since the beginning.
    #[arg(long)]
    minutes: Option<f64>,
    /// How long faults go on in each run, in minutes of virtual time: ten if neither this nor --nodes is said; with --nodes alone, the
    /// seconds that each seed draws.
    #[arg(long, value_name = "MINUTES")]
    length: Option<f64>,
    /// Nodes of the cluster: three if nothing is said, one with `--planted NAME`.
    #[arg(long)]
    nodes: Option<u64>,
    /// Keeps the run to these faults, of all that the seed draws; the network and the disks stay as slow as they are.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = parse_nemesis)]
    nemesis: Option<Vec<NemesisKind>>,
    /// Instead of the one that each seed draws.
    #[arg(long)]
    workload: Option<WorkloadChoice>,
    /// Whether the workloads for rare cases run. Instead of what each seed draws.
    #[arg(long)]
    corners: Option<bool>,
    /// Clusters that are busy on few keys while their leases move.
    #[arg(long)]
    leases_only: bool,
    /// Runs each seed, or the first COUNT, twice and compares the hashes.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "18446744073709551615")]
    check_determinism: Option<u64>,
    /// Fails if anything that runs of the kind should come to has happened in none.
    #[arg(long)]
    every_kind: bool,
    /// Switches on a deliberate bug (build with `--features planted`); runs without a violation then fail. Without a name:
    /// looks for every one, and prints which seed finds it.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    planted: Option<String>,
    /// Prints what transactions cost, and runs no seed.
    #[arg(long)]
    costs: bool,
    /// Prints what so many ranges cost three nodes that nobody uses, and runs no seed.
    #[arg(long, value_name = "RANGES")]
    idle: Option<u64>,
    /// Prints how long clients wait for an answer when a node or a way between two nodes fails, each fault with the seeds that
    /// are named; with `--trace`, the errors of the worst.
    #[arg(long)]
    stalls: bool,
    /// Prints the events of clients and faults, and what the nodes log, with the virtual time.
    #[arg(long)]
    trace: bool,
    /// Seeds that run at the same time. As many as there are processors, if it is not said.
    #[arg(long)]
    threads: Option<usize>,
    /// Writes one line a seed to this file, and leaves out the seeds that it has already.
    #[arg(long, value_name = "FILE")]
    campaign: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn start(arguments: &Arguments) -> Result<bool, String> {
    let (first, last) = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => (seed, seed),
        (None, Some(seeds)) => parse_range(seeds)?,
        (None, None) if arguments.minutes.is_some() => (1, 1),
        (None, None) => (1, 100),
    };
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = arguments.threads.unwrap_or(processors);
    let bug = match &arguments.planted {
        Some(_) if !cfg!(feature = "planted") => {
            return Err("no bug can be planted: build with `--features planted`".to_owned());
        }
        Some(name) if name.is_empty() => return Ok(print_planted_table(threads)),
        Some(name) => Some(Bug::from_name(name).ok_or(format!("no planted bug is named {name}"))?),
        None => None,
    };
    if arguments.costs {
        print_costs();
        return Ok(true);
    }
    if let Some(ranges) = arguments.idle {
        print_idle(ranges);
        return Ok(true);
    }
    if arguments.stalls {
        return Ok(print_stalls(first, last, arguments.trace));
    }
    let mix = arguments.workload.map(|choice| match choice {
        WorkloadChoice::Bank => Mix::Bank,
        WorkloadChoice::Register => Mix::Register,
        WorkloadChoice::Both => Mix::Both,
        WorkloadChoice::Hot => Mix::Hot,
    });
    let minutes = |minutes: f64| Duration::from_secs_f64(minutes.max(0.0) * 60.0);
    let nodes = arguments.nodes.unwrap_or(if bug.is_some() { 1 } else { DEFAULT_NODES });
    // Who says nothing, or asks for faults that only long runs have, sees all of them.
    let is_short =
        bug.is_some() || arguments.leases_only || arguments.nodes.is_some() && arguments.nemesis.is_none();
    let length = arguments.length.or((!is_short).then_some(DEFAULT_MINUTES)).map(minutes);
    let single = first == last && arguments.minutes.is_none();
    let campaign = Campaign {
        options: RunOptions {
            seed: first,
            nodes,
            mix,
            corners: arguments.corners,
            leases_only: arguments.leases_only,
            nemeses: arguments.nemesis.clone(),
            length,
            lease_duration: bug.and_then(|bug| options_for(bug).lease_duration),
            txn_expiry: bug.and_then(|bug| options_for(bug).txn_expiry),
            bug,
            print: arguments.trace,
        },
        first,
        last,
        threads: if arguments.trace || bug.is_some() { 1 } else { threads },
        time: arguments.minutes.map(minutes),
        twice: arguments.check_determinism.unwrap_or(0),
        stop_at_violation: bug.is_some(),
    };
    if arguments.trace {
        basalt_sim::trace::print_logs();
    }
    let started = std::time::Instant::now();
    let show = |report: &Report| {
        if single || !report.violations.is_empty() {
            print(report);
        }
    };
    let sums = run_all(&campaign, arguments.campaign.as_deref(), show).map_err(|error| error.to_string())?;
    if bug.is_some() {
        if let Some(seed) = sums.failed.first() {
            println!("planted bug found at seed {seed}, run {}", sums.runs);
        }
        return Ok(!sums.failed.is_empty());
    }
    let missing = print_sums(arguments, (nodes, length.is_some()), first, &sums, started.elapsed());
    if arguments.every_kind && !missing.is_empty() {
        println!("never happened: {}", missing.join(", "));
        return Ok(false);
    }
    Ok(sums.failed.is_empty())
}

/// Returns what has never happened.
fn print_sums(
    arguments: &Arguments,
    (nodes, is_long): (u64, bool),
    first: u64,
    sums: &Sums,
    elapsed: Duration,
) -> Vec<&'static str> {
    println!(
        "{} seeds from {first}, {} with violations {:?}; {} commits, {} crashes, {:.1} s",
        sums.runs,
        sums.failed.len(),
        sums.failed,
        sums.get("commits"),
        sums.get("crashes"),
        elapsed.as_secs_f64()
    );
    let seconds = |name| sums.get(name) as f64 / 1e3;
    let busy = if sums.get("cpu ms") > 0 { "cpu ms" } else { "real ms" };
    println!(
        "{:.1} virtual hours, of these {:.1} with faults; {:.0} virtual seconds in one of a processor",
        seconds("virtual ms") / 3600.0,
        seconds("ms with faults") / 3600.0,
        seconds("virtual ms") / seconds(busy).max(1e-3)
    );
    let corners: Vec<&str> = match (nodes, is_long) {
        (0..2, _) => Reached::of_one_node().skip(Reached::ALL.len()).collect(),
        (_, false) => Reached::of_clusters().collect(),
        (_, true) => Reached::of_long_runs().collect(),
    };
    let twice = arguments.check_determinism.map(|_| RUN_TWICE);
    let kinds: Vec<&'static str> = Reached::ALL.into_iter().chain(corners).chain(twice).collect();
    for what in &kinds {
        println!("  {:>7} {what}", sums.get(what));
    }
    kinds.into_iter().filter(|what| sums.get(what) == 0).collect()
}

fn print_costs() {
    println!(
        "| transaction | delays | of these, commit | entries | requests | Raft messages | syncs | bytes of the logs | \
         bytes between nodes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for shape in Shape::ALL {
        let cost = cost(shape);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            shape.name(),
            cost.delays,
            cost.commit_delays,
            cost.entries,
            cost.requests,
            cost.messages,
            cost.syncs,
            cost.log_bytes,
            cost.network_bytes
        );
    }
}

fn print_idle(ranges: u64) {
    println!("{ranges} idle ranges on three nodes, in a minute of the cluster:");
    println!(
        "| leases and replicas | messages | of these, Raft | KiB | processor | moves until then | led by one node |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, balances) in [("left as they are", false), ("balanced", true)] {
        let idle = idle(ranges, balances);
        println!(
            "| {name} | {} | {} | {} | {:.0} ms | {} | {} to {} |",
            idle.messages,
            idle.raft_messages,
            idle.bytes >> 10,
            idle.busy.as_secs_f64() * 1e3,
            idle.moves,
            idle.led_least,
            idle.led_most
        );
    }
}

/// Whether all goals are met.
fn print_stalls(first: u64, last: u64, errors: bool) -> bool {
    println!("| fault | seeds | longest wait | median | goal | seed of the longest |");
    println!("|---|---|---|---|---|---|");
    let mut met = true;
    for fault in StallFault::ALL {
        let mut stalls: Vec<(u64, Stall)> = (first..=last).map(|seed| (seed, stall(fault, seed))).collect();
        stalls.sort_by_key(|(_, stall)| fault.figure(stall));
        let Some((seed, worst)) = stalls.last() else { continue };
        let seconds = |stall: &Stall| fault.figure(stall).as_secs_f64();
        met &= fault.figure(worst) <= fault.goal();
        println!(
            "| {fault:?} | {} | {:.1} s | {:.1} s | {} s | {seed} |",
            stalls.len(),
            seconds(worst),
            seconds(&stalls[stalls.len() / 2].1),
            fault.goal().as_secs()
        );
        if errors {
            worst.errors.iter().for_each(|error| println!("  {error}"));
        }
    }
    met
}

/// Whether all are found.
fn print_planted_table(threads: usize) -> bool {
    println!("{:<24} {:>5} {:>6} {:>5}  what is seen", "bug", "nodes", "kind", "seed");
    let mut all = true;
    for (bug, found) in find_all_planted(threads) {
        all &= found.is_some();
        let (seed, what) =
            found.map_or(("-".to_owned(), String::new()), |(seed, what)| (seed.to_string(), what));
        let what: String = what.lines().next().unwrap_or_default().chars().take(100).collect();
        let options = options_for(bug);
        let kind = if options.leases_only { "leases" } else { "" };
        println!("{:<24} {:>5} {kind:>6} {seed:>5}  {what}", bug.name(), options.nodes);
    }
    all
}

fn print(report: &Report) {
    println!(
        "seed {}: hash {:016x}, {} events, {} commits, {} crashes, {} ranges, {:.1} virtual seconds",
        report.seed,
        report.hash,
        report.events,
        report.commits,
        report.crashes,
        report.ranges,
        report.virtual_time.as_secs_f64()
    );
    println!("  {:?}", report.parameters);
    for violation in &report.violations {
        println!("  VIOLATION {violation}");
    }
}

fn parse_nemesis(name: &str) -> Result<NemesisKind, String> {
    let names = || NemesisKind::ALL.map(NemesisKind::name).join(", ");
    NemesisKind::from_name(name).ok_or_else(|| format!("the faults are {}", names()))
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let parse = |part: &str| part.trim().parse::<u64>().ok();
    let range = text.split_once("..").and_then(|(first, last)| Some((parse(first)?, parse(last)?)));
    range.filter(|(first, last)| first <= last).ok_or(format!("not a range of seeds: {text}"))
}
