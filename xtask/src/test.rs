//! `./x test` and `./x ci`.

use std::{ffi::OsString, process::Command};

use crate::{
    build,
    node::{self, Scratch},
    process::{Result, cargo, run},
    stages::Stages,
};

/// The slice of simulations that the continuous integration runs: never fewer than sixty seeds of five nodes with ten
/// virtual minutes of faults each, and more of them until ten minutes are over; ten of them twice. Everything that such
/// runs are for must happen in some.
const CI_SIMULATIONS: [&str; 11] = [
    "--nodes",
    "5",
    "--length",
    "10",
    "--seeds",
    "7001..7060",
    "--minutes",
    "10",
    "--check-determinism",
    "10",
    "--every-kind",
];

/// The power of a node's disk is cut under load, again and again: what was acknowledged must be there.
const CI_POWER_CUTS: [&str; 6] = ["--rounds", "3", "--writes", "2000", "--disk-mib", "1024"];

/// What the continuous integration adds to the tests: power cuts, where the machine lets it, and long simulations.
pub fn ci() -> Result<()> {
    let mut stages = Stages::default();
    stages.run("build of the programs", build)?;
    match no_disks()? {
        None => stages.run("power cuts", cut_power)?,
        Some(why) => stages.skip("power cuts", &why),
    }
    let simulate = || run(Command::new(node::binary("basalt-sim")).args(CI_SIMULATIONS));
    stages.run("simulations", simulate)
}

fn chaos(scenario: &str, folder: &Scratch) -> Command {
    let mut chaos = Command::new(node::binary("basalt-chaos"));
    chaos.arg(scenario).arg("--binary").arg(node::binary("basalt")).arg("--folder").arg(&folder.0);
    chaos
}

/// Why this machine does not let us make file systems whose power can be cut, if it does not.
fn no_disks() -> Result<Option<String>> {
    let folder = Scratch::new("disks")?;
    let asked = chaos("disks", &folder).output().map_err(|error| format!("basalt-chaos: {error}"))?;
    let said = String::from_utf8_lossy(&asked.stdout);
    Ok((!asked.status.success()).then(|| said.trim().trim_start_matches("FAILED: ").to_owned()))
}

fn cut_power() -> Result<()> {
    let folder = Scratch::new("power-cuts")?;
    run(chaos("powercut", &folder).args(CI_POWER_CUTS))
}

/// Clippy on everything, warnings denied.
pub fn clippy() -> Command {
    let mut command = cargo();
    command.args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    command
}

/// Formatting, all tests and the lints. The layering is a test of this crate. Doc tests are off: examples live in tests.
pub fn test(filter: &[OsString]) -> Result<()> {
    let mut stages = Stages::default();
    stages.run("formatting", || run(cargo().args(["fmt", "--all", "--check"])))?;
    stages.run("build of the programs", build)?;
    // Apart from the run, so that the table tells compiling from testing.
    stages.run("build of the tests", || {
        run(cargo().args(["nextest", "run", "--release", "--workspace", "--no-run"]))
    })?;
    stages.run("tests", || {
        run(cargo().args(["nextest", "run", "--release", "--workspace", "--no-fail-fast"]).args(filter))
    })?;
    stages.run("models of the clock", || {
        run(cargo().args([
            "nextest",
            "run",
            "--release",
            "-p",
            "basalt-base",
            "--features",
            "model",
            "clock::model",
        ]))
    })?;
    // Last: with nothing compiled before, it compiles the front ends of the dependencies once more.
    stages.run("lints", || run(&mut clippy()))
}
