//! A disk in memory with the crash semantics of a real one.
//!
//! A write is visible at once and durable after `sync` of its file; a creation, removal or rename is durable after
//! `sync_dir` of its directory. [`SimDisk::crash`] throws the rest away, or, when asked to tear, keeps an arbitrary
//! part of it, sector by sector, because that is what a power cut leaves behind.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::{BoxFuture, Disk, DiskLock, File, OpenMode, sim::SimRng};

const SECTOR: usize = 512;

/// What a crash does to writes that were not synced.
pub enum Tear<'a> {
    /// All of them are lost.
    Lose,
    /// Each sector and each directory change survives or not, as the random source says.
    Random(&'a SimRng),
}

enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

#[derive(Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
    /// Changes synced so far; the first pending one comes right behind them.
    synced: u64,
}

impl Content {
    fn change(&mut self, change: Change) {
        apply(&mut self.current, &change);
        self.pending.push(change);
    }

    /// The number of changes made so far.
    fn changes(&self) -> u64 {
        self.synced + self.pending.len() as u64
    }

    /// Makes the first `count` changes durable. What is written while a sync runs is not part of it.
    fn sync(&mut self, count: u64) {
        let count = usize::try_from(count.saturating_sub(self.synced)).unwrap_or(usize::MAX);
        let count = count.min(self.pending.len());
        for change in self.pending.drain(..count) {
            apply(&mut self.durable, &change);
        }
        self.synced += count as u64;
    }

    fn crash(&mut self, tear: &Tear<'_>) {
        let pending = std::mem::take(&mut self.pending);
        if let Tear::Random(rng) = tear {
            for change in pending {
                match change {
                    Change::SetLen(len) if rng.coin() => apply(&mut self.durable, &Change::SetLen(len)),
                    Change::SetLen(_) => {}
                    Change::Write { offset, data } => {
                        let mut done = 0;
                        while done < data.len() {
                            let at = offset + done;
                            let part = (SECTOR - at % SECTOR).min(data.len() - done);
                            if rng.coin() {
                                let data = data[done..done + part].to_vec();
                                apply(&mut self.durable, &Change::Write { offset: at, data });
                            }
                            done += part;
                        }
                    }
                }
            }
        }
        self.current = self.durable.clone();
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len, 0),
        Change::Write { offset, data } => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
    }
}

type Names = BTreeMap<String, Arc<Mutex<Content>>>;

struct State {
    names: Names,
    durable_names: Names,
    /// Handles of earlier incarnations fail.
    incarnation: u64,
    capacity: u64,
    /// Syncs left before the disk stops; see [`SimDisk::stop_at_sync`].
    syncs_left: Option<u64>,
    stopped: bool,
    sync_error: bool,
    sync_delay: Option<SyncDelay>,
    locks: BTreeMap<String, Weak<()>>,
}

/// Makes a future that a sync waits for.
type SyncDelay = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Cloned handles share the disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    syncs: Arc<AtomicU64>,
    /// The incarnation this handle belongs to.
    incarnation: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        let state = State {
            names: Names::new(),
            durable_names: Names::new(),
            incarnation: 0,
            capacity: u64::MAX,
            syncs_left: None,
            stopped: false,
            sync_error: false,
            sync_delay: None,
            locks: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), syncs: Arc::default(), incarnation: 0 }
    }
}

impl SimDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: unsynced changes are lost (or torn), open handles and locks die.
    /// Returns the disk as the next process sees it.
    pub fn crash(&self, tear: Tear<'_>) -> Self {
        let mut state = self.state.lock();
        let mut names = std::mem::take(&mut state.durable_names);
        if let Tear::Random(rng) = &tear {
            // A directory change that was not synced may have reached the disk all the same.
            let changed: Vec<_> = state.names.keys().chain(names.keys()).cloned().collect();
            for name in changed {
                if rng.coin() {
                    match state.names.get(&name) {
                        Some(content) => drop(names.insert(name, content.clone())),
                        None => drop(names.remove(&name)),
                    }
                }
            }
        }
        for content in names.values() {
            content.lock().crash(&tear);
        }
        state.names = names.clone();
        state.durable_names = names;
        state.incarnation += 1;
        state.syncs_left = None;
        state.stopped = false;
        state.sync_error = false;
        state.locks.clear();
        Self { state: self.state.clone(), syncs: self.syncs.clone(), incarnation: state.incarnation }
    }

    /// Ends the process without cutting the power: nothing is lost, handles and locks die.
    /// Returns the disk as the next process sees it.
    pub fn restart(&self) -> Self {
        let mut state = self.state.lock();
        state.incarnation += 1;
        state.locks.clear();
        Self { state: self.state.clone(), syncs: self.syncs.clone(), incarnation: state.incarnation }
    }

    /// From the sync after the next `count` on, nothing works any more and nothing becomes durable: the power is
    /// about to be cut.
    pub fn stop_at_sync(&self, count: u64) {
        self.state.lock().syncs_left = Some(count);
    }

    /// Whether [`SimDisk::stop_at_sync`] took effect.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Makes every sync of a file fail from now on.
    pub fn fail_syncs(&self) {
        self.state.lock().sync_error = true;
    }

    /// Makes every sync wait for the future that `delay` returns: a slow disk, or one that stalls.
    pub fn delay_syncs(&self, delay: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.state.lock().sync_delay = Some(Arc::new(delay));
    }

    /// Bytes that all files together may take.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes that all files together take.
    pub fn used(&self) -> u64 {
        used(&self.state.lock().names)
    }

    /// Completed syncs of files.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Flips one byte of a file, durably.
    ///
    /// # Panics
    /// When the file or the byte does not exist.
    pub fn corrupt(&self, path: &str, offset: usize) {
        let state = self.state.lock();
        let mut content = state.names.get(path).expect("the file exists").lock();
        content.current[offset] ^= 0xff;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= 0xff;
        }
    }

    /// What a sync must wait for.
    fn begin_sync(&self) -> io::Result<Option<SyncDelay>> {
        let mut state = self.state.lock();
        self.check(&state)?;
        match &mut state.syncs_left {
            Some(0) => {
                state.stopped = true;
                return self.check(&state).map(|()| None);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if state.sync_error {
            return Err(io::Error::other("simulated sync failure"));
        }
        Ok(state.sync_delay.clone())
    }

    fn check(&self, state: &State) -> io::Result<()> {
        if state.stopped || state.incarnation != self.incarnation {
            return Err(io::Error::other("the simulated machine is off"));
        }
        Ok(())
    }
}

fn used(names: &Names) -> u64 {
    names.values().map(|content| content.lock().current.len() as u64).sum()
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Disk for SimDisk {
    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.saturating_sub(used(&state.names)))
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        self.check(&state)?;
        let content = match (state.names.get(path), mode) {
            (Some(content), _) => content.clone(),
            (None, OpenMode::Read) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::ReadWriteCreate) => {
                let content = Arc::<Mutex<Content>>::default();
                state.names.insert(path.to_owned(), content.clone());
                content
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), content }))
    }

    fn create_dir_all(&self, _path: &str) -> io::Result<()> {
        self.check(&self.state.lock())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        self.check(&state)?;
        let inside = state.names.keys().filter(|path| directory(path) == dir);
        Ok(inside.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        self.check(&state)?;
        state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        self.check(&state)?;
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut state = self.state.lock();
            self.check(&state)?;
            let state = &mut *state;
            state.durable_names.retain(|path, _| directory(path) != dir);
            let inside = state.names.iter().filter(|(path, _)| directory(path) == dir);
            let inside: Vec<_> = inside.map(|(path, content)| (path.clone(), content.clone())).collect();
            state.durable_names.extend(inside);
            Ok(())
        })
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state.lock();
        self.check(&state)?;
        if state.locks.get(path).is_some_and(|holder| holder.strong_count() > 0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let holder = Arc::new(());
        state.locks.insert(path.to_owned(), Arc::downgrade(&holder));
        Ok(Box::new(SimLock { _holder: holder }))
    }
}

struct SimLock {
    _holder: Arc<()>,
}

impl DiskLock for SimLock {}

struct SimFile {
    disk: SimDisk,
    content: Arc<Mutex<Content>>,
}

impl SimFile {
    fn extend_to(&self, len: u64) -> io::Result<()> {
        let state = self.disk.state.lock();
        self.disk.check(&state)?;
        let present = self.content.lock().current.len() as u64;
        // A full disk refuses growth only: what is allocated can be overwritten.
        if len > present && used(&state.names) + (len - present) > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.check(&self.disk.state.lock())?;
        let content = self.content.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.current.len());
        let count = buffer.len().min(content.current.len() - start);
        buffer[..count].copy_from_slice(&content.current[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.extend_to(offset + data.len() as u64)?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.content.lock().change(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.check(&self.disk.state.lock())?;
        Ok(self.content.lock().current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.extend_to(len)?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.content.lock().change(Change::SetLen(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let delay = self.disk.begin_sync()?;
            let changes = self.content.lock().changes();
            if let Some(delay) = delay {
                delay().await;
                self.disk.check(&self.disk.state.lock())?;
            }
            self.content.lock().sync(changes);
            self.disk.syncs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The futures of the simulated disk are ready at once.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("the simulated disk never waits"),
        }
    }

    fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(path, OpenMode::Read).ok()?;
        let mut buffer = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(0, &mut buffer).unwrap();
        Some(buffer)
    }

    #[test]
    fn a_crash_keeps_what_was_synced_only() {
        let disk = SimDisk::new();
        let file = disk.open("d/a", OpenMode::ReadWriteCreate).unwrap();
        file.write_at(0, b"durable").unwrap();
        block_on(file.sync()).unwrap();
        block_on(disk.sync_dir("d")).unwrap();
        file.write_at(0, b"changed").unwrap();
        disk.open("d/b", OpenMode::ReadWriteCreate).unwrap();
        let after = disk.crash(Tear::Lose);
        assert_eq!(read(&after, "d/a").as_deref(), Some(&b"durable"[..]));
        assert_eq!(read(&after, "d/b"), None);
        assert!(file.write_at(0, b"x").is_err());
    }

    #[test]
    fn a_full_disk_refuses_growth_but_not_allocated_space() {
        let disk = SimDisk::new();
        disk.set_capacity(100);
        let file = disk.open("a", OpenMode::ReadWriteCreate).unwrap();
        file.allocate(100).unwrap();
        file.write_at(90, &[1; 10]).unwrap();
        assert_eq!(file.write_at(91, &[1; 10]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.set_capacity(101);
        file.write_at(91, &[1; 10]).unwrap();
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped_or_crashed() {
        let disk = SimDisk::new();
        let lock = disk.lock("l").unwrap();
        assert!(disk.lock("l").is_err());
        drop(lock);
        let _lock = disk.lock("l").unwrap();
        assert!(disk.crash(Tear::Lose).lock("l").is_ok());
    }
}
