//! Readers and the deleted entries of the lock family, on RocksDB, whose cursors step over what is gone unseen.

use std::ops::ControlFlow;

use basalt_base::{Key, Span, Timestamp, TxnId};
use basalt_storage::{
    Engine, Family, WriteBatch,
    mvcc::{self, ReadContext, Resolution, ResolveStatus, ScanLimits, WriteContext, WriteTxn},
};
use basalt_storage_rocks::{RocksEngine, RocksOptions};
use bytes::Bytes;
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

const ROWS: u32 = 20_000;
const PAGE: usize = 100;

fn key(row: u32) -> Key {
    Key::from([&[0x10, 0, 0, 0, 1, 0, 0, 0, 1][..], &row.to_be_bytes()].concat())
}

fn all() -> Span {
    Span::prefix(Key::from_static(&[0x10]))
}

fn load(engine: &RocksEngine) {
    let anchor = key(0);
    let txn =
        WriteTxn { id: TxnId(1), anchor: &anchor, epoch: 0, min_ts: Timestamp(5), priority: 0, ignored: &[] };
    let ts = Timestamp(10);
    let context = WriteContext { txn, seq: 1, write_ts: ts, read_ts: ts, local_ts: ts, if_absent: false };
    let mut batch = WriteBatch::new();
    for row in 0..ROWS {
        mvcc::put(engine, &mut batch, &key(row), Bytes::from_static(b"value"), &context).expect("sound");
    }
    engine.write(batch).expect("there is room");
    let resolution =
        Resolution { txn_id: TxnId(1), epoch: 0, status: ResolveStatus::Committed, ts, ignored: &[] };
    let mut batch = WriteBatch::new();
    mvcc::resolve_range(engine, &mut batch, &all(), &resolution, usize::MAX).expect("sound");
    engine.write(batch).expect("there is room");
}

/// Deleted entries that cursors of this thread passed in `work`.
fn skipped(work: impl FnOnce()) -> u64 {
    let mut context = PerfContext::default();
    context.reset();
    work();
    context.metric(PerfMetric::InternalDeleteSkippedCount)
}

fn scan_in_pages(engine: &RocksEngine, reverse: bool) -> u32 {
    let limits = ScanLimits { rows: PAGE, ..ScanLimits::default() };
    let (mut span, mut rows) = (all(), 0);
    loop {
        let mut row = |_: &[u8], _: &[u8]| {
            rows += 1;
            ControlFlow::Continue(())
        };
        let page = mvcc::scan(engine, &span, reverse, &ReadContext::at(Timestamp(20)), &limits, &mut row);
        match page.expect("sound").resume {
            Some(resume) if reverse => span.end = resume,
            Some(resume) => span.start = resume,
            None => return rows,
        }
    }
}

#[test]
fn readers_pass_few_deleted_locks_and_none_after_a_compaction() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let engine = RocksEngine::open(directory.path(), &RocksOptions::default()).expect("an empty directory");
    load(&engine);
    set_perf_stats(PerfStatsLevel::EnableCount);
    for in_files in [false, true] {
        if in_files {
            engine.flush_memtables().expect("there is room");
        }
        for row in [0, 1, ROWS / 2, ROWS - 1] {
            let point = skipped(|| {
                mvcc::get(&engine, &key(row), &ReadContext::at(Timestamp(20))).expect("sound");
            });
            assert!(point <= 2, "row {row}, in files {in_files}: {point}");
        }
        for reverse in [false, true] {
            let pages = u64::from(ROWS) / PAGE as u64 + 1;
            let mut rows = 0;
            let scan = skipped(|| rows = scan_in_pages(&engine, reverse));
            assert_eq!(rows, ROWS);
            let most = pages * (ScanLimits::default().lock_skips + 1) + 4 * u64::from(ROWS);
            assert!(scan <= most, "in files {in_files}, reverse {reverse}: {scan}");
        }
    }
    engine.compact_deleted(Family::Lock, &all()).expect("there is room");
    assert_eq!(skipped(|| assert_eq!(scan_in_pages(&engine, false), ROWS)), 0);
}
