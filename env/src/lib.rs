//! The only door to the outside world.
//!
//! Every other crate receives an [`Env`] and reads clocks, randomness, files and the task scheduler through it.
//! A node therefore behaves the same on an operating system and inside the simulator, and a seed replays a run.
//! A lint (`clippy.toml` at the workspace root) forbids the direct calls everywhere but here.
//!
//! Traffic between nodes has its trait where it is used; [`sim::SimNetwork`] is what carries it in the simulator.

pub mod os;
mod planted;
pub mod sim;

pub use planted::{Bug, plant, planted};

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

/// A heap-allocated future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Reads time. Both readings may jump in the simulator.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch; may step backwards.
    fn wall_micros(&self) -> i64;
    /// Time since an arbitrary origin; never steps backwards.
    fn monotonic(&self) -> Duration;
}

/// A random source. Not for secrets: see [`Rng::fill_secret`].
pub trait Rng: Send + Sync {
    /// The next 64 uniformly distributed bits.
    fn next_u64(&self) -> u64;
    /// Fills `buffer` from a cryptographically secure source (from the seed, in the simulator).
    fn fill_secret(&self, buffer: &mut [u8]);
}

/// Runs tasks and lets them wait.
pub trait Spawner: Send + Sync {
    /// Runs `task` in the background; it ends with the node.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
    /// Runs a long-lived loop that blocks in file I/O: on a thread of its own in production.
    fn spawn_blocking_loop(&self, name: &'static str, task: BoxFuture<'static, ()>);
    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Runs work that may keep a processor for long. Tasks that wait for the thread it runs on, and the runtime's sockets and
/// timers, go on elsewhere meanwhile. Costs some microseconds; in the simulator it is a plain call.
pub fn keep_busy<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let shared =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if shared { tokio::task::block_in_place(work) } else { work() }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing file, for reading only.
    Read,
    /// For reading and writing, made when absent.
    ReadWriteCreate,
}

/// A directory tree of files. Paths are relative to the store's root and use `/`.
pub trait Disk: Send + Sync {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    fn create_dir_all(&self, path: &str) -> io::Result<()>;
    /// File names (not paths) in `dir`, sorted; empty when the directory is absent.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    fn remove(&self, path: &str) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, removals and renames in `dir` durable.
    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Bytes that can still be written; as many as one can count where nothing says.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    /// Bytes of the whole file system, written or not; as many as one can count where nothing says.
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    /// Takes the store's exclusive lock, held until the guard is dropped.
    /// Fails with `ErrorKind::WouldBlock` when another process holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>>;
}

/// Released on drop.
pub trait DiskLock: Send + Sync {}

/// A random-access file. Writes are volatile until [`File::sync`] completes.
pub trait File: Send + Sync {
    /// Fills `buffer` from `offset`; returns the bytes read, short only at end of file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data` at `offset`, extending the file when needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room up to `len` and extends the file with zeros to it, so that later writes below `len` do not fail
    /// for lack of room. Fails with `ErrorKind::StorageFull`; the file's size is undefined then.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes all earlier writes durable (`fdatasync`).
    /// After an error the caller must treat the file as poisoned: a retry may falsely succeed.
    fn sync(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// The bundle that constructors take first.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub disk: Arc<dyn Disk>,
    pub spawner: Arc<dyn Spawner>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}
