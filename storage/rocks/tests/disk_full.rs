//! A full disk. Needs a small file system of its own, named by `BASALT_SMALL_FS`; without it there is nothing to test.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test on the real system")]

use std::time::{Duration, Instant};

use basalt_base::Key;
use basalt_storage::{Engine, Error, Family, Reader, WriteBatch};
use basalt_storage_rocks::{RocksEngine, RocksOptions};

fn put(engine: &RocksEngine, i: u32) -> Result<(), Error> {
    let mut batch = WriteBatch::new();
    // Incompressible enough to fill the disk.
    let mut state = u64::from(i) + 1;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(4096)
    .collect();
    batch.put(Family::Local, Key::from(format!("key{i:08}")), value);
    engine.write(batch)
}

#[test]
fn writes_fail_on_a_full_disk_reads_go_on_and_it_recovers_when_there_is_room() {
    let Some(small) = std::env::var_os("BASALT_SMALL_FS") else { return };
    let directory = tempfile::tempdir_in(&small).expect("a scratch directory");
    let ballast = std::path::Path::new(&small).join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).expect("there is room");
    let options =
        RocksOptions { block_cache_bytes: 8 << 20, write_buffer_bytes: 2 << 20, ..Default::default() };
    let engine = RocksEngine::open(directory.path(), &options).expect("an empty directory");
    let written = (0..100_000).find(|&i| match put(&engine, i) {
        Ok(()) => false,
        Err(Error::DiskFull) => true,
        Err(other) => panic!("not a full disk: {other}"),
    });
    let written = written.expect("the disk is small");
    for i in 0..written {
        assert!(engine.get(Family::Local, format!("key{i:08}").as_bytes()).expect("reads go on").is_some());
    }
    std::fs::remove_file(&ballast).expect("it is there");
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = put(&engine, written) {
        assert!(matches!(error, Error::DiskFull), "{error}");
        assert!(Instant::now() < deadline, "it does not recover");
        std::thread::yield_now();
    }
    for i in 0..=written {
        assert!(engine.get(Family::Local, format!("key{i:08}").as_bytes()).expect("reads go on").is_some());
    }
}
