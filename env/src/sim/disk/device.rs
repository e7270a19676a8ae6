//! The disk itself: power, room, faults.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    content::{Lands, SECTOR, Shared, Stray, Target},
    fault::{DiskFault, DiskFaultCounts, Faults, InjectedFault, Kind, Operation},
};
use crate::{BoxFuture, sim::SimRng};

/// What a crash does to writes that were not synced.
pub enum Tear<'a> {
    /// All of them are lost.
    Lose,
    /// Each sector and each directory change survives or not, as the random source says.
    Random(&'a SimRng),
}

type Names = BTreeMap<String, Shared>;

pub(super) struct State {
    pub(super) names: Names,
    pub(super) durable_names: Names,
    /// Handles of earlier incarnations fail.
    incarnation: u64,
    pub(super) capacity: u64,
    /// Syncs left before the disk stops; see [`SimDisk::stop_at_sync`].
    syncs_left: Option<u64>,
    /// The operation at which the disk stops; see [`SimDisk::stop_at_operation`].
    last_operation: Option<u64>,
    stopped: bool,
    sync_error: bool,
    sync_delay: Option<SyncDelay>,
    pub(super) faults: Faults,
    pub(super) locks: BTreeMap<String, Weak<()>>,
}

/// Makes a future that a sync waits for.
type SyncDelay = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What a sync must do.
pub(super) struct BegunSync {
    pub(super) delay: Option<SyncDelay>,
    /// Nothing, and say that it is done.
    pub(super) lies: bool,
}

/// Cloned handles share the disk.
#[derive(Clone)]
pub struct SimDisk {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) syncs: Arc<AtomicU64>,
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
            last_operation: None,
            stopped: false,
            sync_error: false,
            sync_delay: None,
            faults: Faults::default(),
            locks: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), syncs: Arc::default(), incarnation: 0 }
    }
}

/// Power.
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
        let strays: Vec<_> = names.values().flat_map(|content| content.lock().crash(&tear)).collect();
        strays.into_iter().for_each(Stray::land);
        let mut torn = 0;
        for (name, content) in &names {
            let mut content = content.lock();
            content.drop_cache();
            content.path.clone_from(name);
            torn += std::mem::take(&mut content.torn);
        }
        state.faults.counts.torn_writes += torn;
        state.names = names.clone();
        state.durable_names = names;
        state.incarnation += 1;
        state.syncs_left = None;
        state.last_operation = None;
        state.stopped = false;
        state.sync_error = false;
        state.locks.clear();
        self.next_handle(&state)
    }

    /// Ends the process without cutting the power: nothing is lost, handles and locks die.
    /// Returns the disk as the next process sees it.
    pub fn restart(&self) -> Self {
        let mut state = self.state.lock();
        state.incarnation += 1;
        state.locks.clear();
        self.next_handle(&state)
    }

    fn next_handle(&self, state: &State) -> Self {
        Self { state: self.state.clone(), syncs: self.syncs.clone(), incarnation: state.incarnation }
    }

    /// From the sync after the next `count` on, nothing works any more and nothing becomes durable: the power is
    /// about to be cut.
    pub fn stop_at_sync(&self, count: u64) {
        self.state.lock().syncs_left = Some(count);
    }

    /// The same from the operation after the next `count` on, of any kind.
    pub fn stop_at_operation(&self, count: u64) {
        let mut state = self.state.lock();
        state.last_operation = Some(state.faults.operations.saturating_add(count));
    }

    /// Whether [`SimDisk::stop_at_sync`] or [`SimDisk::stop_at_operation`] took effect.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Forgets what the system has cached of files, so that reads show what the medium has.
    pub fn drop_caches(&self) {
        for content in self.state.lock().names.values() {
            content.lock().drop_cache();
        }
    }
}

/// Faults, and what a run can prove by them.
impl SimDisk {
    /// Has the disk misbehave from now on.
    pub fn inject(&self, fault: DiskFault) -> InjectedFault {
        self.state.lock().faults.inject(fault)
    }

    /// Ends all injected faults, and a failure that was still to come. Those of room and of delay stay.
    pub fn lift_faults(&self) {
        self.state.lock().faults.lift_all();
    }

    /// How often faults bit.
    pub fn fault_counts(&self) -> DiskFaultCounts {
        self.state.lock().faults.counts
    }

    /// Operations so far, over all incarnations: the range of a sweep with [`SimDisk::fail_operation`].
    pub fn operations(&self) -> u64 {
        self.state.lock().faults.operations
    }

    /// Has the operation after the next `count` fail with EIO, once.
    pub fn fail_operation(&self, count: u64) {
        let faults = &mut self.state.lock().faults;
        faults.failing = Some(faults.operations.saturating_add(count).saturating_add(1));
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

    /// The files there are, in order.
    pub fn paths(&self, choose: impl Fn(&str) -> bool) -> Vec<String> {
        self.state.lock().names.keys().filter(|path| choose(path)).cloned().collect()
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
        let mut state = self.state.lock();
        state.names.get(path).expect("the file exists").lock().flip(offset, 0xff);
        state.faults.counts.flipped_bits += 8;
    }

    /// Flips one bit at rest, of a file whose path satisfies `choose`. Returns where; `None` when all such files are
    /// empty.
    pub fn flip_bit(&self, rng: &SimRng, choose: impl Fn(&str) -> bool) -> Option<(String, usize)> {
        let mut state = self.state.lock();
        let (path, content, offset) = any_byte(&state.names, rng, choose)?;
        content.lock().flip(offset, 1 << rng.below(8));
        state.faults.counts.flipped_bits += 1;
        Some((path, offset))
    }

    /// Cuts a file off at rest, before a byte of it. Otherwise as [`SimDisk::flip_bit`].
    pub fn truncate(&self, rng: &SimRng, choose: impl Fn(&str) -> bool) -> Option<(String, usize)> {
        let mut state = self.state.lock();
        let (path, content, len) = any_byte(&state.names, rng, choose)?;
        content.lock().truncate(len);
        state.faults.counts.truncations += 1;
        Some((path, len))
    }
}

/// A byte of a file whose path satisfies `choose`; each byte is as likely as every other, whatever file it is in.
fn any_byte(names: &Names, rng: &SimRng, choose: impl Fn(&str) -> bool) -> Option<(String, Shared, usize)> {
    let len = |content: &Shared| content.lock().current.len();
    let chosen = names.iter().filter(|(path, _)| choose(path));
    let total: usize = chosen.clone().map(|(_, content)| len(content)).sum();
    let mut offset = if total == 0 { return None } else { rng.below(total) };
    for (path, content) in chosen {
        if offset < len(content) {
            return Some((path.clone(), content.clone(), offset));
        }
        offset -= len(content);
    }
    None
}

/// What every operation passes first.
impl SimDisk {
    fn check(&self, state: &State) -> io::Result<()> {
        if state.stopped || state.incarnation != self.incarnation {
            return Err(io::Error::other("the simulated machine is off"));
        }
        Ok(())
    }

    /// Fails when this handle's process has ended or the power is off.
    pub(super) fn check_on(&self) -> io::Result<()> {
        self.check(&self.state.lock())
    }

    pub(super) fn begin(&self, state: &mut State, operation: Operation, path: &str) -> io::Result<()> {
        self.check(state)?;
        if state.last_operation.is_some_and(|last| state.faults.operations >= last) {
            state.stopped = true;
            return self.check(state);
        }
        state.faults.begin(operation, path)
    }

    pub(super) fn begin_on(&self, operation: Operation, content: &Shared) -> io::Result<()> {
        let mut state = self.state.lock();
        self.begin(&mut state, operation, &content.lock().path)
    }

    /// Says where a write of `count` bytes up to `end` lands.
    pub(super) fn begin_write(&self, content: &Shared, end: u64, count: usize) -> io::Result<Lands> {
        let mut state = self.state.lock();
        let path = content.lock().path.clone();
        self.begin(&mut state, Operation::Write, &path)?;
        make_room(&mut state, content, end)?;
        let State { names, faults, .. } = &mut *state;
        if faults.bite(Kind::LoseWrite, &path, |_| Some(())).is_some() {
            faults.counts.lost_writes += 1;
            return Ok(Lands::Nowhere);
        }
        match faults.bite(Kind::MisdirectWrite, &path, |rng| wrong_place(names, content, end, count, rng)) {
            Some(target) => {
                faults.counts.misdirected_writes += 1;
                Ok(Lands::Elsewhere(target))
            }
            None => Ok(Lands::Here),
        }
    }

    pub(super) fn begin_resize(&self, content: &Shared, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        self.begin(&mut state, Operation::SetLen, &content.lock().path)?;
        make_room(&mut state, content, len)
    }

    pub(super) fn begin_sync(&self, content: &Shared) -> io::Result<BegunSync> {
        let mut state = self.state.lock();
        self.check(&state)?;
        match &mut state.syncs_left {
            Some(0) => {
                state.stopped = true;
                self.check(&state)?;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let path = content.lock().path.clone();
        if let Err(error) = self.begin(&mut state, Operation::Sync, &path) {
            if !state.stopped {
                content.lock().fail_sync();
            }
            return Err(error);
        }
        if state.sync_error {
            state.faults.counts.errors += 1;
            return Err(io::Error::other("simulated sync failure"));
        }
        let lies = state.faults.bite(Kind::LieAboutSync, &path, |_| Some(())).is_some();
        state.faults.counts.lying_syncs += u64::from(lies);
        state.faults.counts.delayed_syncs += u64::from(state.sync_delay.is_some());
        Ok(BegunSync { delay: state.sync_delay.clone(), lies })
    }
}

/// A full disk refuses growth only: what is allocated can be overwritten.
fn make_room(state: &mut State, content: &Shared, len: u64) -> io::Result<()> {
    let present = content.lock().current.len() as u64;
    if len > present && used(&state.names).saturating_add(len - present) > state.capacity {
        state.faults.counts.full += 1;
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// A place on the medium that holds something, for a write of `count` bytes up to `end` of `content` to hit by mistake.
fn wrong_place(names: &Names, content: &Shared, end: u64, count: usize, rng: &SimRng) -> Option<Target> {
    let durable = |content: &Shared| content.lock().durable.len();
    let files: Vec<&Shared> = names.values().filter(|content| durable(content) > 0).collect();
    if files.is_empty() {
        return None;
    }
    let file = files[rng.below(files.len())];
    let mut offset = rng.below(durable(file).saturating_sub(count) + 1);
    if count >= SECTOR {
        offset -= offset % SECTOR;
    }
    let is_right = Arc::ptr_eq(file, content) && (offset + count) as u64 == end;
    (!is_right).then(|| Target { file: Arc::downgrade(file), offset })
}

pub(super) fn used(names: &Names) -> u64 {
    names.values().map(|content| content.lock().current.len() as u64).sum()
}
