//! The state engine: an ordered, transactional-in-batches key-value store with three families.
//!
//! A write batch is atomic and visible at once, but durable only after [`Engine::flush`]:
//! the Raft log is what makes commits durable, and recovery replays it from the durable applied index.
//! After a crash the engine holds some *prefix* of the batches written, at least those before the last flush.

use std::sync::Arc;

use basalt_base::{Key, Span};
use bytes::Bytes;

use crate::{Result, WriteBatch};

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Committed versions: `key ‖ inverted timestamp → value`.
    Data,
    /// Locks and provisional values of open transactions.
    Lock,
    /// Unversioned state: range-ID-local keys and transaction records.
    Local,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::Data, Self::Lock, Self::Local];
}

/// Bounds of an iterator. Both are engine keys of one family.
#[derive(Clone, Debug, Default)]
pub struct IterOptions {
    pub lower: Option<Key>,
    /// Exclusive.
    pub upper: Option<Key>,
    /// The whole iteration stays within the versions, or the locks, of one user key, goes forward, and is positioned by
    /// `seek` to full engine keys (user key and suffix) only: filters over user keys may be used.
    pub one_key: bool,
    /// A move that passes more than so many deleted entries gives up; see [`EngineIterator::gave_up`].
    pub skips_max: Option<u64>,
}

impl IterOptions {
    /// All of `span`.
    pub fn within(span: &Span) -> Self {
        Self { lower: Some(span.start.clone()), upper: Some(span.end.clone()), ..Self::default() }
    }
}

/// A consistent view: the engine now, a snapshot, or a snapshot under an open batch.
pub trait Reader: Send + Sync {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>>;
    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>>;
}

/// A cursor. It starts unpositioned; `key` and `value` may be called only while `valid`.
pub trait EngineIterator: Send {
    /// Positions at the first key ≥ `key`.
    fn seek(&mut self, key: &[u8]) -> Result<()>;
    /// Positions at the last key ≤ `key`.
    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()>;
    fn seek_to_first(&mut self) -> Result<()>;
    fn seek_to_last(&mut self) -> Result<()>;
    fn next(&mut self) -> Result<()>;
    fn prev(&mut self) -> Result<()>;
    fn valid(&self) -> bool;
    /// Not valid because the last move passed too many deleted entries: what lies beyond them is unknown. The cursor
    /// must be positioned anew.
    fn gave_up(&self) -> bool {
        false
    }
    fn key(&self) -> &[u8];
    fn value(&self) -> &[u8];
}

/// A cursor over nothing. Without a size, so that boxing it allocates nothing.
pub struct EmptyIterator;

impl EngineIterator for EmptyIterator {
    fn seek(&mut self, _key: &[u8]) -> Result<()> {
        Ok(())
    }

    fn seek_for_prev(&mut self, _key: &[u8]) -> Result<()> {
        Ok(())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        Ok(())
    }

    fn valid(&self) -> bool {
        false
    }

    fn key(&self) -> &[u8] {
        &[]
    }

    fn value(&self) -> &[u8] {
        &[]
    }
}

/// Counts since the engine was opened, for metrics and budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineCounts {
    pub gets: u64,
    pub seeks: u64,
    pub steps: u64,
    pub batches: u64,
    pub batch_bytes: u64,
    pub flushes: u64,
}

/// An engine. As a [`Reader`] it reads the newest state (each call on its own).
pub trait Engine: Reader {
    /// Applies a batch atomically; not durable before [`Engine::flush`].
    /// Any error but `DiskFull` poisons the engine: whether the batch is in it is unknown, but it is wholly or not at all.
    fn write(&self, batch: WriteBatch) -> Result<()>;
    /// A consistent view of now, unaffected by later writes.
    fn snapshot(&self) -> Arc<dyn Reader>;
    /// Makes everything written so far durable, in all families at one point.
    fn flush(&self) -> Result<()>;
    /// About how many bytes `span` (engine keys) takes in `family`; an estimate, cheap.
    fn approximate_bytes(&self, family: Family, span: &Span) -> Result<u64>;
    /// Reclaims the space of a span whose every key is deleted and which no snapshot will read again: whatever is
    /// left of it may vanish at once.
    fn compact(&self, family: Family, span: &Span) -> Result<()>;
    /// Rewrites the files of a span in which much was deleted, so that cursors need not step over what is gone. Takes
    /// its time: not for a thread that others wait for.
    fn compact_deleted(&self, family: Family, span: &Span) -> Result<()>;
    fn counts(&self) -> EngineCounts;
    /// What the medium was first found to have damaged, since the engine was opened: file and place. Reads of it fail with
    /// `Corruption`, and so does whatever rewrites it.
    fn damage(&self) -> Option<String> {
        None
    }
}
