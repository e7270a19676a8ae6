//! The engine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use basalt_base::Span;
use basalt_storage::{
    Engine, EngineCounts, EngineIterator, Error, Family, IterOptions, Op, Reader, Result, WriteBatch,
};
use bytes::Bytes;
use rocksdb::{BottommostLevelCompaction, CompactOptions, Range, ReadOptions, ReadTier};

use crate::error::{map_error, poisons};
use crate::options::RocksOptions;
use crate::reader::{RocksIter, RocksSnapshot, get};
use crate::store::{OwnedSnapshot, Store, add};

/// Memtable entries looked at for an estimate.
const ESTIMATE_ENTRIES_MAX: usize = 32 << 10;

/// A store in a directory of its own. Clones share it; it closes when the last clone, snapshot and iterator is gone.
#[derive(Clone)]
pub struct RocksEngine {
    store: Arc<Store>,
}

impl RocksEngine {
    /// Opens or creates the store. A second process is refused ([`Error::Locked`]).
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self> {
        Ok(Self { store: Store::open(path, options)? })
    }

    /// Writes the memtables of all families into files, at one point. [`Engine::flush`] does not: it is for a clean
    /// stop with a fast start after it, and for tests.
    pub fn flush_memtables(&self) -> Result<()> {
        let handles = Family::ALL.map(|family| self.store.family(family));
        self.store.db.flush_cfs_opt(&handles, &rocksdb::FlushOptions::default()).map_err(map_error)
    }

    /// Bytes of memtables and caches, for the memory budget.
    pub fn memory_bytes(&self) -> Result<u64> {
        let mut total = 0;
        for (index, family) in Family::ALL.into_iter().enumerate() {
            let handle = self.store.family(family);
            for (name, shared) in
                [("rocksdb.cur-size-all-mem-tables", false), ("rocksdb.block-cache-usage", true)]
            {
                if !shared || index == 0 {
                    let value = self.store.db.property_int_value_cf(handle, name).map_err(map_error)?;
                    total += value.unwrap_or(0);
                }
            }
        }
        Ok(total)
    }

    fn fail(&self, error: Error) -> Error {
        if poisons(&error) {
            self.store.poisoned.lock().get_or_insert_with(|| error.to_string());
        }
        error
    }

    fn check_poison(&self) -> Result<()> {
        match &*self.store.poisoned.lock() {
            Some(reason) => Err(Error::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    /// Bytes of `span` that are in memtables. Sizes of files do not contain them, and small ranges live there.
    fn memtable_bytes(&self, family: Family, span: &Span) -> Result<u64> {
        let mut read = ReadOptions::default();
        read.set_read_tier(ReadTier::Memtable);
        let options = IterOptions::within(span);
        let mut iter = RocksIter::new(&self.store, family, options, read);
        iter.seek(&span.start)?;
        let mut bytes = 0;
        for _ in 0..ESTIMATE_ENTRIES_MAX {
            if !iter.valid() {
                return Ok(bytes);
            }
            bytes += (iter.key().len() + iter.value().len()) as u64;
            iter.next()?;
        }
        // Too many to count: take all that is there.
        let all =
            self.store.db.property_int_value_cf(self.store.family(family), "rocksdb.cur-size-all-mem-tables");
        Ok(bytes.max(all.map_err(map_error)?.unwrap_or(0)))
    }
}

impl Reader for RocksEngine {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        get(&self.store, family, key, &ReadOptions::default())
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        Ok(Box::new(RocksIter::new(&self.store, family, options, ReadOptions::default())))
    }
}

impl Engine for RocksEngine {
    fn write(&self, batch: WriteBatch) -> Result<()> {
        self.check_poison()?;
        let bytes = batch.bytes();
        let mut out = rocksdb::WriteBatch::with_capacity_bytes(bytes + 24 * batch.ops.len());
        for op in batch.ops {
            match op {
                Op::Put { family, key, value } => out.put_cf(self.store.family(family), key, value),
                Op::Delete { family, key } => out.delete_cf(self.store.family(family), key),
                Op::DeleteRange { family, span } if !span.is_empty() => {
                    out.delete_range_cf(self.store.family(family), span.start, span.end);
                }
                Op::DeleteRange { .. } => {}
            }
        }
        self.store.db.write(out).map_err(|error| self.fail(self.store.read_error(error)))?;
        add(&self.store.counts.batches, 1);
        add(&self.store.counts.batch_bytes, bytes as u64);
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Reader> {
        Arc::new(RocksSnapshot(OwnedSnapshot::new(self.store.clone())))
    }

    fn flush(&self) -> Result<()> {
        self.check_poison()?;
        self.store.db.flush_wal(true).map_err(|error| self.fail(self.store.read_error(error)))?;
        add(&self.store.counts.flushes, 1);
        Ok(())
    }

    fn approximate_bytes(&self, family: Family, span: &Span) -> Result<u64> {
        if span.is_empty() {
            return Ok(0);
        }
        let range = Range::new(&span.start, &span.end);
        let files: u64 =
            self.store.db.get_approximate_sizes_cf(self.store.family(family), &[range]).iter().sum();
        Ok(files + self.memtable_bytes(family, span)?)
    }

    fn compact(&self, family: Family, span: &Span) -> Result<()> {
        if span.is_empty() {
            return Ok(());
        }
        let handle = self.store.family(family);
        self.store.db.delete_file_in_range_cf(handle, &span.start, &span.end).map_err(map_error)
    }

    fn compact_deleted(&self, family: Family, span: &Span) -> Result<()> {
        if span.is_empty() {
            return Ok(());
        }
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        // Deleted entries go only from the last level, and only when its files are written anew.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        let handle = self.store.family(family);
        self.store.db.compact_range_cf_opt(handle, Some(&span.start), Some(&span.end), &options);
        Ok(())
    }

    fn damage(&self) -> Option<String> {
        self.store.damage.lock().clone()
    }

    fn counts(&self) -> EngineCounts {
        let counts = &self.store.counts;
        EngineCounts {
            gets: counts.gets.load(Ordering::Relaxed),
            seeks: counts.seeks.load(Ordering::Relaxed),
            steps: counts.steps.load(Ordering::Relaxed),
            batches: counts.batches.load(Ordering::Relaxed),
            batch_bytes: counts.batch_bytes.load(Ordering::Relaxed),
            flushes: counts.flushes.load(Ordering::Relaxed),
        }
    }
}
