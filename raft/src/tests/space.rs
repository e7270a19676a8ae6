//! Truncation, reclaiming, full disks, and those that do not answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use basalt_base::{NodeId, RangeId, StoreId};
use basalt_env::sim::{SimDisk, SimExecutor, Tear};

use super::{
    cluster::{eventually, options, start, write},
    toy::Toy,
};
use crate::{Error, NoTransport, Options, RaftStore, StoreIdent};

#[test]
fn the_log_is_truncated_behind_flushed_state_and_its_space_comes_back() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 2));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 2, "idle").await.unwrap();
        let size = options().command_bytes_max / 2;
        let mut most = 0;
        for turn in 0..300 {
            write(&handle, 1, &format!("{turn}{}", "x".repeat(size))).await.unwrap();
            executor.sleep(Duration::from_millis(50)).await;
            most = most.max(disk.used());
        }
        assert!(handle.counts().flushes > 0 && handle.counts().segments_removed > 0, "{:?}", handle.counts());
        // The limit, what is written until the flush ends, and rounding to segments.
        assert!(most < 4 * options().log_bytes_max, "the log took {most} bytes");
        handle.truncate_log().await.unwrap();
        // The tail, a segment that may still have had live entries, and two spares.
        assert!(disk.used() <= 5 * options().segment_bytes, "{} bytes left", disk.used());
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 2, "more").await.unwrap();
        assert_eq!(toy.commands(1).len(), 300);
        assert_eq!(toy.commands(2), ["idle", "more"]);
    });
}

#[test]
fn commands_are_refused_before_the_disk_is_full() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let options = Options { free_bytes_min: 10_000, ..options() };
        let mut store = RaftStore::open(executor.env(1, disk.clone()), options).await.unwrap();
        store
            .bootstrap(StoreIdent { cluster_id: 7, node_id: NodeId(1), store_id: StoreId(1) })
            .await
            .unwrap();
        let handle = store.start(toy.clone(), Arc::new(NoTransport), Arc::new(())).await.unwrap();
        write(&handle, 1, "room").await.unwrap();
        disk.set_capacity(disk.used() + 9_999);
        assert_eq!(write(&handle, 1, "less").await.unwrap_err(), Error::DiskFull);
        assert_eq!(toy.commands(1), ["room"]);
        disk.set_capacity(u64::MAX);
        write(&handle, 1, "again").await.unwrap();
        assert_eq!(toy.commands(1), ["room", "again"]);
    });
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        disk.set_capacity(disk.used() + 2000);
        toy.full.store(false, Ordering::SeqCst);
        let mut accepted = Vec::new();
        let mut refused = 0;
        for turn in 0..40 {
            // The state machine can't flush either, so that nothing is freed.
            let command = format!("{turn}{}", "x".repeat(1000));
            match write(&handle, 1, &command).await {
                Ok(command) => accepted.push(command),
                Err(error) => {
                    assert_eq!(error, Error::DiskFull);
                    refused += 1;
                }
            }
        }
        assert!(!accepted.is_empty() && refused > 20, "{} accepted, {refused} refused", accepted.len());
        assert_eq!(toy.commands(1), accepted);
        assert!(handle.status(RangeId(1)).is_some() && handle.stopped().is_none());
        // The reserve serves what is not a command.
        handle.persist_clock_bound(basalt_base::Timestamp(5)).await.unwrap();
        disk.set_capacity(u64::MAX);
        accepted.push(write(&handle, 1, "room").await.unwrap());
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        let handle = start(&executor, &disk, &toy).await.unwrap();
        accepted.push(write(&handle, 1, "after").await.unwrap());
        assert_eq!(toy.commands(1), accepted);
    });
}

#[test]
fn a_state_machine_without_room_is_retried() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "a").await.unwrap();
        toy.full.store(true, Ordering::SeqCst);
        assert!(matches!(write(&handle, 1, "b").await, Err(Error::Ambiguous(_))));
        assert_eq!(write(&handle, 1, "c").await, Err(Error::DiskFull));
        toy.full.store(false, Ordering::SeqCst);
        eventually(&executor, "the committed command is applied", || toy.commands(1) == ["a", "b"]).await;
        write(&handle, 1, "d").await.unwrap();
        assert_eq!(toy.commands(1), ["a", "b", "d"]);
    });
}

#[test]
fn a_disk_that_does_not_answer_shows() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        let env = executor.env(1, disk.clone());
        write(&handle, 1, "before").await.unwrap();
        executor.sleep(Duration::from_secs(5)).await;
        assert!(handle.held_up_for(env.clock.monotonic()) < Duration::from_millis(1), "idle is not held up");
        let slow = env.spawner.clone();
        disk.delay_syncs(move || slow.sleep(Duration::from_secs(10)));
        let stalled = handle.propose(RangeId(1), "during".into());
        executor.sleep(Duration::from_secs(6)).await;
        let held_up = handle.held_up_for(env.clock.monotonic());
        assert!(held_up > Duration::from_secs(5) && held_up <= Duration::from_secs(6), "{held_up:?}");
        disk.delay_syncs(|| Box::pin(async {}));
        stalled.await.unwrap();
        executor.sleep(Duration::from_secs(1)).await;
        assert!(handle.held_up_for(env.clock.monotonic()) < Duration::from_millis(1), "it answers again");
    });
}
