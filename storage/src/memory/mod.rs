//! An engine in memory, with the crash semantics of a real one.
//!
//! Every key holds its versions by batch number. A snapshot or an iterator is then just a batch number that keeps
//! versions alive, costs nothing to take, and holds no lock between two steps. A crash is the choice of a batch number
//! at or above the last flush: [`MemoryEngine::crash`] gives back what a disk could hold then.
//!
//! Versions that no snapshot, iterator or crash can ask for are dropped as the horizon passes them.

mod iter;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use basalt_base::Span;
use bytes::Bytes;
use parking_lot::RwLock;

use self::iter::MemoryIter;
use self::state::State;
use crate::{Engine, EngineCounts, EngineIterator, Error, Family, IterOptions, Reader, Result, WriteBatch};

/// An engine in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    gets: AtomicU64,
    seeks: AtomicU64,
    steps: AtomicU64,
    skips: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a test makes the engine do instead of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes and flushes fail with [`Error::DiskFull`]; reads go on, and everything recovers when the fault is lifted.
    DiskFull,
    /// The next write or flush fails, and every one after it: the engine is poisoned.
    Io,
}

impl MemoryEngine {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets or lifts a fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.state.write().fault = fault;
    }

    /// The medium damages the data of a key that `random(n)`, which draws from `0..n`, picks: whoever reads it gets
    /// `Corruption`, crashes or not. Says which, if there is data.
    pub fn damage_some(&self, random: &mut dyn FnMut(u64) -> u64) -> Option<String> {
        self.shared.state.write().damage_some(random)
    }

    /// Nothing is damaged any more.
    pub fn mend(&self) {
        let mut state = self.shared.state.write();
        (state.damaged, state.damage_found) = (None, None);
    }

    /// Batches written since the last flush: a crash may keep any prefix of them.
    pub fn unflushed(&self) -> u64 {
        let state = self.shared.state.read();
        state.seq - state.flushed
    }

    /// What is left after a crash that lost all but the first `keep` unflushed batches.
    /// The old engine goes on living, detached, for tasks that have not noticed yet.
    #[must_use]
    pub fn crash(&self, keep: u64) -> Self {
        let state = self.shared.state.read().after_crash(keep);
        Self { shared: Arc::new(Shared { state: RwLock::new(state), counts: Counts::default() }) }
    }

    /// A crash that keeps a random prefix; `random(n)` draws from `0..n`.
    #[must_use]
    pub fn crash_random(&self, random: &mut dyn FnMut(u64) -> u64) -> Self {
        self.crash(random(self.unflushed() + 1))
    }

    /// Deleted entries that cursors have passed, since the engine was made.
    pub fn skips(&self) -> u64 {
        self.shared.counts.skips.load(Ordering::Relaxed)
    }

    /// Keys and versions held, for tests of the horizon.
    pub fn held_versions(&self) -> usize {
        self.shared.state.read().held_versions()
    }
}

impl Shared {
    /// Fails for damaged data, and remembers that it was met.
    fn check(&self, family: Family, key: &[u8]) -> Result<()> {
        let is_damaged = self
            .state
            .read()
            .damaged
            .as_ref()
            .is_some_and(|damaged| family == Family::Data && damaged == key);
        if !is_damaged {
            return Ok(());
        }
        let what = format!("bad checksum at key {key:02x?}");
        self.state.write().damage_found.get_or_insert_with(|| what.clone());
        Err(Error::Corruption(what))
    }
}

/// Keeps the versions of one batch number alive.
struct Pin {
    shared: Arc<Shared>,
    seq: u64,
}

impl Pin {
    fn now(shared: &Arc<Shared>) -> Self {
        let seq = shared.state.write().pin();
        Self { shared: shared.clone(), seq }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.state.write().unpin(self.seq);
    }
}

struct MemorySnapshot {
    pin: Arc<Pin>,
}

impl Reader for MemorySnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        count(&self.pin.shared.counts.gets);
        self.pin.shared.check(family, key)?;
        Ok(self.pin.shared.state.read().get(family, key, self.pin.seq))
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        Ok(Box::new(MemoryIter::new(self.pin.clone(), family, options)))
    }
}

impl Reader for MemoryEngine {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        count(&self.shared.counts.gets);
        self.shared.check(family, key)?;
        let state = self.shared.state.read();
        Ok(state.get(family, key, state.seq))
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        Ok(Box::new(MemoryIter::new(Arc::new(Pin::now(&self.shared)), family, options)))
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: WriteBatch) -> Result<()> {
        let mut state = self.shared.state.write();
        state.check_fault()?;
        state.apply(batch);
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Reader> {
        Arc::new(MemorySnapshot { pin: Arc::new(Pin::now(&self.shared)) })
    }

    fn flush(&self) -> Result<()> {
        let mut state = self.shared.state.write();
        state.check_fault()?;
        state.flush();
        Ok(())
    }

    fn approximate_bytes(&self, family: Family, span: &Span) -> Result<u64> {
        Ok(self.shared.state.read().bytes_in(family, span))
    }

    fn compact(&self, _family: Family, _span: &Span) -> Result<()> {
        Ok(())
    }

    fn compact_deleted(&self, _family: Family, _span: &Span) -> Result<()> {
        Ok(())
    }

    fn damage(&self) -> Option<String> {
        self.shared.state.read().damage_found.clone()
    }

    fn counts(&self) -> EngineCounts {
        let state = self.shared.state.read();
        EngineCounts {
            gets: self.shared.counts.gets.load(Ordering::Relaxed),
            seeks: self.shared.counts.seeks.load(Ordering::Relaxed),
            steps: self.shared.counts.steps.load(Ordering::Relaxed),
            batches: state.seq,
            batch_bytes: state.batch_bytes,
            flushes: state.flushes,
        }
    }
}

impl State {
    fn check_fault(&mut self) -> Result<()> {
        if let Some(reason) = &self.poisoned {
            return Err(Error::Poisoned(reason.clone()));
        }
        match self.fault {
            None => Ok(()),
            Some(Fault::DiskFull) => Err(Error::DiskFull),
            Some(Fault::Io) => {
                self.poisoned = Some("injected i/o error".to_owned());
                Err(Error::Io("injected i/o error".to_owned()))
            }
        }
    }
}
