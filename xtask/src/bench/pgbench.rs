//! pgbench on PostgreSQL and on Basalt, in turn (A B A B), so that a noisy machine disturbs both alike.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    node_counts::{self, Counts},
    postgres::{Postgres, programs},
    psql::psql,
    report::{Row, json, table},
};
use crate::{
    node::{Node, free_port},
    process::{Result, output, run},
};

const SCRIPTS: [&str; 3] = ["select-only", "simple-update", "tpcb-like"];
/// Runs on each server.
const ROUNDS: usize = 2;
/// Basalt's default.
const REPLICAS: usize = 3;
const GROWTH_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Options {
    scale: u32,
    seconds: u32,
    clients: Vec<u32>,
    protocols: Vec<String>,
    scripts: Vec<String>,
    /// Of Basalt; PostgreSQL gets as many servers, a commit waits for one of the others.
    nodes: usize,
    /// Small enough that ranges split during the run.
    range_max_bytes: u64,
    json: Option<PathBuf>,
}

impl Options {
    pub fn parse(flags: &[OsString]) -> Result<Self> {
        let mut options = Self {
            scale: 10,
            seconds: 5,
            clients: vec![1, 8, 32],
            protocols: vec!["prepared".to_owned()],
            scripts: SCRIPTS.map(str::to_owned).to_vec(),
            nodes: 1,
            range_max_bytes: 32 << 20,
            json: None,
        };
        let mut flags = flags.iter().map(|flag| flag.to_string_lossy());
        while let Some(flag) = flags.next() {
            let value = flags.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let list = || value.split(',').map(str::to_owned).collect();
            match flag.as_ref() {
                "--scale" => options.scale = number(&value)?,
                "--seconds" => options.seconds = number(&value)?,
                "--nodes" => options.nodes = number(&value)?,
                "--range-max-bytes" => options.range_max_bytes = number(&value)?,
                "--clients" => options.clients = value.split(',').map(number).collect::<Result<_>>()?,
                "--protocols" => options.protocols = list(),
                "--scripts" => options.scripts = list(),
                "--json" => {
                    let caller = env::var_os("BASALT_CALLER_DIR").map(PathBuf::from).unwrap_or_default();
                    options.json = Some(caller.join(value.as_ref()));
                }
                other => return Err(format!("unknown flag {other:?}")),
            }
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

pub fn compare(options: &Options) -> Result<()> {
    let programs = programs()?;
    let postgres = Postgres::start(options.nodes.saturating_sub(1))?;
    let nodes = nodes(options, &programs)?;
    let node = nodes.first().ok_or("--nodes 0: there is nothing to measure")?;
    for port in [postgres.port, node.port] {
        run(pgbench(&programs, port).args(["-i", "-q", "-s", &options.scale.to_string(), "postgres"]))?;
    }
    let mut rows = Vec::new();
    for script in &options.scripts {
        for protocol in &options.protocols {
            for clients in &options.clients {
                rows.push(row(options, &programs, &postgres, node, script, protocol, *clients)?);
            }
        }
    }
    check_sums(&programs, node.port)?;
    println!("{}", table(&rows));
    println!("memory of the node: {} MiB resident", resident_mib(node.process_id())?);
    let text = json(&rows, &[("postgresql", &postgres.version), ("basalt", env!("CARGO_PKG_VERSION"))]);
    if let Some(path) = &options.json {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(())
}

/// All share one machine, so each takes a part of its memory.
fn nodes(options: &Options, programs: &Path) -> Result<Vec<Node>> {
    let ranges = options.range_max_bytes.to_string();
    if options.nodes <= 1 {
        return Ok(vec![Node::start(&["--log", "warn", "--range-max-bytes", &ranges])?]);
    }
    let mut nodes: Vec<Node> = Vec::new();
    let mut first = String::new();
    for number in 0..options.nodes {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut flags = vec!["--log", "warn", "--range-max-bytes", &ranges, "--rpc-addr", &address];
        flags.extend(["--cache", "1GiB", "--sql-memory", "512MiB"]);
        if number > 0 {
            flags.extend(["--join", &first]);
        }
        nodes.push(Node::start(&flags)?);
        if number == 0 {
            first = address;
        }
    }
    let replicas = options.nodes.min(REPLICAS);
    let short = format!("SELECT count(*) FROM basalt_ranges WHERE cardinality(replicas) < {replicas}");
    let deadline = Instant::now() + GROWTH_TIMEOUT;
    while psql(programs, nodes[0].port, &short)? != "0" {
        if Instant::now() > deadline {
            return Err("the cluster did not get its replicas in time".to_owned());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(nodes)
}

fn pgbench(programs: &Path, port: u16) -> Command {
    let mut command = Command::new(programs.join("pgbench"));
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()]);
    command
}

fn row(
    options: &Options,
    programs: &Path,
    postgres: &Postgres,
    node: &Node,
    script: &str,
    protocol: &str,
    clients: u32,
) -> Result<Row> {
    eprintln!("== {script} {protocol}, {clients} clients");
    let mut row = Row {
        script: script.to_owned(),
        protocol: protocol.to_owned(),
        clients,
        postgres: Vec::new(),
        basalt: Vec::new(),
        failed: 0,
        counts: Counts::new(),
    };
    let before = node_counts::read(programs, node.port)?;
    let mut transactions = 0.0;
    for _ in 0..ROUNDS {
        for port in [postgres.port, node.port] {
            let text = output(
                pgbench(programs, port)
                    .args(["-n", "-b", script, "-M", protocol, "-T", &options.seconds.to_string()])
                    .args(["-c", &clients.to_string(), "-j", &clients.min(2).to_string(), "postgres"]),
            )?;
            let result = Outcome::parse(&text)?;
            if port == node.port {
                row.basalt.push(result.tps);
                row.failed += result.failed;
                transactions += result.transactions;
            } else {
                row.postgres.push(result.tps);
            }
        }
    }
    row.counts =
        node_counts::per_transaction(&before, &node_counts::read(programs, node.port)?, transactions);
    Ok(row)
}

#[derive(Debug, PartialEq)]
struct Outcome {
    tps: f64,
    transactions: f64,
    failed: u64,
}

impl Outcome {
    fn parse(text: &str) -> Result<Self> {
        let after = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            line.and_then(|rest| rest.split([' ', '/']).find(|word| !word.is_empty()).map(str::to_owned))
        };
        let tps = after("tps =").ok_or_else(|| format!("no result in what pgbench printed:\n{text}"))?;
        Ok(Self {
            tps: number(&tps)?,
            transactions: number(&after("number of transactions actually processed:").unwrap_or_default())?,
            failed: after("number of failed transactions:").map_or(Ok(0), |failed| number(&failed))?,
        })
    }
}

/// What tpcb-like moves, it moves everywhere alike.
fn check_sums(programs: &Path, port: u16) -> Result<()> {
    let sums = psql(
        programs,
        port,
        "SELECT (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches)",
    )?;
    let sums: Vec<&str> = sums.split('\t').collect();
    match sums[..] {
        [tellers, branches] if tellers == branches => Ok(()),
        _ => Err(format!("the sums of tellers and branches differ: {sums:?}")),
    }
}

fn resident_mib(process_id: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{process_id}/status")).map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(number::<u64>(line.trim().trim_end_matches(" kB"))? / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_prints_is_understood() {
        let text = "transaction type: <builtin: select only>\nnumber of transactions actually processed: 1234/2000\n\
                    number of failed transactions: 3 (0.1%)\ntps = 456.75 (without initial connection time)\n";
        let expected = Outcome { tps: 456.75, transactions: 1234.0, failed: 3 };
        assert_eq!(Outcome::parse(text).unwrap(), expected);
        assert!(Outcome::parse("pgbench: error").is_err());
    }
}
