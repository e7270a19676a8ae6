//! The log store alone.

mod tail;

use std::sync::Arc;

use basalt_base::{RangeId, ReplicaId};
use basalt_env::{
    Disk, OpenMode,
    sim::{DiskFault, Operation, SimDisk, SimExecutor, SimRng, Tear},
};
use bytes::Bytes;
use raft::eraftpb::Entry;

use super::{GroupLog, HardState, LogBatch, LogStore};
use crate::{Error, LogIndex, Options, Result, Term, counts::Counters};

const RANGE: RangeId = RangeId(1);

fn options() -> Options {
    Options { segment_bytes: 8 << 10, cache_bytes_max: 2 << 10, ..Options::default() }
}

async fn open(disk: &SimDisk) -> Result<LogStore> {
    let counters = Arc::new(Counters::default());
    LogStore::open(Arc::new(disk.clone()), &SimRng::new(7), &options(), counters).await
}

fn entries(indexes: std::ops::Range<LogIndex>, term: Term, bytes: usize) -> Vec<Entry> {
    let entry = |index: LogIndex| Entry {
        index,
        term,
        data: Bytes::from(vec![index as u8; bytes]),
        ..Entry::default()
    };
    indexes.map(entry).collect()
}

async fn append(log: &mut LogStore, range_id: RangeId, entries: Vec<Entry>) {
    let mut batch = LogBatch::default();
    if log.group(range_id).is_none() {
        log.create_group(&mut batch, range_id, ReplicaId(1), 10, 5, HardState::default());
    }
    batch.append_entries(range_id, entries);
    log.append(&mut batch).await.unwrap();
}

/// Index, term and first byte of everything the group has on disk.
fn stored(log: &LogStore, range_id: RangeId) -> Vec<(LogIndex, Term, u8)> {
    let group = log.group(range_id).unwrap();
    let group: &GroupLog = &group.lock();
    let first = group.first_index();
    let locations: Vec<_> =
        (first..=group.last_index()).map(|index| group.location_of(index).unwrap()).collect();
    let entries = log.files().read(first, &locations).unwrap();
    entries.iter().map(|entry| (entry.index, entry.term, entry.data[0])).collect()
}

/// As the log is after a power cut.
async fn reopen(log: LogStore, disk: &SimDisk) -> (LogStore, SimDisk) {
    drop(log);
    let disk = disk.crash(Tear::Lose);
    (open(&disk).await.unwrap(), disk)
}

/// Appends entries of the range, one at a time, until the first segment is full. Returns the index of the next.
async fn fill_segment(log: &mut LogStore) -> LogIndex {
    let mut next = 11;
    while log.tail.segment == 1 {
        append(log, RANGE, entries(next..next + 1, 5, 500)).await;
        next += 1;
    }
    next
}

/// Truncates the range's log up to an index, and removes segments that nobody needs.
async fn truncate(log: &mut LogStore, index: LogIndex) {
    let mut batch = LogBatch::default();
    batch.truncate(RANGE, index, 5);
    log.append(&mut batch).await.unwrap();
    log.sync().await.unwrap();
    log.reclaim().await.unwrap();
}

fn content(disk: &SimDisk, path: &str) -> Bytes {
    let file = disk.open(path, OpenMode::ReadWriteCreate).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes.into()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    SimExecutor::new(1).run(future)
}

#[test]
fn a_new_leaders_entries_replace_the_old_ones_here_and_after_replay() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(11..16, 5, 100)).await;
        append(&mut log, RANGE, entries(13..15, 6, 100)).await;
        let expected = [(11, 5, 11), (12, 5, 12), (13, 6, 13), (14, 6, 14)];
        assert_eq!(stored(&log, RANGE), expected);
        log.sync().await.unwrap();
        assert_eq!(stored(&open(&disk.crash(Tear::Lose)).await.unwrap(), RANGE), expected);
    });
}

#[test]
fn an_unsynced_batch_may_be_torn_even_with_a_whole_one_behind_it() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(11..12, 5, 100)).await;
        log.sync().await.unwrap();
        let torn_at = log.tail.offset;
        append(&mut log, RANGE, entries(12..13, 5, 100)).await;
        append(&mut log, RANGE, entries(13..14, 5, 100)).await;
        // Both arrive, but the first of them damaged: the order in which unsynced pages reach the disk is free.
        log.tail.file.sync().await.unwrap();
        let path = "log/0000000000000001.seg";
        disk.corrupt(path, torn_at as usize + 50);
        let (mut log, disk) = reopen(log, &disk).await;
        assert_eq!(stored(&log, RANGE), [(11, 5, 11)]);
        // What is written over the torn batch is followed by the old whole one, which must not come back.
        append(&mut log, RANGE, entries(12..13, 6, 100)).await;
        log.sync().await.unwrap();
        let (log, _) = reopen(log, &disk).await;
        assert_eq!(stored(&log, RANGE), [(11, 5, 11), (12, 6, 12)]);
    });
}

#[test]
fn a_synced_batch_with_a_later_one_behind_it_is_damaged() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(11..12, 5, 100)).await;
        let damaged_at = log.tail.offset;
        append(&mut log, RANGE, entries(12..13, 5, 100)).await;
        log.sync().await.unwrap();
        append(&mut log, RANGE, entries(13..14, 5, 100)).await;
        log.sync().await.unwrap();
        drop(log);
        let path = "log/0000000000000001.seg";
        for offset in [0, 50] {
            disk.corrupt(path, damaged_at as usize + offset);
            let error = open(&disk).await.err().unwrap();
            let expected = format!("{path} at offset {damaged_at}: bad checksum");
            assert_eq!(error, Error::Corruption(expected));
            disk.corrupt(path, damaged_at as usize + offset);
        }
        assert_eq!(stored(&open(&disk).await.unwrap(), RANGE).len(), 3);
    });
}

#[test]
fn the_last_synced_batch_is_known_to_be_damaged_once_the_log_has_rested() {
    run(async {
        let path = "log/0000000000000001.seg";
        for (marked, tear_mark, expected) in
            [(false, false, Ok(1)), (true, false, Err(())), (true, true, Ok(1))]
        {
            let disk = SimDisk::new();
            let mut log = open(&disk).await.unwrap();
            append(&mut log, RANGE, entries(11..12, 5, 100)).await;
            log.sync().await.unwrap();
            let last = log.tail.offset;
            append(&mut log, RANGE, entries(12..13, 5, 100)).await;
            assert!(!log.is_unmarked());
            log.sync().await.unwrap();
            assert!(log.is_unmarked());
            if marked {
                let syncs = disk.syncs();
                log.mark().unwrap();
                // It is written once, and nobody waits for it.
                assert!(!log.is_unmarked());
                log.sync().await.unwrap();
                assert_eq!(disk.syncs(), syncs);
            }
            drop(log);
            // The process ends, and the system still writes what it has cached; or the power is cut, and it does not.
            let disk = if tear_mark { disk.crash(Tear::Lose) } else { disk.restart() };
            disk.corrupt(path, last as usize + 50);
            let found = open(&disk).await.map(|log| stored(&log, RANGE).len());
            assert_eq!(found.map_err(|_| ()), expected, "marked {marked}, lost {tear_mark}");
        }
    });
}

#[test]
fn a_log_goes_on_behind_a_mark_whether_it_survives_or_not() {
    run(async {
        for seed in 0..20 {
            let rng = SimRng::new(seed);
            let mut disk = SimDisk::new();
            let mut log = open(&disk).await.unwrap();
            // Over several segments.
            for index in 11..51 {
                append(&mut log, RANGE, entries(index..index + 1, 5, 700)).await;
                log.sync().await.unwrap();
                log.mark().unwrap();
                if rng.coin() {
                    drop(log);
                    disk = disk.crash(Tear::Random(&rng));
                    log = open(&disk).await.unwrap();
                }
                let indexes: Vec<_> = stored(&log, RANGE).into_iter().map(|(index, _, _)| index).collect();
                assert_eq!(indexes, (11..=index).collect::<Vec<_>>(), "seed {seed}");
            }
        }
    });
}

#[test]
fn damage_to_any_byte_of_a_proven_batch_is_found() {
    run(async {
        let path = "log/0000000000000001.seg";
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        for index in 11..14 {
            append(&mut log, RANGE, entries(index..index + 1, 5, 13)).await;
            log.sync().await.unwrap();
        }
        log.mark().unwrap();
        let end = log.tail.offset as usize;
        drop(log);
        let disk = disk.restart();
        let bytes = content(&disk, path);
        let proven = super::proven_batches(&bytes);
        // The checkpoint and the three, without the mark itself.
        assert_eq!((proven.len(), proven.last().unwrap().end.next_multiple_of(8) + 40), (4, end));
        for offset in proven.into_iter().flatten() {
            disk.corrupt(path, offset);
            assert!(matches!(open(&disk).await, Err(Error::Corruption(_))), "offset {offset}");
            disk.corrupt(path, offset);
        }
        assert_eq!(stored(&open(&disk).await.unwrap(), RANGE).len(), 3);
    });
}

#[test]
fn an_idle_groups_entries_move_on_so_that_old_segments_go() {
    run(async {
        let (disk, idle) = (SimDisk::new(), RangeId(2));
        let mut log = open(&disk).await.unwrap();
        append(&mut log, idle, entries(11..14, 5, 50)).await;
        let mut next = 11;
        for _ in 0..20 {
            append(&mut log, RANGE, entries(next..next + 4, 5, 500)).await;
            next += 4;
            if log.tail.segment == 2 && log.group(idle).unwrap().lock().last_index() == 13 {
                // Replay will see these before the older ones, which move behind them.
                append(&mut log, idle, entries(14..16, 5, 50)).await;
            }
            truncate(&mut log, next - 1).await;
        }
        let segments = disk.list("log").unwrap().iter().filter(|name| name.ends_with(".seg")).count();
        assert!(segments <= 2, "{segments} segments left");
        assert!(log.counters.snapshot().segments_removed > 2);
        let expected = [(11, 5, 11), (12, 5, 12), (13, 5, 13), (14, 5, 14), (15, 5, 15)];
        assert_eq!(stored(&log, idle), expected);
        let (log, _) = reopen(log, &disk).await;
        assert_eq!(stored(&log, idle), expected);
        assert_eq!(log.group(RANGE).unwrap().lock().first_index(), next);
    });
}

#[test]
fn the_cache_is_bounded_and_a_miss_reads_the_same() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        for index in 11..60 {
            append(&mut log, RANGE, entries(index..index + 1, 5, 100)).await;
        }
        let group = log.group(RANGE).unwrap();
        let bytes: usize = group.lock().cache.iter().map(super::group::cached_bytes).sum();
        assert!(bytes > 0 && bytes <= options().cache_bytes_max, "{bytes}");
        for (index, _, first) in stored(&log, RANGE) {
            if let Some(entry) = group.lock().cached(index) {
                assert_eq!((entry.index, entry.data[0]), (index, first));
            }
        }
    });
}

#[test]
fn a_damaged_entry_is_found_when_it_is_read() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(11..12, 5, 100)).await;
        let location = log.group(RANGE).unwrap().lock().location_of(11).unwrap();
        disk.corrupt("log/0000000000000001.seg", location.offset as usize + 60);
        assert!(matches!(log.files().read(11, &[location]), Err(Error::Corruption(_))));
    });
}

#[test]
fn a_segment_whose_checkpoint_was_lost_gets_a_new_one() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        let next = fill_segment(&mut log).await;
        // Segment 2 exists, its checkpoint and the entry behind it were not synced.
        let (mut log, disk) = reopen(log, &disk).await;
        assert_eq!(log.tail.segment, 2);
        let last = log.group(RANGE).unwrap().lock().last_index();
        assert_eq!(last, next - 2);
        truncate(&mut log, last).await;
        assert_eq!(log.counters.snapshot().segments_removed, 1);
        let (log, _) = reopen(log, &disk).await;
        assert_eq!(log.group(RANGE).unwrap().lock().first_index(), next - 1);
    });
}

#[test]
fn moved_entries_take_their_place_before_newer_ones_in_replay() {
    run(async {
        let (disk, idle) = (SimDisk::new(), RangeId(2));
        let mut log = open(&disk).await.unwrap();
        append(&mut log, idle, entries(11..14, 5, 50)).await;
        let next = fill_segment(&mut log).await;
        append(&mut log, idle, entries(14..16, 5, 50)).await;
        truncate(&mut log, next - 1).await;
        assert_eq!(log.counters.snapshot().segments_removed, 1);
        let (log, _) = reopen(log, &disk).await;
        let indexes: Vec<_> = stored(&log, idle).into_iter().map(|(index, _, _)| index).collect();
        assert_eq!(indexes, [11, 12, 13, 14, 15]);
    });
}

#[test]
fn what_a_failed_sync_left_in_the_cache_only_is_written_again() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(11..12, 5, 100)).await;
        log.sync().await.unwrap();
        append(&mut log, RANGE, entries(12..13, 5, 100)).await;
        disk.inject(DiskFault::error(Operation::Sync).times(1));
        assert!(log.sync().await.is_err());
        drop(log);
        // The process begins again; the system still has what it has not written, and calls it clean.
        let disk = disk.restart();
        let mut log = open(&disk).await.unwrap();
        assert_eq!(stored(&log, RANGE).len(), 2);
        append(&mut log, RANGE, entries(13..14, 5, 100)).await;
        log.sync().await.unwrap();
        let (log, _) = reopen(log, &disk).await;
        assert_eq!(stored(&log, RANGE), [(11, 5, 11), (12, 5, 12), (13, 5, 13)]);
    });
}

#[test]
fn a_segment_whose_name_was_not_synced_keeps_it_when_the_process_begins_again() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(11..12, 5, 100)).await;
        log.sync().await.unwrap();
        // The process ends after it has made the next segment, before that has a name for good.
        disk.inject(DiskFault::error(Operation::Sync).on(|path| path.ends_with("2.seg")).times(1));
        let mut batch = LogBatch::default();
        batch.append_entries(RANGE, entries(12..13, 5, 7_900));
        assert!(log.append(&mut batch).await.is_err());
        drop(log);
        let disk = disk.restart();
        let mut log = open(&disk).await.unwrap();
        append(&mut log, RANGE, entries(12..13, 5, 100)).await;
        log.sync().await.unwrap();
        let (log, _) = reopen(log, &disk).await;
        assert_eq!(stored(&log, RANGE), [(11, 5, 11), (12, 5, 12)]);
    });
}

#[test]
fn a_full_cache_is_not_walked_at_every_append() {
    run(async {
        let disk = SimDisk::new();
        let counters = Arc::new(Counters::default());
        let options = Options { cache_bytes_max: 2 << 20, ..Options::default() };
        let mut log =
            LogStore::open(Arc::new(disk), &SimRng::new(7), &options, counters.clone()).await.unwrap();
        // More small entries than the cache holds, and more of them in it than RUNS_MIN.
        let count = 40_000;
        for index in 11..11 + count {
            append(&mut log, RANGE, entries(index..index + 1, 5, 10)).await;
        }
        let cached = log.group(RANGE).unwrap().lock().cache.len();
        assert!(cached > 8_000 && cached < 30_000, "{cached}");
        let recounts = counters.snapshot().cache_recounts;
        assert!(recounts <= 4, "{recounts}");
    });
}
