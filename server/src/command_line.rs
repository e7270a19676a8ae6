//! The command line, and exit codes: 0 after a clean stop, 1 when the node cannot start or go on, 2 for wrong settings.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    configuration::{Configuration, FileSettings},
    size::Size,
    start,
};

const FAILED: u8 = 1;
const WRONG_SETTINGS: u8 = 2;

#[derive(Parser)]
#[command(
    name = "basalt",
    version,
    about = "A distributed SQL database that PostgreSQL clients use unchanged"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a node and serves clients until it is asked to stop (SIGTERM or SIGINT)
    Start(StartFlags),
    /// Prints the version
    Version,
}

/// Every flag has an environment variable and a line in the configuration file. A flag wins over the variable, that over
/// the file, and that over the default.
#[derive(Args, Clone, Debug, Default)]
pub struct StartFlags {
    /// Folder of the store; made when absent [default: basalt-data]
    #[arg(long, env = "BASALT_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Where SQL clients connect; port 0 takes a free one [default: 127.0.0.1:5454]
    #[arg(long, env = "BASALT_SQL_ADDR", value_name = "HOST:PORT")]
    pub sql_addr: Option<SocketAddr>,
    /// Serve without encryption and passwords, on loopback only
    #[arg(long, env = "BASALT_INSECURE")]
    pub insecure: bool,
    /// Folder of certificates and keys
    #[arg(long, env = "BASALT_CERTS_DIR", value_name = "DIR", conflicts_with = "insecure")]
    pub certs_dir: Option<PathBuf>,
    /// Memory of the storage engine, bytes or a share [default: 25%]
    #[arg(long, env = "BASALT_CACHE", value_name = "SIZE")]
    pub cache: Option<Size>,
    /// Memory of all running statements together, bytes or a share [default: 25%]
    #[arg(long, env = "BASALT_SQL_MEMORY", value_name = "SIZE")]
    pub sql_memory: Option<Size>,
    /// A range above this size splits; at least 1MiB [default: 512MiB]
    #[arg(long, env = "BASALT_RANGE_MAX_BYTES", value_name = "SIZE")]
    pub range_max_bytes: Option<Size>,
    /// Clients at once [default: 200]
    #[arg(long, env = "BASALT_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,
    /// What is logged: error, warn, info, debug, trace, or a filter by module [default: info]
    #[arg(long, env = "BASALT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Settings in TOML; keys are the flags' names with underscores
    #[arg(long, env = "BASALT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match CommandLine::parse().command {
        Command::Version => {
            println!("basalt {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Command::Start(flags) => {
            let configuration = match configure(flags) {
                Ok(configuration) => configuration,
                Err(message) => return complain(&message, WRONG_SETTINGS),
            };
            match start::start(&configuration) {
                Ok(()) => ExitCode::SUCCESS,
                Err(message) => complain(&message, FAILED),
            }
        }
    }
}

fn configure(flags: StartFlags) -> Result<Configuration, String> {
    let file = flags.config.as_deref().map(FileSettings::read).transpose()?.unwrap_or_default();
    Configuration::new(flags, file)
}

fn complain(message: &str, code: u8) -> ExitCode {
    eprintln!("basalt: {message}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_named_after_it() {
        let command = CommandLine::command();
        let start = command.find_subcommand("start").unwrap();
        for flag in start.get_arguments().filter(|flag| flag.get_id() != "help" && flag.get_id() != "version")
        {
            let expected = format!("BASALT_{}", flag.get_id().as_str().to_uppercase());
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!(CommandLine::try_parse_from(["basalt", "start", "--sql-port", "1"]).is_err());
        assert!(CommandLine::try_parse_from(["basalt", "start", "--cache", "lots"]).is_err());
    }
}
