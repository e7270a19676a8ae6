//! A private node: its own folder, its own free port, gone at the end.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::process::{Result, root};

/// From start to the first answer; a debug build on a busy machine is slow.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// From the request to stop until the process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Where cargo leaves what it makes.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program that `build` has made.
pub fn binary(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// A port of loopback that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no free port: {error}"))?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// A folder for one run, removed with its owner.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Result<Self> {
        let path = env::temp_dir().join(format!("basalt-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _kept = fs::remove_dir_all(&self.0);
    }
}

/// Stopped when dropped.
pub struct Node {
    pub port: u16,
    child: Child,
    _folder: Scratch,
}

impl Node {
    pub fn start(flags: &[&str]) -> Result<Self> {
        Self::start_in(None, flags)
    }

    /// `procs`: the file of a control group that takes the process's id before the node begins.
    pub fn start_in(procs: Option<PathBuf>, flags: &[&str]) -> Result<Self> {
        let port = free_port()?;
        // By its port, too: a cluster's nodes have one parent.
        let folder = Scratch::new(&format!("node-{port}"))?;
        let mut command = match procs {
            None => Command::new(binary("basalt")),
            Some(procs) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(procs).arg(binary("basalt"));
                shell
            }
        };
        let child = command
            .args(["start", "--insecure", "--sql-addr", &format!("127.0.0.1:{port}"), "--store"])
            .arg(folder.0.join("store"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("basalt: {error}"))?;
        let mut node = Self { port, child, _folder: folder };
        node.wait_until_ready()?;
        Ok(node)
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the node stopped at its start ({status})"));
            }
            if is_ready(address) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err("the node did not start in time".to_owned())
    }
}

/// Whether a client may ask: a node that starts lets it connect, only to tell it so.
fn is_ready(address: SocketAddr) -> bool {
    let timeout = Duration::from_millis(500);
    let connected = TcpStream::connect_timeout(&address, timeout);
    connected.and_then(|stream| begins_session(stream, timeout)).unwrap_or(false)
}

fn begins_session(mut stream: TcpStream, timeout: Duration) -> io::Result<bool> {
    let parameters = b"user\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).expect("a constant");
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters].concat())?;
    loop {
        let mut header = [0; 5];
        stream.read_exact(&mut header)?;
        match header[0] {
            // ReadyForQuery.
            b'Z' => return Ok(true),
            // ErrorResponse.
            b'E' => return Ok(false),
            _ => {
                let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
                io::copy(&mut (&stream).take(u64::from(length.saturating_sub(4))), &mut io::sink())?;
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while asked.is_ok() && Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
