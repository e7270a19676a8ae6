//! What readers pay for locks that are gone: in proportion to what they return, not to what was deleted behind it.

use std::ops::ControlFlow;

use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use super::*;
use crate::{Engine, MemoryEngine, WriteBatch};

const ROWS: u32 = 2_000;
const PAGE: usize = 50;

fn key(row: u32) -> Key {
    Key::from([&[0x10][..], &row.to_be_bytes()].concat())
}

fn all() -> Span {
    Span::prefix(Key::from_static(&[0x10]))
}

/// Rows that one large transaction wrote as locks, all of them resolved but those of `open`.
fn resolved_rows(open: &[u32]) -> MemoryEngine {
    let engine = MemoryEngine::new();
    let anchor = key(0);
    for row in 0..ROWS {
        let id = TxnId(if open.contains(&row) { 2 } else { 1 });
        let txn = WriteTxn { id, anchor: &anchor, epoch: 0, min_ts: Timestamp(5), priority: 0, ignored: &[] };
        let ts = Timestamp(if open.contains(&row) { 50 } else { 10 });
        let context = WriteContext { txn, seq: 1, write_ts: ts, read_ts: ts, local_ts: ts, if_absent: false };
        let mut batch = WriteBatch::new();
        put(&engine, &mut batch, &key(row), Bytes::from_static(b"value"), &context).expect("no fault is set");
        engine.write(batch).expect("no fault is set");
    }
    let resolution = Resolution {
        txn_id: TxnId(1),
        epoch: 0,
        status: ResolveStatus::Committed,
        ts: Timestamp(10),
        ignored: &[],
    };
    let mut span = all();
    loop {
        let mut batch = WriteBatch::new();
        let resolved = resolve_range(&engine, &mut batch, &span, &resolution, 300).expect("no fault is set");
        engine.write(batch).expect("no fault is set");
        match resolved.resume {
            Some(resume) => span.start = resume,
            None => return engine,
        }
    }
}

/// Everything that cursors did.
fn moves(engine: &MemoryEngine) -> u64 {
    let counts = engine.counts();
    counts.seeks + counts.steps + engine.skips()
}

#[test]
fn a_point_read_passes_no_other_keys_locks() {
    let engine = resolved_rows(&[]);
    for row in [0, ROWS / 2, ROWS - 1, ROWS] {
        let before = moves(&engine);
        get(&engine, &key(row), &ReadContext::at(Timestamp(20))).expect("no fault is set");
        assert!(moves(&engine) - before <= 4, "{row}: {}", moves(&engine) - before);
    }
}

#[test]
fn pages_of_a_scan_pass_each_deleted_lock_a_few_times_at_most() {
    for (open, reverse) in
        [(&[][..], false), (&[][..], true), (&[7, 900, 901, 1_999], false), (&[7, 900], true)]
    {
        let engine = resolved_rows(open);
        let before = moves(&engine);
        let limits = ScanLimits { rows: PAGE, ..ScanLimits::default() };
        let (mut span, mut rows) = (all(), 0);
        loop {
            let mut row = |_: &[u8], _: &[u8]| {
                rows += 1;
                ControlFlow::Continue(())
            };
            let context = ReadContext::at(Timestamp(20));
            let page = scan(&engine, &span, reverse, &context, &limits, &mut row).expect("no fault is set");
            assert!(page.conflicts.is_empty() && page.uncertain.is_none());
            match page.resume {
                Some(resume) if reverse => span.end = resume,
                Some(resume) => span.start = resume,
                None => break,
            }
        }
        assert_eq!(rows, ROWS - open.len() as u32);
        // Of each page: the locks passed before the cursor gives up, and windows twice as long as the page.
        let pages = u64::from(ROWS) / PAGE as u64 + 1;
        let most = pages * limits.lock_skips + 8 * u64::from(ROWS);
        assert!(moves(&engine) - before <= most, "{} moves, reverse {reverse}", moves(&engine) - before);
    }
}

#[test]
fn a_window_finds_the_locks_that_are_there() {
    // Foreign, and in the way of a later reader: the scan must stop at exactly this key, from both sides.
    for at in [0, 1, 255, 256, 257, 300, 1_500, ROWS - 1] {
        let engine = resolved_rows(&[at]);
        for reverse in [false, true] {
            let mut rows = 0;
            let mut row = |_: &[u8], _: &[u8]| {
                rows += 1;
                ControlFlow::Continue(())
            };
            let context = ReadContext::at(Timestamp(60));
            let limits = ScanLimits { lock_skips: 10, ..ScanLimits::default() };
            let found = scan(&engine, &all(), reverse, &context, &limits, &mut row).expect("no fault is set");
            assert_eq!(found.conflicts.first().map(|found| found.key.clone()), Some(key(at)));
            assert_eq!(rows, if reverse { ROWS - 1 - at } else { at });
        }
    }
}
