//! `./x test` and `./x ci`.

use std::{ffi::OsString, process::Command};

use crate::{
    build, node,
    process::{Result, cargo, run},
    stages::Stages,
};

/// Seeds of the slice that the continuous integration simulates.
const CI_SEEDS: &str = "1..30";

/// Formatting, all tests and the lints. The layering is a test of this crate. Doc tests are off: examples live in tests.
pub fn test(filter: &[OsString]) -> Result<()> {
    let mut stages = Stages::default();
    checks(&mut stages, filter)
}

/// What the continuous integration runs: the tests, and simulated seeds beyond those of the tests.
pub fn ci() -> Result<()> {
    let mut stages = Stages::default();
    checks(&mut stages, &[])?;
    let simulate = || run(Command::new(node::binary("basalt-sim")).args(["--seeds", CI_SEEDS]));
    stages.run("simulations", simulate)
}

/// Clippy on everything, warnings denied.
pub fn clippy() -> Command {
    let mut command = cargo();
    command.args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    command
}

fn checks(stages: &mut Stages, filter: &[OsString]) -> Result<()> {
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
