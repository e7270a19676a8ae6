//! A store whose groups have one voter each.

use std::{sync::Arc, time::Duration};

use basalt_base::{RangeId, Timestamp};
use basalt_env::sim::{SimDisk, SimExecutor, Tear};
use bytes::Bytes;
use futures::future::join_all;

use super::{
    cluster::{open, options, start, write},
    toy::Toy,
};
use crate::{Error, MembershipChange, Role};

#[test]
fn a_write_is_applied_and_answered() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        assert_eq!(write(&handle, 1, "a").await, Ok("a".to_owned()));
        assert_eq!(write(&handle, 2, "a").await, Err(Error::RangeNotFound(RangeId(2))));
        assert!(matches!(write(&handle, 1, "").await, Err(Error::Invalid(_))));
        let huge = "x".repeat(options().command_bytes_max + 1);
        assert!(matches!(write(&handle, 1, &huge).await, Err(Error::Invalid(_))));
        assert_eq!(toy.commands(1), ["a"]);
        let status = handle.status(RangeId(1)).unwrap();
        assert_eq!((status.role, status.applied), (Role::Leader, 12));
    });
}

#[test]
fn many_groups_share_one_sync_per_round() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 200));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        join_all((1..=200).map(|range| write(&handle, range, "warm"))).await;
        let before = (handle.counts(), disk.syncs());
        let answers = join_all((1..=200).map(|range| write(&handle, range, "a"))).await;
        assert!(answers.iter().all(Result::is_ok));
        let after = (handle.counts(), disk.syncs());
        assert_eq!(after.0.entries - before.0.entries, 200);
        assert_eq!(after.0.rounds - before.0.rounds, 1);
        // The batch may have needed a new segment, which is synced three times.
        assert!(after.0.fsyncs - before.0.fsyncs <= 3, "{after:?}");
        assert_eq!(after.0.fsyncs - before.0.fsyncs, after.1 - before.1);
    });
}

#[test]
fn an_idle_store_does_nothing() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 300));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 300, "a").await.unwrap();
        let written = handle.counts();
        executor.sleep(Duration::from_secs(1)).await;
        let before = handle.counts();
        // The log says, in one header, that it was synced.
        assert_eq!((before.log_bytes - written.log_bytes, before.fsyncs), (40, written.fsyncs));
        executor.sleep(Duration::from_secs(3600)).await;
        assert_eq!(handle.counts(), before);
    });
}

#[test]
fn a_restart_replays_what_the_state_machine_lost() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 2));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "a").await.unwrap();
        write(&handle, 1, "split 9").await.unwrap();
        write(&handle, 9, "b").await.unwrap();
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        assert!(toy.commands(1).is_empty());
        let handle = start(&executor, &disk, &toy).await.unwrap();
        assert_eq!(handle.incarnation(), 2);
        write(&handle, 1, "c").await.unwrap();
        write(&handle, 9, "d").await.unwrap();
        assert_eq!(toy.commands(1), ["a", "split 9", "c"]);
        assert_eq!(toy.commands(9), ["b", "d"]);
    });
}

#[test]
fn a_store_that_lost_state_refuses_to_start() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "a").await.unwrap();
        handle.shutdown(None).await.unwrap();
        // The engine is gone, the log was truncated behind it.
        let error = start(&executor, &disk, &Toy::new(1, &[1], 1)).await.err().unwrap();
        assert!(matches!(error, Error::Corruption(_)), "{error}");
        // The log is gone.
        let error = start(&executor, &SimDisk::new(), &toy).await.err().unwrap();
        assert!(matches!(error, Error::Corruption(_)), "{error}");
        start(&executor, &disk, &toy).await.unwrap();
    });
}

#[test]
fn the_clock_bound_rises_and_a_clean_stop_records_the_clock() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        handle.persist_clock_bound(Timestamp(500)).await.unwrap();
        handle.persist_clock_bound(Timestamp(300)).await.unwrap();
        executor.kill(1);
        let (disk, toy) = (disk.crash(Tear::Lose), toy.after_crash());
        let store = open(&executor, 1, &disk).await.unwrap();
        assert_eq!(store.clock_bound(), Timestamp(500));
        let handle = store.start(toy.clone(), Arc::new(crate::NoTransport), Arc::new(())).await.unwrap();
        handle.persist_clock_bound(Timestamp(900)).await.unwrap();
        handle.shutdown(Some(Timestamp(600))).await.unwrap();
        assert_eq!(open(&executor, 1, &disk).await.unwrap().clock_bound(), Timestamp(600));
    });
}

#[test]
fn shutdown_answers_everything_and_gives_up_the_lock() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        assert_eq!(open(&executor, 1, &disk).await.err(), Some(Error::Locked));
        let queued = handle.propose(RangeId(1), Bytes::from_static(b"a"));
        handle.shutdown(None).await.unwrap();
        assert!(queued.await.is_ok());
        assert_eq!(write(&handle, 1, "b").await, Err(Error::Stopped));
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "c").await.unwrap();
        assert_eq!(toy.commands(1), ["a", "c"]);
    });
}

#[test]
fn a_failed_sync_stops_the_store() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "a").await.unwrap();
        disk.fail_syncs();
        let (written, why) = tokio::join!(write(&handle, 1, "b"), handle.until_stopped());
        assert!(matches!(written, Err(Error::Ambiguous(_))));
        let Error::Poisoned(cause) = &why else { panic!("{why}") };
        assert!(cause.contains("log/") && cause.contains(".seg"), "{cause}");
        assert!(matches!(write(&handle, 1, "c").await, Err(Error::Poisoned(_))));
        assert_eq!(handle.stopped(), Some(why));
    });
}

#[test]
fn an_impossible_change_of_membership_is_refused() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        let none = handle.change_membership(RangeId(1), Vec::new(), Bytes::new()).await;
        assert!(matches!(none, Err(Error::Invalid(_))));
        // Two at once: the second finds the first unapplied.
        let add = |id| vec![MembershipChange::AddLearner(basalt_base::ReplicaId(id))];
        let first = handle.change_membership(RangeId(1), add(2), Bytes::new());
        let second = handle.change_membership(RangeId(1), add(3), Bytes::new());
        assert!(first.await.is_ok());
        assert!(matches!(second.await, Err(Error::Unavailable(_))));
        assert_eq!(toy.membership(1).learners.len(), 1);
    });
}
