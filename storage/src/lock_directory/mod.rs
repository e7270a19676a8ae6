//! Which keys are locked, kept in memory, so that nobody asks the engine about locks that are not there.
//!
//! Nearly every read and write asks for the locks in its span, and nearly always there are none. The engine's answer to
//! that costs as much as the read itself, and much more after a large transaction, whose deleted locks have to be
//! stepped over. [`LockDirectory`] is an engine that remembers the keys of the lock family: an iterator over a span
//! without locks is an empty one, made without touching the engine, and one over a key with a lock or two fetches them.
//!
//! **Guarantee.** The directory never misses a lock that is in the engine: a key enters before the batch that puts it is
//! written, and leaves after the batch that deletes it was. In between it may name a lock that is not there (any more),
//! which costs a look and changes nothing.
//!
//! Memory is bounded. Beyond [`LockDirectory::KEYS_MAX`] keys, further ones are covered by one *unlisted* span, within
//! which the engine is asked; its front moves up as they are resolved, which large transactions do in key order.
//!
//! Snapshots are views of another moment, so they ask the engine.

mod known;
mod listed;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use basalt_base::Span;
use bytes::Bytes;
use parking_lot::RwLock;

use self::{
    known::{InSpan, Known},
    listed::ListedLocks,
};
use crate::{
    EmptyIterator, Engine, EngineCounts, EngineIterator, Family, IterOptions, Op, Reader, Result, WriteBatch,
};

/// Locks of one key that are fetched without a cursor.
const FETCHED_MAX: usize = 2;

/// An engine with a directory of its locks. Everything that writes to the engine must go through it.
pub struct LockDirectory {
    engine: Arc<dyn Engine>,
    known: RwLock<Known>,
}

impl LockDirectory {
    /// Lock keys remembered one by one: about ten megabytes.
    pub const KEYS_MAX: usize = 64 * 1024;

    /// Reads the lock family of `engine`.
    pub fn open(engine: Arc<dyn Engine>) -> Result<Self> {
        Self::with_capacity(engine, Self::KEYS_MAX)
    }

    /// As [`LockDirectory::open`], remembering at most `keys_max` keys one by one.
    pub fn with_capacity(engine: Arc<dyn Engine>, keys_max: usize) -> Result<Self> {
        let known = RwLock::new(Known::load(&*engine, keys_max)?);
        Ok(Self { engine, known })
    }
}

impl Reader for LockDirectory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get(family, key)
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        if family != Family::Lock {
            return self.engine.iter(family, options);
        }
        // Only of one key, whose locks change under its latch: fetched one by one, those of several keys might be of
        // different moments.
        let listed_max = if options.one_key { FETCHED_MAX } else { 0 };
        let in_span =
            self.known.read().in_span(options.lower.as_deref(), options.upper.as_deref(), listed_max);
        match in_span {
            InSpan::Nothing => Ok(Box::new(EmptyIterator)),
            InSpan::Listed(keys) => Ok(Box::new(ListedLocks::fetch(&*self.engine, keys)?)),
            InSpan::Unknown => self.engine.iter(family, options),
        }
    }
}

impl Engine for LockDirectory {
    fn write(&self, batch: WriteBatch) -> Result<()> {
        let changes: Vec<Op> = batch.ops.iter().filter(|op| changes_locks(op)).cloned().collect();
        if changes.is_empty() {
            return self.engine.write(batch);
        }
        self.known.write().before(&changes);
        let written = self.engine.write(batch);
        let mut known = self.known.write();
        // A failed batch may be in the engine or not: what it puts stays listed, and so does what it deletes.
        known.after(if written.is_ok() { &changes } else { &[] });
        if written.is_ok()
            && known.wants_probe()
            && let Err(error) = known.probe(&*self.engine)
        {
            // The batch is written all the same. The unlisted span stays as it is, and the next batch looks again.
            tracing::warn!(%error, "the locks that are left can't be looked at");
        }
        written
    }

    fn snapshot(&self) -> Arc<dyn Reader> {
        self.engine.snapshot()
    }

    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    fn approximate_bytes(&self, family: Family, span: &Span) -> Result<u64> {
        self.engine.approximate_bytes(family, span)
    }

    fn compact(&self, family: Family, span: &Span) -> Result<()> {
        self.engine.compact(family, span)
    }

    fn compact_deleted(&self, family: Family, span: &Span) -> Result<()> {
        self.engine.compact_deleted(family, span)
    }

    fn counts(&self) -> EngineCounts {
        self.engine.counts()
    }

    fn damage(&self) -> Option<String> {
        self.engine.damage()
    }
}

fn changes_locks(op: &Op) -> bool {
    match op {
        Op::Put { family, .. } | Op::Delete { family, .. } | Op::DeleteRange { family, .. } => {
            *family == Family::Lock
        }
    }
}
