//! What RocksDB does for us at the edges: reopening, locking, damage, snapshots that outlive their engine.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test on the real system")]

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use basalt_base::{Key, Span, Timestamp};
use basalt_storage::mvcc::{self, GetOutcome, ReadContext};
use basalt_storage::{Engine, Error, Family, IterOptions, WriteBatch};
use basalt_storage_rocks::{RocksEngine, RocksOptions};

fn open(path: &Path) -> Result<RocksEngine, Error> {
    RocksEngine::open(
        path,
        &RocksOptions { block_cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20, ..Default::default() },
    )
}

fn put(engine: &dyn Engine, family: Family, key: &str, value: &str) {
    let mut batch = WriteBatch::new();
    batch.put(family, Key::copy_from_slice(key.as_bytes()), Key::copy_from_slice(value.as_bytes()));
    engine.write(batch).expect("there is room");
}

#[test]
fn what_was_written_is_there_after_reopening_and_a_second_owner_is_refused() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let engine = open(directory.path()).expect("an empty directory");
    for family in Family::ALL {
        put(&engine, family, "key-that-is-long-enough-for-a-suffix", "1");
    }
    engine.flush().expect("there is room");
    assert!(matches!(open(directory.path()), Err(Error::Locked(_))));
    drop(engine);
    let engine = open(directory.path()).expect("the first owner is gone");
    use basalt_storage::Reader;
    for family in Family::ALL {
        let value = engine.get(family, b"key-that-is-long-enough-for-a-suffix").expect("the engine is sound");
        assert_eq!(value.as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn snapshots_keep_their_view_and_the_store_open() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let engine = open(directory.path()).expect("an empty directory");
    put(&engine, Family::Local, "a", "1");
    let snapshot = engine.snapshot();
    put(&engine, Family::Local, "a", "2");
    put(&engine, Family::Local, "b", "2");
    engine.flush_memtables().expect("there is room");
    drop(engine);
    let mut iter = snapshot.iter(Family::Local, IterOptions::default()).expect("the engine is sound");
    iter.seek_to_first().expect("the engine is sound");
    assert_eq!((iter.key(), iter.value()), (&b"a"[..], &b"1"[..]));
    iter.next().expect("the engine is sound");
    assert!(!iter.valid());
}

#[test]
fn filters_never_hide_a_key_and_estimates_see_memtables_and_files() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let engine = open(directory.path()).expect("an empty directory");
    let key = |i: u32| Key::from(format!("\x10row{i:06}"));
    let span = Span::prefix(Key::from_static(b"\x10"));
    for round in 0..3u64 {
        for i in (0..3000).filter(|i| i % 3 == round as u32) {
            let mut batch = WriteBatch::new();
            let ts = Timestamp(100 + round);
            let value = [b'x'; 100];
            mvcc::put_committed(&engine, &mut batch, &key(i), Some(&value), None, ts, ts, ts, false)
                .expect("sound");
            engine.write(batch).expect("there is room");
        }
        let bytes = engine.approximate_bytes(Family::Data, &span).expect("the engine is sound");
        assert!(bytes > 90_000 * (round + 1) / 2, "{bytes} in round {round}");
        if round < 2 {
            engine.flush_memtables().expect("there is room");
        }
    }
    for i in 0..3000 {
        let context = ReadContext::at(Timestamp(100 + u64::from(i % 3)));
        let outcome = mvcc::get(&engine, &key(i), &context).expect("the engine is sound");
        assert!(matches!(outcome, GetOutcome::Found(Some(_))), "row {i}");
        let before = ReadContext::at(Timestamp(99));
        assert_eq!(mvcc::get(&engine, &key(i), &before).expect("sound"), GetOutcome::Found(None));
    }
    assert!(engine.counts().seeks > 0 && engine.counts().batches == 3000);
    assert!(engine.memory_bytes().expect("the engine is sound") > 0);
}

#[test]
fn a_damaged_file_is_detected_and_named() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let engine = open(directory.path()).expect("an empty directory");
    for i in 0..2000 {
        put(&engine, Family::Data, &format!("row{i:06}-12345678"), &"v".repeat(50 + i % 7));
    }
    engine.flush_memtables().expect("there is room");
    drop(engine);
    let files = std::fs::read_dir(directory.path())
        .expect("it is there")
        .map(|entry| entry.expect("it is there").path());
    let table = files
        .filter(|path| path.extension().is_some_and(|e| e == "sst"))
        .max_by_key(|p| p.metadata().map(|m| m.len()).unwrap_or(0))
        .expect("one was flushed");
    let mut file = OpenOptions::new().write(true).open(&table).expect("it is there");
    file.seek(SeekFrom::Start(100)).expect("it is longer");
    file.write_all(&[0xa5; 64]).expect("there is room");
    drop(file);

    let scan = || -> Result<usize, Error> {
        let engine = open(directory.path())?;
        let snapshot = engine.snapshot();
        let mut iter = snapshot.iter(Family::Data, IterOptions::default())?;
        iter.seek_to_first()?;
        let mut rows = 0;
        while iter.valid() {
            rows += 1;
            iter.next()?;
        }
        Ok(rows)
    };
    let name = table.file_name().expect("a file").to_string_lossy().into_owned();
    match scan() {
        Err(Error::Corruption(text)) => assert!(text.contains(&name), "{text} does not name {name}"),
        other => panic!("damage went unnoticed: {other:?}"),
    }
}
