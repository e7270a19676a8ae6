use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use basalt_base::{Key, Span};
use bytes::Bytes;

use super::LockDirectory;
use crate::{
    Engine, EngineCounts, EngineIterator, Error, Family, Fault, IterOptions, MemoryEngine, Reader, Result,
    WriteBatch,
    testing::{Random, run_model},
};

fn key(n: u32) -> Key {
    Key::from(n.to_be_bytes().to_vec())
}

fn put(directory: &LockDirectory, keys: impl IntoIterator<Item = u32>) {
    let mut batch = WriteBatch::new();
    keys.into_iter().for_each(|n| batch.put(Family::Lock, key(n), Bytes::from_static(b"lock")));
    directory.write(batch).unwrap();
}

fn delete(directory: &LockDirectory, keys: impl IntoIterator<Item = u32>) {
    let mut batch = WriteBatch::new();
    keys.into_iter().for_each(|n| batch.delete(Family::Lock, key(n)));
    directory.write(batch).unwrap();
}

/// By a cursor, and as if they were of one key: fetched if there are few. Both must find the same.
fn keys_in(reader: &dyn Reader, lower: u32, upper: u32) -> Vec<Vec<u8>> {
    let keys = keys_by(reader, lower, upper, false);
    assert_eq!(keys_by(reader, lower, upper, true), keys);
    keys
}

fn keys_by(reader: &dyn Reader, lower: u32, upper: u32, one_key: bool) -> Vec<Vec<u8>> {
    let (lower_bound, upper_bound) = (Some(key(lower)), Some(key(upper)));
    let options = IterOptions { lower: lower_bound, upper: upper_bound, one_key, ..IterOptions::default() };
    let mut iter = reader.iter(Family::Lock, options).unwrap();
    iter.seek(&key(lower)).unwrap();
    let mut keys = Vec::new();
    while iter.valid() {
        keys.push(iter.key().to_vec());
        iter.next().unwrap();
    }
    keys
}

/// An engine whose lock family can't be read for a while.
#[derive(Default)]
struct Unreadable {
    engine: MemoryEngine,
    failing: AtomicBool,
}

impl Reader for Unreadable {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get(family, key)
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        if family == Family::Lock && self.failing.load(Ordering::Relaxed) {
            return Err(Error::Io("unreadable".to_owned()));
        }
        self.engine.iter(family, options)
    }
}

impl Engine for Unreadable {
    fn write(&self, batch: WriteBatch) -> Result<()> {
        self.engine.write(batch)
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
}

/// The batch is in the engine, whatever becomes of the look at what is left.
#[test]
fn a_batch_is_written_even_if_the_look_behind_it_fails() {
    let engine = Arc::new(Unreadable::default());
    let directory = LockDirectory::with_capacity(Arc::clone(&engine) as Arc<dyn Engine>, 1).unwrap();
    put(&directory, 0..10);
    engine.failing.store(true, Ordering::Relaxed);
    delete(&directory, 1..10);
    assert!(directory.known.read().has_unlisted());
    engine.failing.store(false, Ordering::Relaxed);
    assert_eq!(keys_in(&directory, 0, 10).len(), 1);
    // The next batch looks again.
    delete(&directory, 0..1);
    assert!(!directory.known.read().has_unlisted());
}

#[test]
fn a_few_locks_of_one_key_are_fetched_without_a_cursor() {
    let directory = LockDirectory::open(Arc::new(MemoryEngine::new())).unwrap();
    put(&directory, [3, 5]);
    let before = directory.counts();
    assert_eq!(keys_by(&directory, 3, 6, true).len(), 2);
    let after = directory.counts();
    assert_eq!((after.seeks - before.seeks, after.gets - before.gets), (0, 2));
    let options =
        IterOptions { lower: Some(key(3)), upper: Some(key(6)), one_key: true, ..IterOptions::default() };
    let mut iter = directory.iter(Family::Lock, options).unwrap();
    assert!(!iter.valid());
    for (place, expected) in [(2, None), (3, Some(3)), (4, Some(3)), (5, Some(5)), (9, Some(5))] {
        iter.seek_for_prev(&key(place)).unwrap();
        assert_eq!(iter.valid().then(|| iter.key().to_vec()), expected.map(|n| key(n).to_vec()));
    }
    iter.prev().unwrap();
    assert_eq!(iter.key(), &key(3)[..]);
    iter.prev().unwrap();
    assert!(!iter.valid());
    iter.seek_to_last().unwrap();
    assert_eq!((iter.key(), iter.value()), (&key(5)[..], &b"lock"[..]));
    iter.next().unwrap();
    assert!(!iter.valid());
}

/// The model test on an engine with a directory of any size: no result may differ.
#[test]
fn the_model_sees_no_difference() {
    for seed in 0..120 {
        let engine = Arc::new(MemoryEngine::new());
        let directory = LockDirectory::with_capacity(engine, (seed % 6) as usize).unwrap();
        run_model(&directory, seed, 200);
    }
}

#[test]
fn no_lock_is_ever_missed() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let engine = MemoryEngine::new();
        let mut directory =
            LockDirectory::with_capacity(Arc::new(engine.clone()), random.below(20) as usize).unwrap();
        for _ in 0..400 {
            let mut batch = WriteBatch::new();
            for _ in 0..=random.below(6) {
                let n = random.below(60) as u32;
                match random.below(10) {
                    0..5 => batch.put(Family::Lock, key(n), Bytes::new()),
                    5..9 => batch.delete(Family::Lock, key(n)),
                    _ => batch.delete_range(Family::Lock, Span::new(key(n), key(n + 5))),
                }
            }
            if random.one_in(20) {
                engine.set_fault(Some(Fault::DiskFull));
                directory.write(batch).unwrap_err();
                engine.set_fault(None);
            } else {
                directory.write(batch).unwrap();
            }
            if random.one_in(100) {
                directory = LockDirectory::with_capacity(Arc::new(engine.clone()), 5).unwrap();
            }
            let lower = random.below(60) as u32;
            let upper = lower + random.below(8) as u32;
            assert_eq!(keys_in(&directory, lower, upper), keys_in(&engine, lower, upper), "seed {seed}");
        }
    }
}

#[test]
fn a_span_without_locks_is_answered_without_the_engine() {
    let directory = LockDirectory::open(Arc::new(MemoryEngine::new())).unwrap();
    put(&directory, [7, 9]);
    let seeks = directory.counts().seeks;
    assert!(keys_in(&directory, 0, 7).is_empty());
    assert!(keys_in(&directory, 8, 9).is_empty());
    assert!(keys_in(&directory, 10, 1000).is_empty());
    assert_eq!(directory.counts().seeks, seeks);
    assert_eq!(keys_in(&directory, 7, 8).len(), 1);
    assert!(directory.counts().seeks > seeks);
}

/// Locks beyond the list are resolved in key order: what is behind the front costs nothing, and at the end the span is
/// gone.
#[test]
fn the_unlisted_span_shrinks_and_goes() {
    let directory = LockDirectory::with_capacity(Arc::new(MemoryEngine::new()), 100).unwrap();
    put(&directory, 0..10_000);
    assert_eq!(directory.known.read().listed(), 100);
    assert!(directory.known.read().has_unlisted());
    // Put once more: what is counted twice must not keep the span for ever.
    put(&directory, 5_000..6_000);
    for piece in 0..50 {
        delete(&directory, piece * 200..(piece + 1) * 200);
        if piece == 25 {
            let seeks = directory.counts().seeks;
            assert!(keys_in(&directory, 1_000, 3_000).is_empty());
            assert_eq!(directory.counts().seeks, seeks);
        }
    }
    let left = keys_in(&directory, 0, 20_000);
    assert!(left.is_empty());
    assert_eq!(directory.known.read().listed(), 0);
    // Fewer than a look's worth may remain covered; the next use of the span finds out.
    put(&directory, 9_000..10_200);
    delete(&directory, 9_000..10_200);
    assert!(!directory.known.read().has_unlisted());
}
