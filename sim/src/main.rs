//! `basalt-sim`: runs seeds and reports violations.

use std::{collections::BTreeMap, process::ExitCode};

use basalt_env::{Bug, Clock, os::OsClock};
use basalt_sim::{
    Mix, PLANTED_SEEDS_MAX, Reached, Report, RunOptions, Shape, cost, find_planted, nodes_for, run,
};
use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, ValueEnum)]
enum WorkloadChoice {
    Bank,
    Register,
    Both,
}

/// Simulates a node under faults. Equal seeds give equal runs.
#[derive(Parser)]
#[command(name = "basalt-sim", version)]
struct Arguments {
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// A range of seeds, the last one included.
    #[arg(long, value_name = "A..B", default_value = "1..100")]
    seeds: String,
    /// Goes on with further seeds until so many minutes have passed.
    #[arg(long)]
    minutes: Option<f64>,
    /// How long faults go on in each run, in minutes of virtual time. Instead of what each seed draws.
    #[arg(long, value_name = "MINUTES")]
    length: Option<f64>,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 1)]
    nodes: u64,
    /// Instead of the one that each seed draws.
    #[arg(long)]
    workload: Option<WorkloadChoice>,
    /// Whether the workloads for rare cases run. Instead of what each seed draws.
    #[arg(long)]
    corners: Option<bool>,
    /// Runs each seed twice and compares the hashes.
    #[arg(long)]
    check_determinism: bool,
    /// Switches on a deliberate bug (build with `--features planted`); a run without a violation then fails.
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
    /// Looks for every deliberate bug and prints which seed finds it.
    #[arg(long)]
    planted_table: bool,
    /// Prints what transactions cost, and runs no seed.
    #[arg(long)]
    costs: bool,
    /// Prints the events of clients and faults.
    #[arg(long)]
    trace: bool,
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
    let (first, last) = match arguments.seed {
        Some(seed) => (seed, seed),
        None => parse_range(&arguments.seeds)?,
    };
    let plants = arguments.planted.is_some() || arguments.planted_table;
    let bug = match &arguments.planted {
        _ if plants && !cfg!(feature = "planted") => {
            return Err("no bug can be planted: build with `--features planted`".to_owned());
        }
        Some(name) => Some(Bug::from_name(name).ok_or(format!("no planted bug is named {name}"))?),
        None => None,
    };
    if arguments.planted_table {
        return Ok(print_planted_table());
    }
    if arguments.costs {
        print_costs();
        return Ok(true);
    }
    let mix = arguments.workload.map(|choice| match choice {
        WorkloadChoice::Bank => Mix::Bank,
        WorkloadChoice::Register => Mix::Register,
        WorkloadChoice::Both => Mix::Both,
    });
    let clock = OsClock::default();
    let enough = |seed: u64| match arguments.minutes {
        Some(minutes) => clock.monotonic().as_secs_f64() > minutes * 60.0,
        None => seed > last,
    };
    let single = first == last;
    let (mut runs, mut failed) = (0_u64, 0_u64);
    let (mut commits, mut crashes) = (0, 0);
    let mut reached = BTreeMap::<&str, u64>::new();
    let mut seed = first;
    while !enough(seed) {
        let nodes = arguments.nodes;
        let options = RunOptions {
            seed,
            nodes,
            mix,
            corners: arguments.corners,
            length: arguments.length.map(|minutes| std::time::Duration::from_secs_f64(minutes * 60.0)),
            bug,
            print: arguments.trace,
        };
        let mut report = run(&options);
        if arguments.check_determinism {
            let again = run(&RunOptions { print: false, ..options.clone() });
            if again.hash != report.hash {
                let (one, two) = (report.hash, again.hash);
                report.violations.push(format!("two runs differ: {one:016x} and {two:016x}"));
            }
        }
        (runs, commits, crashes) = (runs + 1, commits + report.commits, crashes + report.crashes);
        for (what, count) in &report.reached {
            *reached.entry(*what).or_default() += count;
        }
        if single || !report.violations.is_empty() {
            print(&report);
        }
        if !report.violations.is_empty() {
            failed += 1;
            if bug.is_some() {
                println!("planted bug found at seed {seed}, run {runs}");
                return Ok(true);
            }
        }
        seed += 1;
    }
    let seconds = clock.monotonic().as_secs_f64();
    println!(
        "{runs} seeds from {first}, {failed} with violations; {commits} commits, {crashes} crashes, {seconds:.1} s"
    );
    let corners: Vec<&str> = match (arguments.nodes, arguments.length) {
        (0..2, _) => Vec::new(),
        (_, None) => Reached::of_clusters().collect(),
        (_, Some(_)) => Reached::of_long_runs().collect(),
    };
    for what in Reached::ALL.into_iter().chain(corners) {
        println!("  {:>7} {what}", reached.get(what).copied().unwrap_or(0));
    }
    Ok(failed == 0 && bug.is_none())
}

fn print_costs() {
    println!("| transaction | delays | of these, commit | entries | requests | Raft messages | syncs |");
    println!("|---|---|---|---|---|---|---|");
    for shape in Shape::ALL {
        let cost = cost(shape);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            shape.name(),
            cost.delays,
            cost.commit_delays,
            cost.entries,
            cost.requests,
            cost.messages,
            cost.syncs
        );
    }
}

/// Whether all are found.
fn print_planted_table() -> bool {
    println!("{:<24} {:>5} {:>5}  what is seen", "bug", "nodes", "seed");
    let mut all = true;
    for bug in Bug::ALL {
        let found = find_planted(bug, PLANTED_SEEDS_MAX);
        all &= found.is_some();
        let (seed, what) =
            found.map_or(("-".to_owned(), String::new()), |(seed, what)| (seed.to_string(), what));
        let what: String = what.chars().take(100).collect();
        println!("{:<24} {:>5} {seed:>5}  {what}", bug.name(), nodes_for(bug));
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

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let parse = |part: &str| part.trim().parse::<u64>().ok();
    let range = text.split_once("..").and_then(|(first, last)| Some((parse(first)?, parse(last)?)));
    range.filter(|(first, last)| first <= last).ok_or(format!("not a range of seeds: {text}"))
}
