use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::*;
use crate::sim::SimDisk;

const SECOND: Duration = Duration::from_secs(1);

fn spawn(executor: &SimExecutor, node: u64, task: impl Future<Output = ()> + Send + 'static) {
    executor.spawner(node).spawn("test", Box::pin(task));
}

fn pass(executor: &SimExecutor, duration: Duration) {
    executor.run(executor.sleep(duration));
}

#[test]
fn time_jumps_to_the_next_timer_and_the_seed_fixes_the_order() {
    let trace = |seed| {
        let executor = SimExecutor::new(seed);
        let env = executor.env(1, SimDisk::new());
        let log = Arc::new(Mutex::new(Vec::new()));
        for name in 0..8 {
            let (log, spawner) = (log.clone(), env.spawner.clone());
            spawn(&executor, 1, async move {
                log.lock().push(name);
                spawner.sleep(Duration::from_secs(3600)).await;
                log.lock().push(name);
            });
        }
        pass(&executor, Duration::from_secs(7200));
        assert_eq!(executor.now(), Duration::from_secs(7200));
        let log = log.lock().clone();
        assert_eq!(log.len(), 16);
        log
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
    // Timers of one instant race: the order after the sleep is not the one before it.
    let log = trace(1);
    assert_ne!(log[..8], log[8..]);
}

#[test]
fn killed_tasks_run_no_more() {
    let executor = SimExecutor::new(1);
    let ran = Arc::new(Mutex::new(false));
    let (flag, sleep) = (ran.clone(), executor.sleep(SECOND));
    spawn(&executor, 1, async move {
        sleep.await;
        *flag.lock() = true;
    });
    pass(&executor, Duration::from_millis(1));
    executor.kill(1);
    pass(&executor, 2 * SECOND);
    assert!(!*ran.lock());
}

#[test]
fn a_waker_of_a_task_that_is_gone_does_not_wake_its_successor() {
    let executor = SimExecutor::new(1);
    let waker = Arc::new(Mutex::new(None));
    let slot = waker.clone();
    let keep_waker = async move {
        std::future::poll_fn(|context| {
            *slot.lock() = Some(context.waker().clone());
            std::task::Poll::<()>::Pending
        })
        .await;
    };
    spawn(&executor, 1, keep_waker);
    pass(&executor, SECOND);
    executor.kill(1);
    let polls = Arc::new(AtomicU64::new(0));
    let counter = polls.clone();
    // Takes the slot of the first.
    spawn(
        &executor,
        1,
        std::future::poll_fn(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::task::Poll::Pending
        }),
    );
    pass(&executor, SECOND);
    waker.lock().take().unwrap().wake();
    pass(&executor, SECOND);
    assert_eq!(polls.load(Ordering::Relaxed), 1);
}

/// Counts the ticks of a task that ticks ten times a second.
fn ticker(executor: &SimExecutor, node: u64) -> impl Fn() -> u64 {
    let ticks = Arc::new(AtomicU64::new(0));
    let (spawner, counter) = (executor.spawner(node), ticks.clone());
    spawn(executor, node, async move {
        loop {
            spawner.sleep(SECOND / 10).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    move || ticks.load(Ordering::Relaxed)
}

#[test]
fn a_paused_node_stands_still_and_notices_afterwards() {
    let executor = SimExecutor::new(1);
    let (paused, other) = (ticker(&executor, 1), ticker(&executor, 2));
    pass(&executor, SECOND + SECOND / 20);
    assert_eq!((paused(), other()), (10, 10));
    executor.pause(1);
    executor.pause(1);
    // What is spawned during the pause waits too.
    let late = ticker(&executor, 1);
    pass(&executor, 60 * SECOND);
    assert!(executor.is_paused(1));
    assert_eq!((paused(), late(), other()), (10, 0, 610));
    executor.resume(1);
    assert!(!executor.is_paused(1));
    pass(&executor, SECOND + SECOND / 20);
    // One tick was due during the pause; the next is counted from when the task noticed.
    assert_eq!((paused(), late()), (10 + 1 + 10, 10));
    executor.resume(1);
    executor.pause(0);
    pass(&executor, SECOND);
    assert_eq!(late(), 20, "the world outside cannot be paused");
}

#[test]
fn a_paused_node_can_be_killed() {
    let executor = SimExecutor::new(1);
    let first = ticker(&executor, 1);
    executor.pause(1);
    pass(&executor, SECOND);
    executor.kill(1);
    assert!(!executor.is_paused(1));
    let second = ticker(&executor, 1);
    pass(&executor, SECOND + SECOND / 20);
    assert_eq!((first(), second()), (0, 10));
}

#[test]
fn timers_that_are_given_up_cost_nothing_and_wake_nobody() {
    let executor = SimExecutor::new(1);
    let sleeps: Vec<_> = (1..=1000).map(|seconds| executor.sleep(seconds * SECOND)).collect();
    let polls = Arc::new(AtomicU64::new(0));
    let counter = polls.clone();
    let last = executor.sleep(2000 * SECOND);
    spawn(&executor, 1, async move {
        let (mut sleeps, mut last) = (sleeps, last);
        std::future::poll_fn(move |context| {
            counter.fetch_add(1, Ordering::Relaxed);
            for sleep in &mut sleeps {
                assert!(sleep.as_mut().poll(context).is_pending());
            }
            sleeps.clear();
            last.as_mut().poll(context)
        })
        .await;
    });
    pass(&executor, 3000 * SECOND);
    assert_eq!(polls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_sleep_wakes_whoever_polled_it_last() {
    let executor = SimExecutor::new(1);
    let mut sleep = executor.sleep(SECOND);
    assert!(sleep.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
    executor.run(sleep);
    assert_eq!(executor.now(), SECOND);
}

#[test]
fn cleared_executors_run_on() {
    let executor = SimExecutor::new(1);
    let ticks = ticker(&executor, 1);
    pass(&executor, SECOND);
    let before = ticks();
    executor.clear();
    pass(&executor, SECOND);
    assert_eq!(ticks(), before);
    let again = ticker(&executor, 1);
    pass(&executor, SECOND + SECOND / 20);
    assert_eq!(again(), 10);
}

#[test]
fn steps_count_the_polls_of_others() {
    let executor = SimExecutor::new(1);
    let _ticks = ticker(&executor, 1);
    executor.run(executor.steps(0));
    executor.run(async {
        let before = executor.polls();
        executor.steps(1).await;
        assert!(executor.polls() > before);
        // Nothing runs: the timeout ends the wait.
        let now = executor.now();
        executor.steps(1_000_000).await;
        assert_eq!(executor.now(), now + SECOND / 10);
    });
}

#[test]
fn given_up_timers_do_not_move_time() {
    let executor = SimExecutor::new(1);
    let log = Arc::new(Mutex::new(Vec::new()));
    let (early, log_of_early) = (executor.sleep(SECOND), log.clone());
    let mut given_up = executor.sleep(SECOND);
    let clock = executor.clone();
    spawn(&executor, 1, async move {
        std::future::poll_fn(|context| {
            assert!(given_up.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(given_up);
        early.await;
        log_of_early.lock().push(clock.now());
    });
    pass(&executor, 2 * SECOND);
    assert_eq!(*log.lock(), [SECOND]);
}
