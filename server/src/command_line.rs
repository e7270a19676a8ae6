//! The command line, and exit codes: 0 after a clean stop, 1 when the node cannot start or go on, 2 for wrong settings.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    certificates::{self, CertCommand},
    clock_offset::ClockOffsetMax,
    configuration::{Configuration, FileSettings},
    local_cluster::{self, ClusterFlags},
    locality::Tier,
    node_command::{self, NodeCommand},
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
    Start(Box<StartFlags>),
    /// Starts several nodes on this machine, for trying out: a cluster in one command
    Cluster(ClusterFlags),
    /// Makes certificates for nodes that talk over a network
    #[command(subcommand)]
    Cert(CertCommand),
    /// Shows the nodes of a cluster, and takes them out of service
    #[command(subcommand)]
    Node(NodeCommand),
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
    /// Where the other nodes of the cluster connect [default: the SQL address, one port above]
    #[arg(long, env = "BASALT_RPC_ADDR", value_name = "HOST:PORT")]
    pub rpc_addr: Option<SocketAddr>,
    /// The host by which other nodes reach this one [default: that of the address it listens on]
    #[arg(long, env = "BASALT_ADVERTISE_ADDR", value_name = "HOST")]
    pub advertise_addr: Option<String>,
    /// Nodes of the cluster to join, by their RPC addresses; without, a new store begins a cluster of its own
    #[arg(long, env = "BASALT_JOIN", value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub join: Vec<String>,
    /// Where the node stands, the widest tier first: replicas are spread over the tiers
    #[arg(long, env = "BASALT_LOCALITY", value_name = "TIER=NAME,...", value_delimiter = ',')]
    pub locality: Vec<Tier>,
    /// Copies of all data, on as many nodes: 1, 3 or 5. The same on every node [default: 3]
    #[arg(long, env = "BASALT_REPLICAS", value_name = "N")]
    pub replicas: Option<usize>,
    /// How far the clocks of two nodes may be apart, 20ms to 1s. The same on every node [default: 250ms]
    #[arg(long, env = "BASALT_MAX_CLOCK_OFFSET", value_name = "TIME")]
    pub max_clock_offset: Option<ClockOffsetMax>,
    /// Serve without encryption and passwords, on loopback only
    #[arg(long, env = "BASALT_INSECURE")]
    pub insecure: bool,
    /// Folder of certificates and keys: nodes talk to each other by mutual TLS
    #[arg(long, env = "BASALT_CERTS_DIR", value_name = "DIR", conflicts_with = "insecure")]
    pub certs_dir: Option<PathBuf>,
    /// With --certs-dir: serve SQL clients without encryption and passwords, on loopback only
    #[arg(long, env = "BASALT_INSECURE_SQL")]
    pub insecure_sql: bool,
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
    /// For tests: a file with the microseconds by which this node's wall clock is off; read again and again
    #[arg(long, env = "BASALT_TEST_CLOCK_FILE", value_name = "FILE", hide = true)]
    pub test_clock_file: Option<PathBuf>,
    /// Stop when standard input ends: when the process that started this one is gone
    #[arg(long, env = "BASALT_STOP_WITH_STDIN", hide = true)]
    pub stop_with_stdin: bool,
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
        Command::Cluster(flags) => report(local_cluster::run(&flags)),
        Command::Cert(command) => report(certificates::run(&command)),
        Command::Node(command) => report(node_command::run(&command)),
        Command::Start(flags) => {
            let configuration = match configure(*flags) {
                Ok(configuration) => configuration,
                Err(message) => return complain(&message, WRONG_SETTINGS),
            };
            report(start::start(&configuration))
        }
    }
}

fn configure(flags: StartFlags) -> Result<Configuration, String> {
    let file = flags.config.as_deref().map(FileSettings::read).transpose()?.unwrap_or_default();
    Configuration::new(flags, file)
}

fn report(ended: Result<(), String>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => complain(&message, FAILED),
    }
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
