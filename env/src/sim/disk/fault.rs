//! What a disk does that it should not.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{Rng, sim::SimRng};

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Open,
    Read,
    Write,
    SetLen,
    Sync,
    SyncDir,
    List,
    MakeDir,
    Rename,
    Remove,
    Lock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Error(Operation),
    RefuseWrite,
    LoseWrite,
    MisdirectWrite,
    LieAboutSync,
}

/// A fault to be injected: what happens, to which files, how often. Lasts until it is lifted or used up, through
/// crashes and restarts.
pub struct DiskFault {
    kind: Kind,
    applies: Box<dyn Fn(&str) -> bool + Send + Sync>,
    one_in: u64,
    times: u64,
    seed: u64,
}

impl DiskFault {
    fn new(kind: Kind) -> Self {
        Self { kind, applies: Box::new(|_| true), one_in: 1, times: u64::MAX, seed: 0 }
    }

    /// The operation fails with EIO and does nothing. After a failed sync the writes that it was for never become
    /// durable, though the next sync succeeds.
    pub fn error(operation: Operation) -> Self {
        Self::new(Kind::Error(operation))
    }

    /// A write that finds no room, though its place was allocated: as on a file system that never writes in place.
    pub fn full_write() -> Self {
        Self::new(Kind::RefuseWrite)
    }

    /// A write that seems to succeed, can be read while it is cached and even survives a sync, but never reaches the
    /// medium: a crash or [`SimDisk::drop_caches`](super::SimDisk::drop_caches) shows what was there before.
    pub fn lost_write() -> Self {
        Self::new(Kind::LoseWrite)
    }

    /// A write that reaches the medium at another place, of this file or another one, and overwrites what is there.
    pub fn misdirected_write() -> Self {
        Self::new(Kind::MisdirectWrite)
    }

    /// A sync, of a file or a directory, that says it is done and has done nothing. A later sync may mend it.
    pub fn lying_sync() -> Self {
        Self::new(Kind::LieAboutSync)
    }

    /// Only files (directories, for operations on them) whose path satisfies `applies`.
    #[must_use]
    pub fn on(mut self, applies: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.applies = Box::new(applies);
        self
    }

    /// One operation in so many, drawn from the seed of the fault.
    #[must_use]
    pub fn one_in(mut self, count: u64) -> Self {
        self.one_in = count.max(1);
        self
    }

    /// So many times at most.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// The handle of a fault. Dropping it does not lift the fault.
#[derive(Clone)]
pub struct InjectedFault {
    bites: Arc<AtomicU64>,
    lifted: Arc<AtomicBool>,
}

impl InjectedFault {
    /// How often the fault has made a difference to an operation.
    pub fn bites(&self) -> u64 {
        self.bites.load(Ordering::Relaxed)
    }

    /// Ends the fault.
    pub fn lift(&self) {
        self.lifted.store(true, Ordering::Relaxed);
    }
}

struct Active {
    fault: DiskFault,
    rng: SimRng,
    handle: InjectedFault,
}

/// How often each kind of fault bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaultCounts {
    /// Operations that failed with EIO.
    pub errors: u64,
    /// Writes of which a power cut kept some sectors, and others not.
    pub torn_writes: u64,
    pub lost_writes: u64,
    pub misdirected_writes: u64,
    pub lying_syncs: u64,
    pub flipped_bits: u64,
    /// Files cut off at rest.
    pub truncations: u64,
    /// Syncs that had to wait.
    pub delayed_syncs: u64,
    /// Operations refused for lack of room.
    pub full: u64,
}

/// The faults of a disk.
#[derive(Default)]
pub(super) struct Faults {
    active: Vec<Active>,
    pub(super) counts: DiskFaultCounts,
    /// Operations so far.
    pub(super) operations: u64,
    /// The number of the operation that fails.
    pub(super) failing: Option<u64>,
}

impl Faults {
    pub(super) fn inject(&mut self, fault: DiskFault) -> InjectedFault {
        let handle = InjectedFault { bites: Arc::default(), lifted: Arc::default() };
        self.active.push(Active { rng: SimRng::new(fault.seed), fault, handle: handle.clone() });
        handle
    }

    pub(super) fn lift_all(&mut self) {
        self.active.clear();
        self.failing = None;
    }

    /// Counts an operation. Fails when a fault says so.
    pub(super) fn begin(&mut self, operation: Operation, path: &str) -> io::Result<()> {
        self.operations += 1;
        let chosen = self.failing == Some(self.operations);
        if chosen || self.bite(Kind::Error(operation), path, |_| Some(())).is_some() {
            self.counts.errors += 1;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if operation == Operation::Write && self.bite(Kind::RefuseWrite, path, |_| Some(())).is_some() {
            self.counts.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// What the first fault of this kind that wants to bite makes of the chance; it may find that it cannot.
    pub(super) fn bite<T>(
        &mut self,
        kind: Kind,
        path: &str,
        bite: impl Fn(&SimRng) -> Option<T>,
    ) -> Option<T> {
        let used_up = |active: &Active| {
            active.handle.lifted.load(Ordering::Relaxed) || active.handle.bites() >= active.fault.times
        };
        self.active.retain(|active| !used_up(active));
        let mut candidates = self.active.iter().filter(|active| {
            let fault = &active.fault;
            fault.kind == kind
                && (fault.applies)(path)
                && (fault.one_in == 1 || active.rng.next_u64().is_multiple_of(fault.one_in))
        });
        let active = candidates.next()?;
        let outcome = bite(&active.rng)?;
        active.handle.bites.fetch_add(1, Ordering::Relaxed);
        Some(outcome)
    }
}
