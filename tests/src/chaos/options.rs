//! What the command line asks for.

use std::{env, path::PathBuf, str::FromStr};

use super::Outcome;

pub struct Options {
    pub scenario: String,
    pub binary: PathBuf,
    /// Stores, images and traces live below it.
    pub folder: PathBuf,
    flags: Vec<(String, String)>,
}

impl Options {
    /// `basalt-chaos SCENARIO [--flag value]...`
    pub fn from_command_line() -> Outcome<Self> {
        let mut arguments = env::args().skip(1);
        let scenario = arguments.next().ok_or("which scenario?")?;
        let mut flags = Vec::new();
        while let Some(flag) = arguments.next() {
            let name = flag.strip_prefix("--").ok_or_else(|| format!("not a flag: {flag}"))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} wants a value"))?;
            flags.push((name.to_owned(), value));
        }
        let find =
            |name: &str| flags.iter().rev().find(|(flag, _)| flag == name).map(|(_, value)| value.clone());
        let binary = find("binary")
            .or_else(|| env::var("BASALT_BINARY").ok())
            .ok_or("the node's program is wanted: --binary PATH or BASALT_BINARY")?;
        let folder = find("folder").map_or_else(
            || env::temp_dir().join(format!("basalt-chaos-{}", std::process::id())),
            PathBuf::from,
        );
        std::fs::create_dir_all(&folder)?;
        Ok(Self { scenario, binary: binary.into(), folder, flags })
    }

    /// The value of a flag of the scenario.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Outcome<T> {
        match self.flags.iter().rev().find(|(flag, _)| flag == name) {
            None => Ok(default),
            Some((_, value)) => {
                value.parse().map_err(|_| format!("--{name}: not understood: {value}").into())
            }
        }
    }
}
