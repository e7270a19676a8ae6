//! One node of a cluster as a process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tokio_postgres::Client;

use crate::chaos::{Outcome, process::processor_time, wait::until};

/// A start may have to replay a log beside compilers.
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What does not change between the starts of a node.
#[derive(Clone, Debug)]
pub struct Site {
    pub binary: PathBuf,
    /// May be on a disk of its own, which can fail.
    pub store: PathBuf,
    /// The log and the clock: never on that disk.
    pub folder: PathBuf,
    pub sql_port: u16,
    pub listens_at: SocketAddr,
    pub advertised: SocketAddr,
    pub flags: Vec<String>,
}

/// Killed when dropped.
pub struct Member {
    pub site: Site,
    child: Option<Child>,
    /// How often it was started.
    pub starts: u32,
}

impl Member {
    pub fn new(site: Site) -> Self {
        Self { site, child: None, starts: 0 }
    }

    /// Starts the process and does not wait for it.
    pub fn spawn(&mut self, join: &[SocketAddr]) -> Outcome {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.site.binary);
        command
            .args(["start", "--insecure", "--sql-addr", &format!("127.0.0.1:{}", self.site.sql_port)])
            .args(["--rpc-addr", &self.site.listens_at.to_string()])
            .args(["--advertise-addr", &self.site.advertised.ip().to_string()])
            .arg("--store")
            .arg(&self.site.store)
            .arg("--test-clock-file")
            .arg(self.clock_path())
            .args(&self.site.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if !join.is_empty() {
            let join: Vec<String> = join.iter().map(ToString::to_string).collect();
            command.args(["--join", &join.join(",")]);
        }
        // SAFETY: the call is allowed between fork and exec, and it takes no memory.
        unsafe {
            command.pre_exec(|| {
                // A harness that is killed leaves no nodes behind.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        self.child = Some(command.spawn()?);
        self.starts += 1;
        Ok(())
    }

    /// Waits until it answers a client.
    pub async fn serves(&mut self) -> Outcome {
        let deadline = std::time::Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                return Err(format!("the node ended at its start: {status}: {}", self.last_words()).into());
            }
            let answer = async { self.connect().await?.simple_query("select 1").await.map_err(Into::into) };
            let answer: Outcome<_> = within(Duration::from_secs(5), answer).await;
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if std::time::Instant::now() > deadline => {
                    return Err(
                        format!("the node does not serve clients: {error}: {}", self.last_words()).into()
                    );
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub async fn connect(&self) -> Outcome<Client> {
        crate::chaos::process::connect(self.site.sql_port).await
    }

    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn log_path(&self) -> PathBuf {
        self.site.folder.join("node.log")
    }

    fn clock_path(&self) -> PathBuf {
        self.site.folder.join("clock")
    }

    /// The end of what it has logged.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// How often its log says so.
    pub fn logged(&self, text: &str) -> usize {
        fs::read_to_string(self.log_path()).map_or(0, |log| log.matches(text).count())
    }

    /// Sets its wall clock off.
    pub fn set_clock(&self, offset_micros: i64, drift_ppm: i64) -> Outcome {
        let written = self.site.folder.join("clock.new");
        fs::write(&written, format!("{offset_micros} {drift_ppm}"))?;
        Ok(fs::rename(written, self.clock_path())?)
    }

    /// `None` while it runs; a frozen one runs.
    pub fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.child.as_mut().ok_or("the node was not started")?.try_wait()?)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.ended().is_ok_and(|ended| ended.is_none())
    }

    pub fn signal(&self, signal: libc::c_int) -> Outcome {
        let id = libc::pid_t::try_from(self.id().ok_or("the node was not started")?)?;
        // SAFETY: a child that was not waited for keeps its id; one that was is not signalled by the callers.
        if unsafe { libc::kill(id, signal) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(())
    }

    /// As a crash does it: nothing is said, nothing is flushed.
    pub fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(&mut self) -> Outcome {
        self.signal(libc::SIGTERM)?;
        self.ends(STOP_PATIENCE).await?;
        let status = self.child.take().ok_or("it was there")?.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{status}: {}", self.last_words()).into()) }
    }

    /// Waits until it has ended, whatever the reason.
    pub async fn ends(&mut self, patience: Duration) -> Outcome {
        until("a node ends", patience, async || Ok(self.ended()?.is_some())).await
    }

    /// The state letter of the kernel: `T` for a frozen process, `D` for one that waits for its disk.
    pub fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()?)).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    }

    /// The threads that wait for a disk.
    pub fn threads_on_disk(&self) -> usize {
        let Some(id) = self.id() else { return 0 };
        let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        tasks.filter(|task| is_in_state(&task.path(), 'D')).count()
    }

    pub fn processor_time(&self) -> Outcome<Duration> {
        processor_time(self.id().ok_or("the node was not started")?)
    }
}

fn is_in_state(task: &Path, state: char) -> bool {
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(state))
}

impl Drop for Member {
    fn drop(&mut self) {
        let _gone_already = self.kill();
    }
}

/// The answer, or an error once `patience` is over.
pub async fn within<T>(patience: Duration, answer: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::time::timeout(patience, answer)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {patience:?}").into()))
}
