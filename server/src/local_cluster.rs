//! `basalt cluster`: several nodes on this machine, each a process with a store of its own.
//!
//! For trying out and developing: whoever ends one of the processes sees the others go on. The nodes outlive nothing: when
//! this process is asked to stop, it asks them, and waits; asked again, it ends them at once. When it is killed, they see
//! their standard input end, and stop.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::Args;

use crate::{clock_offset::ClockOffsetMax, signals::StopSignals};

const NODES_MAX: u16 = 9;
/// From one node's SQL port to the next one's; the port above each is that of its RPC address.
const PORT_STEP: u16 = 10;
const ADDRESS_BOOK: &str = "NODES";
const POLL: Duration = Duration::from_millis(100);
/// After that, nodes that were asked to stop are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Of all nodes together, for the storage engine and for statements.
const MEMORY_PERCENT: u16 = 24;

#[derive(Args, Clone, Debug)]
pub struct ClusterFlags {
    /// Nodes to start, 1 to 9
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// Folder of the stores, n1 to n9, and of their logs
    #[arg(long, default_value = "basalt-cluster", value_name = "DIR")]
    store: PathBuf,
    /// SQL port of the first node; the others follow in steps of ten
    #[arg(long, default_value_t = 5454, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,
    /// How far the clocks of two nodes may be apart, 20ms to 1s [default: 250ms]
    #[arg(long, value_name = "TIME")]
    max_clock_offset: Option<ClockOffsetMax>,
    /// Serve without encryption and passwords, on loopback only
    #[arg(long)]
    insecure: bool,
    /// Flags of `basalt start` for every node
    #[arg(last = true, value_name = "FLAGS")]
    node_flags: Vec<String>,
}

/// A process of ours.
struct Member {
    number: u16,
    child: Child,
    log: PathBuf,
}

/// Runs the nodes until this process is asked to stop.
pub fn run(flags: &ClusterFlags) -> Result<(), String> {
    if !flags.insecure {
        return Err("there are no certificates: give --insecure to serve this machine only".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?;
    fs::create_dir_all(&flags.store).map_err(|error| format!("{}: {error}", flags.store.display()))?;
    let mut signals =
        runtime.block_on(async { StopSignals::listen() }).map_err(|error| format!("signals: {error}"))?;
    let mut members = Vec::new();
    let ended = runtime.block_on(async {
        let has_begun = has_begun(flags);
        for number in 1..=flags.nodes {
            members.push(start(flags, number, has_begun)?);
        }
        greet(flags);
        loop {
            tokio::select! {
                biased;
                () = signals.received() => return Ok(()),
                () = tokio::time::sleep(POLL) => {}
            }
            let ended = report_ends(&mut members);
            if members.is_empty() {
                return Err(format!(
                    "no node runs any more; the last one ended with {}",
                    ended.unwrap_or_default()
                ));
            }
        }
    });
    runtime.block_on(stop(members, &mut signals));
    ended
}

fn sql_port(flags: &ClusterFlags, number: u16) -> u16 {
    flags.port + PORT_STEP * (number - 1)
}

/// Whether some node has known who it is: it keeps a book of the others then.
fn has_begun(flags: &ClusterFlags) -> bool {
    (1..=NODES_MAX).any(|number| flags.store.join(format!("n{number}")).join(ADDRESS_BOOK).exists())
}

fn start(flags: &ClusterFlags, number: u16, has_begun: bool) -> Result<Member, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let folder = flags.store.join(format!("n{number}"));
    let log = flags.store.join(format!("n{number}.log"));
    let output = File::options().create(true).append(true).open(&log);
    let output = output.map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let share = format!("{}%", (MEMORY_PERCENT / flags.nodes).max(1));
    let port = sql_port(flags, number);
    let mut command = Command::new(program);
    command.args(["start", "--insecure", "--cache", &share, "--sql-memory", &share]);
    command.arg("--store").arg(&folder);
    command.arg("--sql-addr").arg(format!("127.0.0.1:{port}"));
    if let Some(offset) = flags.max_clock_offset {
        command.arg("--max-clock-offset").arg(offset.to_string());
    }
    // The first one begins the cluster, if no node of it was ever there; everybody joins all the others, so that any may be
    // the one that runs.
    if number > 1 || has_begun {
        let others = (1..=flags.nodes).filter(|other| *other != number);
        let others: Vec<String> =
            others.map(|other| format!("127.0.0.1:{}", sql_port(flags, other) + 1)).collect();
        if !others.is_empty() {
            command.arg("--join").arg(others.join(","));
        }
    }
    command.args(&flags.node_flags);
    // Ctrl-C reaches the group of this process alone: a node that is asked a second time stops at once.
    command.process_group(0);
    command.arg("--stop-with-stdin");
    command.stdin(Stdio::piped()).stdout(output).stderr(errors);
    let child = command.spawn().map_err(|error| format!("node {number}: {error}"))?;
    Ok(Member { number, child, log })
}

fn greet(flags: &ClusterFlags) {
    let ports: Vec<u16> = (1..=flags.nodes).map(|number| sql_port(flags, number)).collect();
    let listed = |text: &dyn Fn(&u16) -> String| ports.iter().map(text).collect::<Vec<_>>().join(",");
    println!(
        "{} nodes start in {}; their logs are n1.log to n{}.log",
        flags.nodes,
        flags.store.display(),
        flags.nodes
    );
    println!("insecure: no passwords, no encryption; reachable from this machine only");
    println!("connect with: psql -h 127.0.0.1 -p {} -U postgres", ports[0]);
    println!(
        "or to any:    psql 'host={} port={} user=postgres'",
        listed(&|_| "127.0.0.1".to_owned()),
        listed(&u16::to_string)
    );
    println!("stop with:    Ctrl-C");
}

/// Says which processes have ended, and forgets them. Returns how the last of them did.
fn report_ends(members: &mut Vec<Member>) -> Option<String> {
    let mut last = None;
    members.retain_mut(|member| match member.child.try_wait() {
        Ok(None) => true,
        Ok(Some(status)) => {
            eprintln!("node {} has ended: {status}{}", member.number, last_line(&member.log));
            last = Some(status.to_string());
            false
        }
        Err(error) => {
            eprintln!("node {}: {error}", member.number);
            last = Some(error.to_string());
            false
        }
    });
    last
}

/// What a node said last, for whoever wonders why it ended.
fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().last().map_or_else(String::new, |line| format!("; {line}"))
}

async fn stop(mut members: Vec<Member>, signals: &mut StopSignals) {
    for member in &members {
        terminate(&member.child);
    }
    let deadline = Instant::now() + STOP_PATIENCE;
    while !members.is_empty() && Instant::now() < deadline {
        members.retain_mut(|member| matches!(member.child.try_wait(), Ok(None)));
        tokio::select! {
            biased;
            () = signals.received() => break,
            () = tokio::time::sleep(POLL) => {}
        }
    }
    for member in &mut members {
        eprintln!("node {} has not stopped yet, and is killed", member.number);
        // It may have ended just now.
        let _ = member.child.kill();
        let _ = member.child.wait();
    }
}

/// The standard library sends no signal but SIGKILL.
fn terminate(child: &Child) {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    if !sent.is_ok_and(|status| status.success()) {
        eprintln!("process {} could not be asked to stop", child.id());
    }
}
