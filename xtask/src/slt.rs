//! `./x slt PATH...`: runs .slt files against a node of their own.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    build,
    node::{Node, binary},
    process::{Result, run},
};

pub fn slt(arguments: &[OsString]) -> Result<()> {
    if arguments.is_empty() {
        return Err("usage: ./x slt PATH...".to_owned());
    }
    build()?;
    let node = Node::start(&["--log", "warn"])?;
    let caller = env::var_os("BASALT_CALLER_DIR").map(PathBuf::from).unwrap_or_default();
    let mut runner = Command::new(binary("basalt-slt"));
    runner.args(["--url", &format!("postgresql://postgres@127.0.0.1:{}/postgres", node.port)]);
    for argument in arguments {
        let path = caller.join(Path::new(argument));
        // Anything that is no path is a flag of the runner.
        if path.exists() {
            runner.arg(path)
        } else {
            runner.arg(argument)
        };
    }
    run(&mut runner)
}
