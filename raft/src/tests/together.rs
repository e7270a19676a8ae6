//! Commands of several groups, all or none.

use std::sync::Arc;

use basalt_base::RangeId;
use basalt_env::sim::{SimDisk, SimExecutor, SimRng, Tear};
use bytes::Bytes;
use futures::future::join_all;

use super::{
    cluster::{options, start, write},
    toy::Toy,
};
use crate::{Error, RaftHandle, Result};

/// Proposes `command` in ranges 1 to `ranges` at once.
async fn write_together(handle: &RaftHandle, ranges: u64, command: &str) -> Vec<Result<()>> {
    let commands = (1..=ranges).map(|range| (RangeId(range), Bytes::copy_from_slice(command.as_bytes())));
    let futures = handle.propose_together(commands.collect());
    join_all(futures).await.into_iter().map(|outcome| outcome.map(drop)).collect()
}

#[test]
fn commands_of_several_groups_share_a_round() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 3));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "warm").await.unwrap();
        let before = handle.counts();
        assert_eq!(write_together(&handle, 3, "a").await, [Ok(()), Ok(()), Ok(())]);
        assert_eq!(handle.counts().fsyncs - before.fsyncs, 1);
        assert_eq!(toy.commands(2), ["a"]);
        assert_eq!(toy.commands(3), ["a"]);
    });
}

#[test]
fn one_group_that_cannot_refuses_for_all() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 2));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        // There is no range 3.
        let missing = Err(Error::RangeNotFound(RangeId(3)));
        assert_eq!(write_together(&handle, 3, "a").await, [missing.clone(), missing.clone(), missing]);
        assert!(matches!(write_together(&handle, 2, "").await[..], [Err(Error::Invalid(_)), Err(_)]));
        let half = "x".repeat(options().command_bytes_max / 2 + 1);
        assert!(matches!(write_together(&handle, 2, &half).await[..], [Err(Error::Invalid(_)), Err(_)]));
        let twice = vec![(RangeId(1), Bytes::from_static(b"a")), (RangeId(1), Bytes::from_static(b"b"))];
        assert!(join_all(handle.propose_together(twice)).await.iter().all(Result::is_err));
        assert!(toy.commands(1).is_empty() && toy.commands(2).is_empty());
    });
}

/// A group with other members commits in its own time.
#[test]
fn a_group_with_other_members_is_refused() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 2));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        let learner = crate::MembershipChange::AddLearner(basalt_base::ReplicaId(2));
        handle.change_membership(RangeId(2), vec![learner], Bytes::new()).await.unwrap();
        assert!(write_together(&handle, 2, "a").await.iter().all(Result::is_err));
        assert!(toy.commands(1).is_empty());
    });
}

/// Cuts the power at every sync of a run: whatever is kept, both ranges keep the same.
#[test]
fn a_power_cut_divides_nothing() {
    for torn in [false, true] {
        for point in 0.. {
            let (executor, disk, toy) = (SimExecutor::new(point), SimDisk::new(), Toy::new(1, &[1], 2));
            disk.stop_at_sync(point);
            let finished = executor.run(async {
                let mut acknowledged = 0;
                if let Ok(handle) = start(&executor, &disk, &toy).await {
                    acknowledged = fill(&handle).await;
                }
                let finished = !disk.is_stopped();
                executor.kill(1);
                let rng = SimRng::new(point);
                let disk = disk.crash(if torn { Tear::Random(&rng) } else { Tear::Lose });
                let toy: Arc<Toy> = toy.after_crash();
                let handle = start(&executor, &disk, &toy).await.unwrap();
                // A leader that has not applied its whole log yet can't rule out a change of membership in it.
                for range in [1, 2] {
                    write(&handle, range, "applied").await.unwrap();
                }
                assert!(write_together(&handle, 2, "last").await.iter().all(Result::is_ok));
                assert_eq!(toy.commands(1), toy.commands(2), "point {point}, torn {torn}");
                assert!(toy.commands(1).len() >= acknowledged + 2, "point {point}, torn {torn}");
                finished
            });
            if finished {
                assert!(point > 20, "only {point} crash points");
                break;
            }
        }
    }
}

/// Commands long enough for several segments; gives how many were acknowledged.
async fn fill(handle: &RaftHandle) -> usize {
    for turn in 0..24 {
        if turn == 12 && handle.truncate_log().await.is_err() {
            return turn;
        }
        let command = format!("{turn} {}", "x".repeat(1500));
        if write_together(handle, 2, &command).await.iter().any(Result::is_err) {
            return turn;
        }
    }
    24
}
