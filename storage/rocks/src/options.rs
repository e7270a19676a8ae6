//! Sizes, and what they become in RocksDB.

use basalt_storage::Family;
use basalt_storage::mvcc::key::TIMESTAMP_LEN;
use basalt_storage::mvcc::lock::SUFFIX_LEN;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DEFAULT_COLUMN_FAMILY_NAME, Options, SliceTransform, WriteBufferManager,
};

const BLOOM_BITS_PER_KEY: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;
/// Of a memtable, for the bloom filter over its keys.
const MEMTABLE_BLOOM_RATIO: f64 = 0.05;

/// What a node grants its engine. Memory is about `block_cache_bytes` in all: memtables, index and filter blocks are
/// charged to the cache.
#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    pub block_cache_bytes: usize,
    /// All memtables of all families; must be well below the cache.
    pub write_buffer_bytes: usize,
    pub max_open_files: i32,
    /// Threads that flush and compact.
    pub background_jobs: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 256 << 20,
            write_buffer_bytes: 96 << 20,
            max_open_files: 512,
            background_jobs: 2,
        }
    }
}

impl RocksOptions {
    pub(crate) fn database(&self, cache: &Cache) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_paranoid_checks(true);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_atomic_flush(true);
        options.set_max_open_files(self.max_open_files);
        options.set_max_background_jobs(self.background_jobs);
        // Written pages go out steadily instead of in one burst at the sync.
        options.set_bytes_per_sync(1 << 20);
        options.set_wal_bytes_per_sync(1 << 20);
        options.set_max_total_wal_size(2 * self.write_buffer_bytes as u64);
        options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager_with_cache(
            self.write_buffer_bytes,
            false,
            cache.clone(),
        ));
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(8 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    pub(crate) fn families(&self, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
        // RocksDB insists on a family of its own name. It stays empty, and small: after a full disk, RocksDB resumes
        // only when there is room for the memtables of all families.
        let mut unused = Options::default();
        unused.set_write_buffer_size(64 << 10);
        let ours = Family::ALL
            .map(|family| ColumnFamilyDescriptor::new(family_name(family), self.family(family, cache)));
        let mut families = vec![ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, unused)];
        families.extend(ours);
        families
    }

    fn family(&self, family: Family, cache: &Cache) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_block_size(BLOCK_BYTES);
        table.set_format_version(6);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // Filters are over user keys where keys have a suffix, over whole keys where they have none: never both.
        table.set_whole_key_filtering(family == Family::Local);

        let mut options = Options::default();
        options.set_compression_type(DBCompressionType::Lz4);
        // A large transaction fills the lock family first, and all families are flushed with the first full one.
        let share = if family == Family::Local { 12 } else { 3 };
        options.set_write_buffer_size(self.write_buffer_bytes / share);
        options.set_max_write_buffer_number(3);
        options.set_target_file_size_base(32 << 20);
        options.set_max_bytes_for_level_base(128 << 20);
        if let Some(extractor) = prefix_extractor(family) {
            options.set_prefix_extractor(extractor);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
        } else {
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
        }
        options.set_block_based_table_factory(&table);
        options
    }
}

pub(crate) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Data => "data",
        Family::Lock => "lock",
        Family::Local => "local",
    }
}

/// The user key of an engine key: all but the suffix of fixed length.
///
/// RocksDB asks that prefixes sort as their keys do, which holds because stored user keys are prefix-free. Keys that are
/// only bounds have no meaningful prefix: scans seek in total order and never consult the filter.
fn prefix_extractor(family: Family) -> Option<SliceTransform> {
    match family {
        Family::Data => Some(SliceTransform::create(
            "basalt.without-timestamp",
            |key| &key[..key.len() - TIMESTAMP_LEN],
            Some(|key| key.len() >= TIMESTAMP_LEN),
        )),
        Family::Lock => Some(SliceTransform::create(
            "basalt.without-holder",
            |key| &key[..key.len() - SUFFIX_LEN],
            Some(|key| key.len() >= SUFFIX_LEN),
        )),
        Family::Local => None,
    }
}
