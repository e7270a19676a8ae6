//! The operating system behind the traits of this crate.

mod clock;

pub use clock::OsClock;

use std::{
    ffi::CString,
    fs,
    io::{self, Read},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{BoxFuture, Disk, DiskLock, Env, File, OpenMode, Rng, Spawner};

/// An environment rooted at `store_dir`, running tasks on the current tokio runtime.
///
/// # Panics
/// Outside a tokio runtime.
pub fn os_env(store_dir: impl Into<PathBuf>) -> Env {
    os_env_with_clock_file(store_dir, None)
}

/// The same, with a wall clock that is off by what a file says; see [`OsClock::with_file`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn os_env_with_clock_file(store_dir: impl Into<PathBuf>, clock_file: Option<PathBuf>) -> Env {
    Env {
        clock: Arc::new(OsClock::with_file(clock_file)),
        rng: Arc::new(OsRng::default()),
        disk: Arc::new(OsDisk { root: store_dir.into() }),
        spawner: Arc::new(TokioSpawner { handle: tokio::runtime::Handle::current() }),
    }
}

/// A fast generator seeded from the system; secrets come from `/dev/urandom`.
#[derive(Default)]
pub struct OsRng {
    fast: Mutex<fastrand::Rng>,
}

impl Rng for OsRng {
    fn next_u64(&self) -> u64 {
        self.fast.lock().u64(..)
    }

    fn fill_secret(&self, buffer: &mut [u8]) {
        let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(buffer));
        read.expect("the system's random source is readable");
    }
}

/// Tasks on a tokio runtime; blocking loops on threads of their own.
pub struct TokioSpawner {
    handle: tokio::runtime::Handle,
}

impl Spawner for TokioSpawner {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }

    fn spawn_blocking_loop(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let handle = self.handle.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || handle.block_on(task))
            .expect("the system can start a thread");
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let _in_runtime = self.handle.enter();
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A directory of the file system.
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn file_system(&self) -> io::Result<libc::statvfs> {
        let path = CString::new(self.root.as_os_str().as_encoded_bytes())?;
        // SAFETY: a structure of integers, for which zeroes are valid.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends in a zero byte, and both outlive the call.
        match unsafe { libc::statvfs(path.as_ptr(), &raw mut room) } {
            0 => Ok(room),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let write = mode == OpenMode::ReadWriteCreate;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(write)
            .create(write)
            .truncate(false)
            .open(self.path(path))?;
        Ok(Arc::new(OsFile { file }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let room = self.file_system()?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn size_bytes(&self) -> io::Result<u64> {
        let room = self.file_system()?;
        Ok(room.f_blocks.saturating_mul(room.f_frsize))
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { fs::File::open(self.path(dir))?.sync_all() })
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        lock_file(&self.path(path))
    }
}

fn lock_file(path: &Path) -> io::Result<Box<dyn DiskLock>> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    // SAFETY: the descriptor is open for the whole call and flock has no memory effects.
    let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if taken == 0 { Ok(Box::new(FileLock { _file: file })) } else { Err(io::Error::last_os_error()) }
}

struct FileLock {
    _file: fs::File,
}

impl DiskLock for FileLock {}

struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the descriptor is open for the whole call and the call has no memory effects.
        match unsafe { libc::posix_fallocate(self.file.as_raw_fd(), 0, len) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        // Blocks the calling thread by design: only loops on threads of their own sync files.
        Box::pin(async move { self.file.sync_data() })
    }
}
