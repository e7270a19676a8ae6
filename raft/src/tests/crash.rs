//! Power cuts at every sync, and damage.

use std::{sync::Arc, time::Duration};

use basalt_base::RangeId;
use basalt_env::{
    Disk,
    sim::{SimDisk, SimExecutor, SimRng, Tear},
};

use parking_lot::Mutex;

use super::{
    cluster::{options, start, write},
    toy::Toy,
};
use crate::Error;

/// Writes until the power goes; gives what was acknowledged, per range.
async fn workload(executor: &SimExecutor, disk: &SimDisk, toy: &Arc<Toy>) -> [Vec<String>; 2] {
    let mut acknowledged = [Vec::new(), Vec::new()];
    let Ok(handle) = start(executor, disk, toy).await else { return acknowledged };
    for turn in 0..24 {
        let range = turn % 2;
        // Long enough for several segments, a flush in the middle for truncation.
        let command = format!("{turn} {}", "x".repeat(3000));
        if turn == 12 && handle.truncate_log().await.is_err() {
            return acknowledged;
        }
        match write(&handle, range + 1, &command).await {
            Ok(command) => acknowledged[range as usize].push(command),
            Err(_) => return acknowledged,
        }
    }
    acknowledged
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_power_goes() {
    let mut points = 0;
    for torn in [false, true] {
        for point in 0.. {
            let (executor, disk, toy) = (SimExecutor::new(point), SimDisk::new(), Toy::new(1, &[1], 2));
            disk.stop_at_sync(point);
            let finished = executor.run(async {
                let acknowledged = workload(&executor, &disk, &toy).await;
                let finished = !disk.is_stopped();
                executor.kill(1);
                let rng = SimRng::new(point);
                let disk = disk.crash(if torn { Tear::Random(&rng) } else { Tear::Lose });
                let toy = toy.after_crash();
                let handle = start(&executor, &disk, &toy).await.unwrap();
                for range in [1, 2] {
                    write(&handle, range, "last").await.unwrap();
                    let commands = toy.commands(range);
                    let acknowledged = &acknowledged[range as usize - 1];
                    assert!(commands.starts_with(acknowledged), "point {point}, torn {torn}");
                    // At most the one that was in flight may have come through besides.
                    assert!(commands.len() <= acknowledged.len() + 2);
                    assert!(handle.status(RangeId(range)).is_some());
                }
                finished
            });
            points += 1;
            if finished {
                break;
            }
        }
    }
    assert!(points > 60, "only {points} crash points");
}

#[test]
fn two_power_cuts_in_a_row_revive_nothing() {
    for seed in 0..200 {
        let (executor, disk, toy) = (SimExecutor::new(seed), SimDisk::new(), Toy::new(1, &[1], 2));
        let rng = SimRng::new(seed);
        executor.run(async {
            let (mut disk, mut toy) = (disk, toy);
            let mut kept: [Vec<String>; 2] = Default::default();
            for _ in 0..4 {
                disk.stop_at_sync(rng.below(60) as u64);
                let acknowledged = workload(&executor, &disk, &toy).await;
                executor.kill(1);
                disk = disk.crash(Tear::Random(&rng));
                toy = toy.after_crash();
                let handle = start(&executor, &disk, &toy).await.unwrap();
                for range in [1, 2] {
                    write(&handle, range, "mark").await.unwrap();
                    let commands = toy.commands(range);
                    let kept = &mut kept[range as usize - 1];
                    kept.extend(acknowledged[range as usize - 1].iter().cloned());
                    assert!(commands.starts_with(kept), "seed {seed}");
                    *kept = commands;
                }
                executor.kill(1);
                disk = disk.crash(Tear::Lose);
                toy = toy.after_crash();
            }
        });
    }
}

#[test]
fn a_process_that_dies_during_a_slow_sync_has_answered_nothing_too_early() {
    for seed in 0..100 {
        let (executor, disk, toy) = (SimExecutor::new(seed), SimDisk::new(), Toy::new(1, &[1], 4));
        let rng = SimRng::new(seed);
        executor.run(async {
            let slow = executor.clone();
            disk.delay_syncs(move || slow.sleep(Duration::from_millis(2)));
            let handle = start(&executor, &disk, &toy).await.unwrap();
            let acknowledged: Arc<Mutex<Vec<(u64, String)>>> = Arc::default();
            let spawner = executor.env(2, disk.clone()).spawner;
            for writer in 0..8 {
                let (handle, acknowledged) = (handle.clone(), acknowledged.clone());
                let writes = async move {
                    for turn in 0..20 {
                        let range = writer % 4 + 1;
                        match write(&handle, range, &format!("{writer} {turn} {}", "x".repeat(300))).await {
                            Ok(command) => acknowledged.lock().push((range, command)),
                            Err(_) => return,
                        }
                    }
                };
                spawner.spawn("writer", Box::pin(writes));
            }
            executor.sleep(Duration::from_micros(rng.below(60_000) as u64)).await;
            executor.kill(1);
            let (disk, toy) = (disk.crash(Tear::Random(&rng)), toy.after_crash());
            let handle = start(&executor, &disk, &toy).await.unwrap();
            for range in 1..=4 {
                write(&handle, range, "last").await.unwrap();
            }
            for (range, command) in acknowledged.lock().iter() {
                assert!(toy.commands(*range).contains(command), "seed {seed}: range {range} lost {command}");
            }
        });
    }
}

#[test]
fn damage_in_the_middle_is_named_and_a_torn_tail_is_dropped() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        let mut ends = Vec::new();
        for command in ["a", "b", "c"] {
            write(&handle, 1, command).await.unwrap();
            ends.push(handle.counts().log_bytes);
        }
        executor.kill(1);
        let disk = disk.crash(Tear::Lose);
        let name = disk.list("log").unwrap().into_iter().find(|name| name.ends_with(".seg")).unwrap();
        let path = format!("log/{name}");
        // Somewhere in the record of "b", which a later batch proves to have been synced.
        let middle = usize::try_from(64 + ends[0] + 60).unwrap();
        disk.corrupt(&path, middle);
        let error = start(&executor, &disk, &toy.after_crash()).await.err().unwrap();
        let Error::Corruption(message) = error else { panic!("{error}") };
        assert!(message.contains(&path) && message.contains("offset"), "{message}");
        disk.corrupt(&path, middle);
        let toy = toy.after_crash();
        let handle = start(&executor, &disk, &toy).await.unwrap();
        write(&handle, 1, "d").await.unwrap();
        assert_eq!(toy.commands(1), ["a", "b", "c", "d"]);
    });
}

#[test]
fn a_damaged_segment_header_is_named() {
    let (executor, disk, toy) = (SimExecutor::new(1), SimDisk::new(), Toy::new(1, &[1], 1));
    executor.run(async {
        let handle = start(&executor, &disk, &toy).await.unwrap();
        for turn in 0..8 {
            let size = options().command_bytes_max / 2;
            write(&handle, 1, &format!("{turn}{}", "x".repeat(size))).await.unwrap();
        }
        executor.kill(1);
        let disk = disk.crash(Tear::Lose);
        let names: Vec<_> =
            disk.list("log").unwrap().into_iter().filter(|name| name.ends_with(".seg")).collect();
        assert!(names.len() > 2, "{names:?}");
        for name in names {
            let path = format!("log/{name}");
            disk.corrupt(&path, 3);
            let error = start(&executor, &disk, &toy.after_crash()).await.err().unwrap();
            assert!(matches!(&error, Error::Corruption(message) if message.contains(&path)), "{error}");
            disk.corrupt(&path, 3);
        }
        start(&executor, &disk, &toy.after_crash()).await.unwrap();
    });
}
