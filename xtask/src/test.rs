//! `./x test` and `./x ci`.

use std::{ffi::OsString, process::Command};

use crate::{
    build, node,
    process::{Result, cargo, run},
    stages::Stages,
};

/// The slice of simulations that the continuous integration runs: never fewer than sixty seeds of five nodes with ten
/// virtual minutes of faults each, and more of them until four minutes are over; ten of them twice. Everything that such
/// runs are for must happen in some.
const CI_SIMULATIONS: [&str; 11] = [
    "--nodes",
    "5",
    "--length",
    "10",
    "--seeds",
    "7001..7060",
    "--minutes",
    "4",
    "--check-determinism",
    "10",
    "--every-kind",
];

/// The long simulations that the continuous integration adds to the tests.
pub fn ci() -> Result<()> {
    let mut stages = Stages::default();
    stages.run("build of the programs", build)?;
    let simulate = || run(Command::new(node::binary("basalt-sim")).args(CI_SIMULATIONS));
    stages.run("simulations", simulate)
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
    // Last: with nothing compiled before, it compiles the front ends of the dependencies once more.
    stages.run("lints", || run(&mut clippy()))
}
