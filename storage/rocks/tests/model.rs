//! The randomised model test on RocksDB.

use basalt_base::{Key, Span};
use basalt_storage::testing::run_model;
use basalt_storage::{Engine, Family, WriteBatch};
use basalt_storage_rocks::{RocksEngine, RocksOptions};

#[test]
fn multi_version_concurrency_control_agrees_with_the_model() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let engine = RocksEngine::open(directory.path(), &RocksOptions::default()).expect("an empty directory");
    for seed in 0..60 {
        run_model(&engine, seed, 400);
        let mut clear = WriteBatch::new();
        for family in Family::ALL {
            clear.delete_range(family, Span::prefix(Key::from_static(&[0x10])));
        }
        engine.write(clear).expect("the engine is sound");
        // Some seeds read from files, through filters and under range tombstones, and not from memtables only.
        if seed % 10 == 5 {
            engine.flush_memtables().expect("there is room");
        }
    }
}
