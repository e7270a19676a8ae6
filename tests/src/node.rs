//! A node as a process.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// `basalt` where the build puts it, beside the folder of the test's own program.
pub fn binary() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own program");
    let target = test.parent().and_then(Path::parent).expect("tests are in a folder of the target folder");
    let binary = target.join("basalt");
    assert!(binary.exists(), "{} is missing: ./x test builds it first", binary.display());
    binary
}

/// Killed when dropped.
pub struct Node {
    child: Child,
    port: u16,
    flags: Vec<String>,
    prepare: Prepare,
    folder: TempDir,
}

/// What is changed of the command before the node is started.
type Prepare = Box<dyn Fn(&mut Command) + Send>;

impl Node {
    /// A new store in a folder of its own.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_prepared(flags, |_| {})
    }

    /// As [`Node::start`], with an environment or outputs of its own.
    pub fn start_prepared(flags: &[&str], prepare: impl Fn(&mut Command) + Send + 'static) -> Self {
        let folder = TempDir::new().expect("there is room for a folder");
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let prepare: Prepare = Box::new(prepare);
        let (child, port) = spawn(&folder.path().join("store"), &flags, &prepare);
        Self { child, port, flags, prepare, folder }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub async fn connect(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url(), NoTls).await.expect("the node answers");
        tokio::spawn(async move {
            // A killed node ends connections; the queries of the test say so.
            let _ended = connection.await;
        });
        client
    }

    /// As a crash does it: nothing is said, nothing is flushed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the node runs");
        self.child.wait().expect("it can be waited for");
    }

    /// Starts again on the same store.
    pub fn restart(&mut self) {
        (self.child, self.port) = spawn(&self.store(), &self.flags, &self.prepare);
    }

    /// Waits for a node that ends by itself.
    ///
    /// # Panics
    /// When it has not ended after [`PATIENCE`].
    pub async fn ended(&mut self) -> ExitStatus {
        let poll = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, poll).await.expect("the node ends")
    }

    /// Asks the node to stop, and waits until it has.
    pub fn stop(&mut self) -> bool {
        let id = libc::pid_t::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
        self.child.wait().expect("it can be waited for").success()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Starts a node and reads its port from what it prints once it serves.
fn spawn(store: &Path, flags: &[String], prepare: &Prepare) -> (Child, u16) {
    let mut command = Command::new(binary());
    command
        .args([
            "start",
            "--insecure",
            "--sql-addr",
            "127.0.0.1:0",
            "--log",
            "warn",
            "--cache",
            "64MiB",
            "--store",
        ])
        .arg(store)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    prepare(&mut command);
    let mut child = command.spawn().expect("the node's program can be started");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while stdout.read_line(&mut line).expect("the node prints text") > 0 {
        if let Some((_, port)) = line.split_once(" -p ") {
            let port = port.split(' ').next().and_then(|port| port.parse().ok()).expect("a port follows -p");
            // The rest is read, so that the node never writes into a closed pipe.
            std::thread::spawn(move || stdout.read_to_string(&mut String::new()));
            return (child, port);
        }
        line.clear();
    }
    panic!("the node stopped at its start: {:?}", child.wait());
}

/// Runs `basalt` to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the program can be started")
}

/// How long tests wait for what should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);
