//! Many runs, one after another, each on a cluster of its own; and their table.

use std::{
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

use super::{
    failure::by_state,
    nemesis::Nemesis,
    real::Plan,
    run::{Report, Setting, run},
    workload::Kind,
};
use crate::chaos::{Outcome, options::Options};

/// `basalt-chaos cluster`: every nemesis with a workload that changes from round to round, until the time is over.
pub async fn campaign(options: &Options) -> Outcome {
    let minutes: f64 = options.get("minutes", 10.0)?;
    let nodes: usize = options.get("nodes", 3)?;
    let nemeses = match options.get("nemesis", "all".to_owned())?.as_str() {
        "all" => Nemesis::ALL.to_vec(),
        names => names.split(',').map(Nemesis::named).collect::<Outcome<_>>()?,
    };
    let workloads = match options.get("workload", "all".to_owned())?.as_str() {
        "all" => Kind::ALL.to_vec(),
        names => names.split(',').map(Kind::named).collect::<Outcome<_>>()?,
    };
    let (nemeses, left_out): (Vec<_>, Vec<_>) =
        nemeses.into_iter().partition(|nemesis| is_root() || !nemesis.needs_disks());
    for nemesis in &left_out {
        println!("skipped: {} needs root for file systems of its own", nemesis.name());
    }
    if nemeses.is_empty() {
        return Ok(());
    }
    let setting = |nemesis, workload| -> Outcome<Setting> {
        Ok(Setting {
            workload,
            nemesis,
            time: Duration::from_secs(options.get("seconds", 60)?),
            clients: options.get("clients", 2 * nodes + 2)?,
            hold: Duration::from_secs_f64(options.get("hold", 6.0)?),
            acknowledged_min: options.get("acknowledged", 1_000)?,
        })
    };
    let begun = Instant::now();
    let mut reports: Vec<Report> = Vec::new();
    let mut broken = Vec::new();
    for number in options.get("first", 0_usize)?.. {
        if begun.elapsed().as_secs_f64() > minutes * 60.0 {
            break;
        }
        // Every nemesis in turn; the workload moves on by one in each round, so that all pairs come.
        let nemesis = nemeses[number % nemeses.len()];
        let workload = workloads[(number + number / nemeses.len()) % workloads.len()];
        let folder = options.folder.join(format!("run{number}"));
        let setting = setting(nemesis, workload)?;
        let plan = Plan::new(&options.binary, &folder, nodes);
        match run(&plan, &setting).await {
            Ok(report) => {
                print!("{}", describe(number, &report));
                if report.violations.is_empty() {
                    fs::remove_dir_all(&folder)?;
                }
                reports.push(report);
            }
            Err(error) => {
                println!("run {number}: {} with {}: {error}", nemesis.name(), workload.name());
                broken.push(number);
            }
        }
    }
    println!("{}", table(&reports));
    let violations: usize = reports.iter().map(|report| report.violations.len()).sum();
    println!(
        "{} runs, {} acknowledged, {violations} violations, {} broken off, {} kinds skipped",
        reports.len(),
        reports.iter().map(|report| report.tally.acknowledged).sum::<usize>(),
        broken.len(),
        left_out.len()
    );
    if violations > 0 || !broken.is_empty() {
        return Err(format!("stores and logs are kept in {}", options.folder.display()).into());
    }
    Ok(())
}

pub fn is_root() -> bool {
    // SAFETY: the call reads a number of this process.
    unsafe { libc::geteuid() == 0 }
}

pub fn describe(number: usize, report: &Report) -> String {
    let mut text = format!(
        "run {number}: {} with {} on {} nodes: {} acknowledged, {} failed, {} unknown, longest stall {:.1} s (machine {:.1} s)\n",
        report.nemesis.name(),
        report.workload.name(),
        report.nodes,
        report.tally.acknowledged,
        report.tally.failed,
        report.tally.unknown,
        report.longest_stall.as_secs_f64(),
        report.machine_stall.as_secs_f64(),
    );
    let summary = format!("  instead of answers: {}", by_state(&report.failures));
    let faults = report.faults.iter().map(|fault| format!("  fault: {fault}"));
    let failures = report.failures.iter().map(|(failure, count)| format!("  {count} times: {failure}"));
    let violations = report.violations.iter().map(|violation| format!("  VIOLATION: {violation}"));
    for line in std::iter::once(summary).chain(faults).chain(failures).chain(violations) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// One line for each nemesis and number of nodes.
pub fn table(reports: &[Report]) -> String {
    let mut text = "| nemesis | workloads | nodes | runs | faults | acknowledged | failed | unknown | instead of answers | longest stall | violations |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for nemesis in Nemesis::ALL {
        for nodes in [3, 5] {
            let of_it: Vec<&Report> =
                reports.iter().filter(|report| report.nemesis == nemesis && report.nodes == nodes).collect();
            let Some(longest) = of_it.iter().map(|report| report.longest_stall).max() else { continue };
            let sum = |count: fn(&Report) -> usize| of_it.iter().map(|report| count(report)).sum::<usize>();
            let mut workloads: Vec<&str> = of_it.iter().map(|report| report.workload.name()).collect();
            workloads.sort_unstable();
            workloads.dedup();
            writeln!(
                text,
                "| {} | {} | {nodes} | {} | {} | {} | {} | {} | {} | {:.1} s | {} |",
                nemesis.name(),
                workloads.join(", "),
                of_it.len(),
                sum(|report| report.faults.len()),
                sum(|report| report.tally.acknowledged),
                sum(|report| report.tally.failed),
                sum(|report| report.tally.unknown),
                by_state(of_it.iter().flat_map(|report| &report.failures)),
                longest.as_secs_f64(),
                sum(|report| report.violations.len()),
            )
            .expect("writing to a string does not fail");
        }
    }
    text
}
