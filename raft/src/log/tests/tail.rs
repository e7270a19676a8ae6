//! Where the log ends: what lies behind it, and segments that a crash or a full disk left half made.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use basalt_env::{
    Disk, OpenMode, Rng,
    sim::{DiskFault, SimDisk},
};
use bytes::Bytes;
use raft::eraftpb::Entry;

use super::{RANGE, append, entries, open, options, reopen, run, stored, truncate};
use crate::{
    Error, Result,
    counts::Counters,
    log::{
        LogBatch, LogStore,
        frame::{BatchHeader, Salt},
    },
};

/// A value of headers as a client could make them who has read this code: of batches of the segment `segment` that say that
/// everything was synced. There is one at every place where replay looks for headers.
fn forgery(segment: u64) -> Vec<u8> {
    let header =
        BatchHeader { segment, number: u64::MAX, synced: u64::MAX, payload_len: 0, payload_crc: 0, chain: 0 };
    let (header, _) = header.encode(Salt::NONE);
    header.repeat(50)
}

#[test]
fn values_that_look_like_headers_are_no_sign_of_damage() {
    run(async {
        for shift in 0..8 {
            let disk = SimDisk::new();
            let mut log = open(&disk).await.unwrap();
            let mut next = 11;
            // Until files are used again, with old values behind the tail.
            while log.tail.segment < 6 {
                let mut data = vec![0; shift];
                // Its file is the next one's but one.
                data.extend(forgery(log.tail.segment + 2));
                let entry = Entry { index: next, term: 5, data: Bytes::from(data), ..Entry::default() };
                append(&mut log, RANGE, vec![entry]).await;
                next += 1;
                truncate(&mut log, next - 1).await;
            }
            let (log, _) = reopen(log, &disk).await;
            assert_eq!(log.group(RANGE).unwrap().lock().first_index(), next, "shift {shift}");
        }
    });
}

#[test]
fn damage_is_found_whatever_the_salt() {
    // Some begin with a zero, as what was never written does.
    for salt in [[0; 8], [0, 1, 2, 3, 4, 5, 6, 7], [0xff; 8]] {
        run(async {
            let disk = SimDisk::new();
            let mut log = open_salted(&disk, salt).await.unwrap();
            for index in 11..14 {
                append_synced(&mut log, index).await;
            }
            drop(log);
            disk.corrupt("log/0000000000000001.seg", 64 + 50);
            assert!(matches!(open_salted(&disk, salt).await, Err(Error::Corruption(_))), "{salt:?}");
        });
    }
}

/// One small batch, durable.
async fn append_synced(log: &mut LogStore, index: u64) {
    append(log, RANGE, entries(index..index + 1, 5, 100)).await;
    log.sync().await.unwrap();
}

async fn open_salted(disk: &SimDisk, salt: [u8; 8]) -> Result<LogStore> {
    let counters = Arc::new(Counters::default());
    LogStore::open(Arc::new(disk.clone()), &Fixed(salt), &options(), counters).await
}

/// Draws the same secret always.
struct Fixed([u8; 8]);

impl Rng for Fixed {
    fn next_u64(&self) -> u64 {
        u64::from_le_bytes(self.0)
    }

    fn fill_secret(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

#[test]
fn a_segment_that_was_never_used_does_not_hide_damage_to_the_one_before() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append_synced(&mut log, 11).await;
        let damaged_at = log.tail.offset;
        append_synced(&mut log, 12).await;
        append_synced(&mut log, 13).await;
        drop(log);
        let first = "log/0000000000000001.seg";
        // The power was cut when the next file had its name, and no header yet.
        let next = "log/0000000000000002.seg";
        disk.open(next, OpenMode::ReadWriteCreate).unwrap().allocate(8 << 10).unwrap();
        disk.corrupt(first, damaged_at as usize + 50);
        let expected = format!("{first} at offset {damaged_at}: bad checksum");
        assert_eq!(open(&disk).await.err(), Some(Error::Corruption(expected)));
        disk.corrupt(first, damaged_at as usize + 50);
        // And without damage it is nothing to speak of.
        disk.open(next, OpenMode::ReadWriteCreate).unwrap().allocate(8 << 10).unwrap();
        assert_eq!(stored(&open(&disk).await.unwrap(), RANGE).len(), 3);
        assert_eq!(disk.list("log").unwrap(), ["0000000000000001.seg"]);
    });
}

#[test]
fn a_segment_in_use_whose_header_is_damaged_is_not_removed() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        for index in 11..30 {
            append(&mut log, RANGE, entries(index..index + 1, 5, 700)).await;
        }
        log.sync().await.unwrap();
        let path = format!("log/{:016x}.seg", log.tail.segment);
        assert!(log.tail.segment > 1);
        drop(log);
        disk.corrupt(&path, 20);
        assert_eq!(
            open(&disk).await.err(),
            Some(Error::Corruption(format!("{path} at offset 0: bad checksum")))
        );
    });
}

#[test]
fn a_segment_whose_checkpoint_found_no_room_begins_with_it_later() {
    run(async {
        let disk = SimDisk::new();
        let mut log = open(&disk).await.unwrap();
        append_synced(&mut log, 11).await;
        // Its header is written, its checkpoint is not.
        let writes = AtomicU64::new(0);
        let second = move |path: &str| path.ends_with("2.seg") && writes.fetch_add(1, Ordering::Relaxed) > 0;
        disk.inject(DiskFault::full_write().on(second).times(1));
        let mut batch = LogBatch::default();
        batch.append_entries(RANGE, entries(12..13, 5, 7_900));
        assert_eq!(log.append(&mut batch).await, Err(Error::DiskFull));
        assert_eq!(log.tail.segment, 2);
        log.append(&mut batch).await.unwrap();
        truncate(&mut log, 12).await;
        // Nothing in the first one is needed any more.
        assert_eq!(log.counters.snapshot().segments_removed, 1);
        let (log, _) = reopen(log, &disk).await;
        assert_eq!(log.group(RANGE).unwrap().lock().first_index(), 13);
    });
}
