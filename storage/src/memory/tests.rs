use super::*;

fn put(engine: &MemoryEngine, key: &'static str, value: &'static str) {
    let mut batch = WriteBatch::new();
    batch.put(Family::Data, key, value);
    engine.write(batch).expect("no fault is set");
}

fn dump(reader: &dyn Reader) -> String {
    let mut out = Vec::new();
    let mut iter = reader.iter(Family::Data, IterOptions::default()).expect("memory does not fail");
    iter.seek_to_first().expect("memory does not fail");
    while iter.valid() {
        out.push(format!("{}={}", iter.key().escape_ascii(), iter.value().escape_ascii()));
        iter.next().expect("memory does not fail");
    }
    out.join(" ")
}

#[test]
fn a_crash_keeps_a_prefix_of_the_batches_and_all_that_was_flushed() {
    let engine = MemoryEngine::new();
    put(&engine, "a", "1");
    put(&engine, "b", "1");
    engine.flush().expect("no fault is set");
    put(&engine, "a", "2");
    let mut batch = WriteBatch::new();
    batch.delete_range(Family::Data, Span::new("a".into(), "c".into()));
    batch.put(Family::Data, "c", "3");
    engine.write(batch).expect("no fault is set");

    assert_eq!(engine.unflushed(), 2);
    assert_eq!(dump(&engine.crash(0)), "a=1 b=1");
    assert_eq!(dump(&engine.crash(1)), "a=2 b=1");
    assert_eq!(dump(&engine.crash(2)), "c=3");
    assert_eq!(dump(&engine.crash(99)), "c=3");
    assert_eq!(dump(&engine.crash(1).crash(0)), "a=2 b=1", "what survived a crash is durable");
    let mut seen = Vec::new();
    let _ = engine.crash_random(&mut |n| {
        seen.push(n);
        n - 1
    });
    assert_eq!(seen, [3]);
}

#[test]
fn snapshots_and_iterators_do_not_see_later_writes() {
    let engine = MemoryEngine::new();
    put(&engine, "a", "1");
    put(&engine, "b", "1");
    let snapshot = engine.snapshot();
    let mut iter = engine.iter(Family::Data, IterOptions::default()).expect("memory does not fail");
    put(&engine, "a", "2");
    put(&engine, "aa", "2");
    engine.flush().expect("no fault is set");
    iter.seek_to_first().expect("memory does not fail");
    assert_eq!(iter.value(), b"1");
    iter.next().expect("memory does not fail");
    assert_eq!(iter.key(), b"b");
    assert_eq!(dump(&*snapshot), "a=1 b=1");
    assert_eq!(dump(&engine), "a=2 aa=2 b=1");
}

#[test]
fn bounds_hold_in_both_directions() {
    let engine = MemoryEngine::new();
    for key in ["a", "b", "c", "d"] {
        put(&engine, key, "1");
    }
    let options = IterOptions { lower: Some("b".into()), upper: Some("d".into()), ..IterOptions::default() };
    let mut iter = engine.iter(Family::Data, options).expect("memory does not fail");
    iter.seek(b"a").expect("memory does not fail");
    assert_eq!(iter.key(), b"b");
    iter.prev().expect("memory does not fail");
    assert!(!iter.valid());
    iter.seek_for_prev(b"z").expect("memory does not fail");
    assert_eq!(iter.key(), b"c");
    iter.next().expect("memory does not fail");
    assert!(!iter.valid());
    iter.seek(b"d").expect("memory does not fail");
    assert!(!iter.valid());
    iter.seek_for_prev(b"a").expect("memory does not fail");
    assert!(!iter.valid());
}

#[test]
fn versions_nobody_can_ask_for_are_dropped() {
    let engine = MemoryEngine::new();
    for _ in 0..10 {
        put(&engine, "a", "1");
    }
    assert_eq!(engine.held_versions(), 10, "a crash may ask for any");
    let snapshot = engine.snapshot();
    put(&engine, "a", "2");
    engine.flush().expect("no fault is set");
    assert_eq!(engine.held_versions(), 2, "one for the snapshot");
    drop(snapshot);
    assert_eq!(engine.held_versions(), 1);
    let mut batch = WriteBatch::new();
    batch.delete(Family::Data, "a");
    engine.write(batch).expect("no fault is set");
    engine.flush().expect("no fault is set");
    assert_eq!(engine.held_versions(), 0);
}

#[test]
fn a_full_disk_fails_writes_until_there_is_room_and_reads_go_on() {
    let engine = MemoryEngine::new();
    put(&engine, "a", "1");
    engine.set_fault(Some(Fault::DiskFull));
    let mut batch = WriteBatch::new();
    batch.put(Family::Data, "b", "1");
    assert!(matches!(engine.write(batch.clone()), Err(Error::DiskFull)));
    assert!(matches!(engine.flush(), Err(Error::DiskFull)));
    assert_eq!(dump(&engine), "a=1");
    engine.set_fault(None);
    engine.write(batch.clone()).expect("there is room again");
    engine.set_fault(Some(Fault::Io));
    assert!(matches!(engine.write(batch.clone()), Err(Error::Io(_))));
    engine.set_fault(None);
    assert!(matches!(engine.write(batch), Err(Error::Poisoned(_))), "an i/o error is for ever");
}
