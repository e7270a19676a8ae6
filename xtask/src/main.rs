//! Developer commands; `./x` prepares the machine and calls this.
//!
//! Nothing here depends on a crate, so that it compiles in seconds. Every command uses the same profile and always the
//! whole workspace: another selection of packages would select other features of the dependencies, and compile them again.

mod bench;
#[cfg(test)]
mod json;
mod layers;
mod node;
mod process;
mod slt;
mod stages;
mod test;

use std::{
    env,
    ffi::OsString,
    process::{Command, ExitCode},
};

use process::{Result, cargo, exec, run};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    match dispatch(&command.to_string_lossy(), &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, rest: &[OsString]) -> Result<()> {
    match command {
        "start" => start(rest),
        "cluster" => cluster(rest),
        "test" => test::test(rest),
        "ci" => test::ci(),
        "slt" => slt::slt(rest),
        "bench" => bench::bench(rest),
        "sim" => sim(rest),
        "chaos" => chaos(rest),
        "lint" => run(&mut test::clippy()),
        "fmt" => run(cargo().args(["fmt", "--all"])),
        other => Err(format!("unknown command {other:?}; ./x help lists them")),
    }
}

/// Builds everything that `./x` starts.
fn build() -> Result<()> {
    run(cargo().args(["build", "--release", "--workspace", "--bins"]))
}

fn start(flags: &[OsString]) -> Result<()> {
    build()?;
    // Flags of the caller may replace the default of an insecure node on loopback.
    let secured = flags.iter().any(|flag| flag == "--insecure" || flag == "--certs-dir" || flag == "--help");
    let mut node = Command::new(node::binary("basalt"));
    node.arg("start");
    if !secured {
        node.arg("--insecure");
    }
    node.args(flags);
    if let Some(directory) = env::var_os("BASALT_CALLER_DIR") {
        node.current_dir(directory);
    }
    exec(&mut node)
}

fn cluster(flags: &[OsString]) -> Result<()> {
    build()?;
    let mut cluster = Command::new(node::binary("basalt"));
    cluster.args(["cluster", "--insecure"]).args(flags);
    if let Some(directory) = env::var_os("BASALT_CALLER_DIR") {
        cluster.current_dir(directory);
    }
    exec(&mut cluster)
}

/// A campaign against real clusters, unless another scenario is named first.
fn chaos(arguments: &[OsString]) -> Result<()> {
    build()?;
    let named = arguments.first().is_some_and(|first| !first.to_string_lossy().starts_with('-'));
    let mut chaos = Command::new(node::binary("basalt-chaos"));
    if !named {
        chaos.arg("cluster");
    }
    exec(chaos.args(arguments).arg("--binary").arg(node::binary("basalt")))
}

/// Deliberate bugs are compiled into a program of their own: nothing else must have them.
fn sim(flags: &[OsString]) -> Result<()> {
    if flags.iter().any(|flag| flag == "--planted") {
        let target = node::target().join("planted");
        run(cargo()
            .args(["build", "--release", "--package", "basalt-sim", "--features", "planted"])
            .arg("--target-dir")
            .arg(&target))?;
        return exec(Command::new(target.join("release/basalt-sim")).args(flags));
    }
    build()?;
    exec(Command::new(node::binary("basalt-sim")).args(flags))
}
