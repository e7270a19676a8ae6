//! Reads: point lookups and cursors, of now or of a snapshot.

use basalt_storage::{EngineIterator, Family, IterOptions, Reader, Result};
use bytes::Bytes;
use rocksdb::{DBRawIteratorWithThreadMode, ErrorKind, ReadOptions};

use crate::store::{Db, OwnedSnapshot, Store, add};

/// A consistent view.
pub(crate) struct RocksSnapshot(pub OwnedSnapshot);

impl Reader for RocksSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        get(&self.0.store, family, key, &self.options())
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        Ok(Box::new(RocksIter::new(&self.0.store, family, options, self.options())))
    }
}

impl RocksSnapshot {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.0.get());
        options
    }
}

pub(crate) fn get(store: &Store, family: Family, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>> {
    add(&store.counts.gets, 1);
    let value = store.db.get_pinned_cf_opt(store.family(family), key, options);
    let value = value.map_err(|error| store.read_error(error))?;
    Ok(value.map(|pinned| Bytes::copy_from_slice(&pinned)))
}

/// A cursor. Its borrow of the store keeps the database open.
pub(crate) struct RocksIter<'a> {
    iter: DBRawIteratorWithThreadMode<'a, Db>,
    store: &'a Store,
    /// The key under the cursor, fetched once per step: callers look at it several times, and each look at the
    /// C++ side costs two calls. `None`: not positioned.
    key: Option<&'a [u8]>,
    /// Moves may give up.
    bounded: bool,
    gave_up: bool,
    seeks: u64,
    steps: u64,
}

impl<'a> RocksIter<'a> {
    pub fn new(store: &'a Store, family: Family, options: IterOptions, mut read: ReadOptions) -> Self {
        if let Some(lower) = options.lower {
            read.set_iterate_lower_bound(lower);
        }
        if let Some(upper) = options.upper {
            read.set_iterate_upper_bound(upper);
        }
        // Within one key the filter over user keys may answer; otherwise the order is total and filters are not asked.
        let one_key = options.one_key && family != Family::Local;
        read.set_prefix_same_as_start(one_key);
        read.set_total_order_seek(!one_key);
        if let Some(skips_max) = options.skips_max {
            read.set_max_skippable_internal_keys(skips_max.max(1));
        }
        let bounded = options.skips_max.is_some();
        let iter = store.db.raw_iterator_cf_opt(store.family(family), read);
        Self { iter, store, key: None, bounded, gave_up: false, seeks: 0, steps: 0 }
    }

    fn fetch(&mut self) -> Result<()> {
        self.key = self.iter.key().map(|key| {
            // SAFETY: RocksDB keeps the bytes in place until the iterator moves or is dropped. Every move goes through
            // this type and ends here, which replaces `key`; the trait lends it for no longer than `&self`.
            unsafe { std::slice::from_raw_parts(key.as_ptr(), key.len()) }
        });
        self.gave_up = false;
        if self.key.is_some() {
            return Ok(());
        }
        match self.iter.status() {
            Err(error) if self.bounded && error.kind() == ErrorKind::Incomplete => self.gave_up = true,
            status => status.map_err(|error| self.store.read_error(error))?,
        }
        Ok(())
    }
}

impl Drop for RocksIter<'_> {
    fn drop(&mut self) {
        add(&self.store.counts.seeks, self.seeks);
        add(&self.store.counts.steps, self.steps);
    }
}

impl EngineIterator for RocksIter<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.seeks += 1;
        self.iter.seek(key);
        self.fetch()
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        self.seeks += 1;
        self.iter.seek_for_prev(key);
        self.fetch()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.seeks += 1;
        self.iter.seek_to_first();
        self.fetch()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.seeks += 1;
        self.iter.seek_to_last();
        self.fetch()
    }

    fn next(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.next();
        self.fetch()
    }

    fn prev(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.prev();
        self.fetch()
    }

    fn valid(&self) -> bool {
        self.key.is_some()
    }

    fn gave_up(&self) -> bool {
        self.gave_up
    }

    fn key(&self) -> &[u8] {
        self.key.expect("key is read only while valid")
    }

    fn value(&self) -> &[u8] {
        self.iter.value().expect("value is read only while valid")
    }
}
