//! Owned wrappers of RocksDB's borrowed handles.
//!
//! The crate's column family handles, snapshots and iterators borrow the database. Tasks need to own them, so they are
//! kept next to a reference count of the database with their lifetime extended, and dropped before it: Rust drops
//! fields in the order of their declaration, and the database lives on the heap behind the count, so it neither moves
//! nor goes first.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use basalt_storage::{Error, Family, Result};
use parking_lot::Mutex;
use rocksdb::{BoundColumnFamily, Cache, DBWithThreadMode, MultiThreaded, SnapshotWithThreadMode};

use crate::error::map_error;
use crate::options::{RocksOptions, family_name};

pub(crate) type Db = DBWithThreadMode<MultiThreaded>;

pub(crate) struct Store {
    // Before `db`: see the module's comment.
    families: [Arc<BoundColumnFamily<'static>>; 3],
    pub db: Db,
    pub counts: Counts,
    /// Why the engine takes no more writes.
    pub poisoned: Mutex<Option<String>>,
    /// See [`basalt_storage::Engine::damage`].
    pub damage: Mutex<Option<String>>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub gets: AtomicU64,
    pub seeks: AtomicU64,
    pub steps: AtomicU64,
    pub batches: AtomicU64,
    pub batch_bytes: AtomicU64,
    pub flushes: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Store {
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Arc<Self>> {
        let cache = Cache::new_hyper_clock_cache(options.block_cache_bytes, 0);
        let db = Db::open_cf_descriptors(&options.database(&cache), path, options.families(&cache))
            .map_err(map_error)?;
        let family = |family: Family| -> Result<Arc<BoundColumnFamily<'static>>> {
            let handle = db.cf_handle(family_name(family)).ok_or_else(|| {
                Error::Corruption(format!("column family {} is missing", family_name(family)))
            })?;
            // SAFETY: the handle holds a pointer into the C++ database, which stays where it is when `db` moves. It is
            // used only through `Store`, and dropped before `Store::db`.
            Ok(unsafe {
                std::mem::transmute::<Arc<BoundColumnFamily<'_>>, Arc<BoundColumnFamily<'static>>>(handle)
            })
        };
        let families = [family(Family::Data)?, family(Family::Lock)?, family(Family::Local)?];
        let (poisoned, damage) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { families, db, counts: Counts::default(), poisoned, damage }))
    }

    /// The error of an operation on what was written before, which is remembered if it shows damage.
    pub fn read_error(&self, error: rocksdb::Error) -> Error {
        let error = map_error(error);
        if let Error::Corruption(what) = &error {
            self.damage.lock().get_or_insert_with(|| what.clone());
        }
        error
    }

    pub fn family(&self, family: Family) -> &Arc<BoundColumnFamily<'static>> {
        &self.families[family as usize]
    }
}

/// A snapshot that keeps its database open.
pub(crate) struct OwnedSnapshot {
    // Before `store`: see the module's comment.
    snapshot: SnapshotWithThreadMode<'static, Db>,
    pub store: Arc<Store>,
}

impl OwnedSnapshot {
    pub fn new(store: Arc<Store>) -> Self {
        let snapshot = store.db.snapshot();
        // SAFETY: the snapshot refers to `store.db`, which is behind the `Arc` kept beside it and outlives it.
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, Db>, SnapshotWithThreadMode<'static, Db>>(
                snapshot,
            )
        };
        Self { snapshot, store }
    }

    pub fn get(&self) -> &SnapshotWithThreadMode<'static, Db> {
        &self.snapshot
    }
}
