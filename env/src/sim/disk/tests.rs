use std::{io, sync::Arc};

use super::*;
use crate::{Disk, File, OpenMode, sim::SimRng};

/// The futures of the simulated disk are ready at once.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the simulated disk never waits"),
    }
}

fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read).ok()?;
    let mut buffer = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut buffer).unwrap();
    Some(buffer)
}

#[test]
fn a_crash_keeps_what_was_synced_only() {
    let disk = SimDisk::new();
    let file = disk.open("d/a", OpenMode::ReadWriteCreate).unwrap();
    file.write_at(0, b"durable").unwrap();
    block_on(file.sync()).unwrap();
    block_on(disk.sync_dir("d")).unwrap();
    file.write_at(0, b"changed").unwrap();
    disk.open("d/b", OpenMode::ReadWriteCreate).unwrap();
    let after = disk.crash(Tear::Lose);
    assert_eq!(read(&after, "d/a").as_deref(), Some(&b"durable"[..]));
    assert_eq!(read(&after, "d/b"), None);
    assert!(file.write_at(0, b"x").is_err());
}

#[test]
fn a_full_disk_refuses_growth_but_not_allocated_space() {
    let disk = SimDisk::new();
    disk.set_capacity(100);
    let file = disk.open("a", OpenMode::ReadWriteCreate).unwrap();
    file.allocate(100).unwrap();
    file.write_at(90, &[1; 10]).unwrap();
    assert_eq!(file.write_at(91, &[1; 10]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.set_capacity(101);
    file.write_at(91, &[1; 10]).unwrap();
}

#[test]
fn a_lock_is_exclusive_until_dropped_or_crashed() {
    let disk = SimDisk::new();
    let lock = disk.lock("l").unwrap();
    assert!(disk.lock("l").is_err());
    drop(lock);
    let _lock = disk.lock("l").unwrap();
    assert!(disk.crash(Tear::Lose).lock("l").is_ok());
}

const BLOCK: usize = 1024;

fn file(disk: &SimDisk, path: &str, fill: u8) -> Arc<dyn File> {
    let file = disk.open(path, OpenMode::ReadWriteCreate).unwrap();
    file.write_at(0, &[fill; 4 * BLOCK]).unwrap();
    block_on(file.sync()).unwrap();
    block_on(disk.sync_dir("")).unwrap();
    file
}

fn eio(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

#[test]
fn a_lost_write_is_cached_and_survives_a_sync_but_not_a_crash() {
    for crash in [true, false] {
        let disk = SimDisk::new();
        let open = file(&disk, "a", 1);
        let fault = disk.inject(DiskFault::lost_write().on(|path| path == "a").times(1));
        open.write_at(0, &[2; BLOCK]).unwrap();
        open.write_at(4 * BLOCK as u64, &[3; BLOCK]).unwrap();
        block_on(open.sync()).unwrap();
        assert_eq!(read(&disk, "a").unwrap()[..BLOCK], [2; BLOCK]);
        let disk = if crash { disk.crash(Tear::Lose) } else { disk };
        disk.drop_caches();
        let after = read(&disk, "a").unwrap();
        assert_eq!((&after[..BLOCK], &after[4 * BLOCK..]), (&[1; BLOCK][..], &[3; BLOCK][..]));
        assert_eq!((fault.bites(), disk.fault_counts().lost_writes), (1, 1));
    }
}

#[test]
fn a_lost_write_at_the_end_leaves_a_hole() {
    let disk = SimDisk::new();
    let open = file(&disk, "a", 1);
    disk.inject(DiskFault::lost_write());
    open.write_at(4 * BLOCK as u64, &[2; BLOCK]).unwrap();
    block_on(open.sync()).unwrap();
    let after = read(&disk.crash(Tear::Lose), "a").unwrap();
    assert_eq!((after.len(), &after[4 * BLOCK..]), (5 * BLOCK, &[0; BLOCK][..]));
}

#[test]
fn a_misdirected_write_overwrites_something_else() {
    let (mut hit, mut missed) = ([0, 0], 0);
    for seed in 0..40 {
        let disk = SimDisk::new();
        let open = file(&disk, "a", 1);
        file(&disk, "b", 2);
        let fault = disk.inject(DiskFault::misdirected_write().seed(seed).times(1));
        open.write_at(0, &[9; BLOCK]).unwrap();
        block_on(open.sync()).unwrap();
        assert_eq!(read(&disk, "a").unwrap()[..BLOCK], [9; BLOCK], "it is cached");
        assert_eq!(read(&disk, "b").unwrap(), [2; 4 * BLOCK]);
        let bites = fault.bites();
        let disk = disk.crash(Tear::Lose);
        for (place, name) in ["a", "b"].into_iter().enumerate() {
            let bytes = read(&disk, name).unwrap();
            assert_eq!(bytes.len(), 4 * BLOCK);
            let strays = bytes.iter().filter(|byte| **byte == 9).count();
            assert!(strays == 0 || strays == BLOCK);
            hit[place] += if bites == 1 { strays / BLOCK } else { 0 };
        }
        assert_eq!((fault.bites(), disk.fault_counts().misdirected_writes), (bites, bites));
        missed += 1 - bites;
    }
    // Some draw the place where the write belongs, and do not bite.
    assert_eq!(hit[0] + hit[1], 40 - missed as usize);
    assert!(missed < 10 && hit[0] > 10 && hit[1] > 10, "{hit:?}");
}

#[test]
fn a_bit_flips_at_rest() {
    let disk = SimDisk::new();
    file(&disk, "a", 0);
    file(&disk, "b", 0);
    let rng = SimRng::new(1);
    assert_eq!(disk.flip_bit(&rng, |path| path == "c"), None);
    let (path, offset) = disk.flip_bit(&rng, |path| path == "b").unwrap();
    assert_eq!(path, "b");
    let disk = disk.crash(Tear::Lose);
    assert_eq!(read(&disk, "b").unwrap()[offset].count_ones(), 1);
    assert_eq!(read(&disk, "b").unwrap().iter().filter(|byte| **byte != 0).count(), 1);
    assert_eq!(read(&disk, "a").unwrap(), [0; 4 * BLOCK]);
    assert_eq!(disk.fault_counts().flipped_bits, 1);
}

#[test]
fn reads_and_writes_fail_where_and_as_often_as_they_are_told_to() {
    let disk = SimDisk::new();
    let (one, two) = (file(&disk, "one", 1), file(&disk, "two", 1));
    let reads = disk.inject(DiskFault::error(Operation::Read).on(|path| path == "one"));
    let writes = disk.inject(DiskFault::error(Operation::Write).one_in(4).seed(3).times(20));
    let mut buffer = [0; 8];
    assert!(eio(&one.read_at(0, &mut buffer).unwrap_err()));
    two.read_at(0, &mut buffer).unwrap();
    let failed = (0..200).filter(|_| two.write_at(0, &[5; 8]).is_err_and(|error| eio(&error))).count();
    assert_eq!((reads.bites(), writes.bites(), failed), (1, 20, 20));
    // Faults outlive a crash; a rename takes a file out of reach of a fault on its old name.
    let disk = disk.crash(Tear::Lose);
    let one = disk.open("one", OpenMode::Read).unwrap();
    assert!(one.read_at(0, &mut buffer).is_err());
    disk.rename("one", "three").unwrap();
    one.read_at(0, &mut buffer).unwrap();
    disk.rename("three", "one").unwrap();
    reads.lift();
    one.read_at(0, &mut buffer).unwrap();
    assert_eq!(disk.fault_counts().errors, 22);
}

#[test]
fn a_fault_draws_from_its_seed() {
    let bites = |seed| {
        let disk = SimDisk::new();
        let open = file(&disk, "a", 1);
        disk.inject(DiskFault::error(Operation::Write).one_in(3).seed(seed));
        (0..50).map(|_| open.write_at(0, b"x").is_err()).collect::<Vec<_>>()
    };
    assert_eq!(bites(1), bites(1));
    assert_ne!(bites(1), bites(2));
}

#[test]
fn each_operation_can_be_the_one_that_fails() {
    let work = |disk: &SimDisk| -> io::Result<()> {
        disk.create_dir_all("d")?;
        let _lock = disk.lock("d/lock")?;
        let open = disk.open("d/a", OpenMode::ReadWriteCreate)?;
        open.allocate(100)?;
        open.write_at(0, b"text")?;
        block_on(open.sync())?;
        disk.rename("d/a", "d/b")?;
        block_on(disk.sync_dir("d"))?;
        open.read_at(0, &mut [0; 4])?;
        assert_eq!(disk.list("d")?, ["b"]);
        disk.remove("d/b")
    };
    let healthy = SimDisk::new();
    work(&healthy).unwrap();
    let count = healthy.operations();
    assert_eq!(count, 11);
    for number in 0..=count {
        let disk = SimDisk::new();
        disk.fail_operation(number);
        let outcome = work(&disk);
        assert_eq!(outcome.is_err_and(|error| eio(&error)), number < count, "operation {number}");
        assert_eq!(disk.fault_counts().errors, u64::from(number < count));
        let disk = SimDisk::new();
        disk.stop_at_operation(number);
        assert_eq!(work(&disk).is_err(), number < count);
        assert_eq!(disk.is_stopped(), number < count);
        assert!(disk.crash(Tear::Lose).list("d").is_ok());
    }
}

#[test]
fn after_a_failed_sync_another_one_says_yes_and_the_data_is_gone() {
    let disk = SimDisk::new();
    let open = file(&disk, "a", 1);
    disk.inject(DiskFault::error(Operation::Sync).times(1));
    open.write_at(0, &[2; BLOCK]).unwrap();
    assert!(eio(&block_on(open.sync()).unwrap_err()));
    block_on(open.sync()).unwrap();
    assert_eq!(read(&disk, "a").unwrap()[0], 2);
    assert_eq!(read(&disk.crash(Tear::Lose), "a").unwrap()[0], 1);
}

#[test]
fn a_sync_lies_once() {
    for again in [false, true] {
        let disk = SimDisk::new();
        let open = file(&disk, "a", 1);
        let fault = disk.inject(DiskFault::lying_sync().times(1));
        open.write_at(0, &[2; BLOCK]).unwrap();
        block_on(open.sync()).unwrap();
        if again {
            block_on(open.sync()).unwrap();
        }
        assert_eq!((fault.bites(), disk.fault_counts().lying_syncs), (1, 1));
        assert_eq!(read(&disk.crash(Tear::Lose), "a").unwrap()[0], 1 + u8::from(again));
    }
    let disk = SimDisk::new();
    disk.inject(DiskFault::lying_sync().on(|path| path == "d"));
    disk.open("d/a", OpenMode::ReadWriteCreate).unwrap();
    block_on(disk.sync_dir("d")).unwrap();
    assert_eq!(read(&disk.crash(Tear::Lose), "d/a"), None);
}

#[test]
fn lifted_faults_bite_no_more() {
    let disk = SimDisk::new();
    let open = file(&disk, "a", 1);
    disk.inject(DiskFault::lost_write());
    disk.inject(DiskFault::error(Operation::Read));
    disk.fail_operation(0);
    disk.lift_faults();
    open.write_at(0, &[2; BLOCK]).unwrap();
    block_on(open.sync()).unwrap();
    assert_eq!(read(&disk.crash(Tear::Lose), "a").unwrap()[0], 2);
    assert_eq!(disk.fault_counts(), DiskFaultCounts::default());
}

#[test]
fn waits_and_refusals_are_counted() {
    let disk = SimDisk::new();
    disk.delay_syncs(|| Box::pin(async {}));
    let open = file(&disk, "a", 1);
    disk.set_capacity(disk.used());
    assert!(open.write_at(4 * BLOCK as u64, b"x").is_err());
    let counts = disk.fault_counts();
    assert_eq!((counts.delayed_syncs, counts.full), (1, 1));
}

#[test]
fn a_file_is_cut_off_at_rest() {
    let disk = SimDisk::new();
    file(&disk, "a", 1);
    file(&disk, "b", 1);
    let (path, len) = disk.truncate(&SimRng::new(1), |path| path == "a").unwrap();
    assert!(path == "a" && len < 4 * BLOCK);
    assert_eq!(read(&disk, "a").unwrap().len(), len);
    let disk = disk.crash(Tear::Lose);
    assert_eq!((read(&disk, "a").unwrap().len(), read(&disk, "b").unwrap().len()), (len, 4 * BLOCK));
    assert_eq!(disk.fault_counts().truncations, 1);
}
