//! A node as a process that can be killed, traced, capped and measured.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};

use super::Outcome;

/// How a node is started.
#[derive(Clone)]
pub struct Launch {
    pub binary: PathBuf,
    pub store: PathBuf,
    pub flags: Vec<String>,
    /// Words before the program: a tracer, for example.
    pub wrapper: Vec<String>,
    /// Bytes of a memory control group of its own.
    pub memory: Option<u64>,
}

impl Launch {
    pub fn new(binary: &Path, store: &Path, flags: &[&str]) -> Self {
        Self {
            binary: binary.to_owned(),
            store: store.to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            wrapper: Vec::new(),
            memory: None,
        }
    }

    fn command(&self) -> Outcome<Command> {
        let mut words = self.wrapper.clone();
        words.push(self.binary.display().to_string());
        let group = self.memory.map(memory_group).transpose()?;
        let mut command = match &group {
            // The shell enters the group before it becomes the node, so that every byte counts.
            Some(group) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\""]).arg(group).args(&words);
                shell
            }
            None => {
                let mut direct = Command::new(&words[0]);
                direct.args(&words[1..]);
                direct
            }
        };
        command
            .args(["start", "--insecure", "--sql-addr", "127.0.0.1:0", "--log", "warn", "--store"])
            .arg(&self.store)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(command)
    }

    /// Starts and waits until the node serves.
    pub fn start(&self) -> Outcome<Node> {
        let begun = Instant::now();
        let mut child = self.command()?.spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut said = String::new();
        let mut line = String::new();
        while stdout.read_line(&mut line)? > 0 {
            if let Some((_, port)) = line.split_once(" -p ") {
                let port = port.split(' ').next().ok_or("no port")?.parse()?;
                // The rest is read, so that the node never writes into a closed pipe.
                std::thread::spawn(move || stdout.read_to_string(&mut String::new()));
                return Ok(Node { child, port, started_in: begun.elapsed() });
            }
            said.push_str(&line);
            line.clear();
        }
        Err(format!("the node stopped at its start: {:?}: {said}", child.wait()?).into())
    }

    /// Runs a start that is expected to fail: its exit status and what it said.
    pub fn start_to_end(&self, patience: Duration) -> Outcome<(Option<i32>, String)> {
        let mut child = self.command()?.stderr(Stdio::piped()).spawn()?;
        let (mut stdout, mut stderr) =
            (child.stdout.take().ok_or("no pipe")?, child.stderr.take().ok_or("no pipe")?);
        // Both are read while it runs, or a full pipe would hold it up; they end with it.
        let (sender, ended) = std::sync::mpsc::channel();
        let first = sender.clone();
        std::thread::spawn(move || first.send(read_all(&mut stdout)));
        std::thread::spawn(move || sender.send(read_all(&mut stderr)));
        let deadline = Instant::now() + patience;
        let mut said = String::new();
        for _ in 0..2 {
            match ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => said.push_str(&text),
                Err(_) => {
                    child.kill()?;
                    child.wait()?;
                    return Ok((None, said));
                }
            }
        }
        Ok((child.wait()?.code(), said))
    }
}

fn read_all(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // What was said before an error is worth showing.
    let _error = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A version 1 memory group; version 2 where that is mounted.
fn memory_group(bytes: u64) -> Outcome<PathBuf> {
    let (root, file) = if Path::new("/sys/fs/cgroup/memory").is_dir() {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        ("/sys/fs/cgroup", "memory.max")
    };
    let group = Path::new(root).join(format!("basalt-chaos-{}", std::process::id()));
    fs::create_dir_all(&group)?;
    fs::write(group.join(file), bytes.to_string())?;
    Ok(group)
}

/// A node that serves; killed when dropped.
pub struct Node {
    child: Child,
    pub port: u16,
    pub started_in: Duration,
}

impl Node {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    pub async fn connect(&self) -> Outcome<Client> {
        connect(self.port).await
    }

    /// As a crash does it: nothing is said, nothing is flushed.
    pub fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the node to stop, and says whether it did well.
    pub fn stop(&mut self) -> Outcome<bool> {
        let id = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(id, libc::SIGTERM) };
        Ok(self.child.wait()?.success())
    }

    pub fn is_running(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Resident memory now and at its peak, in bytes.
    pub fn resident(&self) -> Outcome<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let field = |name: &str| -> Outcome<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> Outcome<Duration> {
        processor_time(self.id())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Processor time that a process has used so far.
pub fn processor_time(process: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

pub fn url(port: u16) -> String {
    format!("postgresql://postgres@127.0.0.1:{port}/postgres")
}

pub async fn connect(port: u16) -> Outcome<Client> {
    let (client, connection) = tokio_postgres::connect(&url(port), NoTls).await?;
    tokio::spawn(async move {
        // A killed node ends connections; the statements of the scenario say so.
        let _ended = connection.await;
    });
    Ok(client)
}

/// Bytes as mebibytes, for people.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
