//! The clock on one thread.

use super::*;
use crate::timestamp::{EPOCH_UNIX_MS, LOGICAL_MAX};

#[derive(Default)]
struct TestClock {
    wall_micros: AtomicI64,
    monotonic_micros: AtomicU64,
}

impl Clock for TestClock {
    fn wall_micros(&self) -> i64 {
        self.wall_micros.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_micros.load(Ordering::SeqCst))
    }
}

#[test]
fn a_step_of_the_wall_clock_fences_and_slow_changes_do_not() {
    let ms = Duration::from_millis;
    for (steps, fenced) in [
        // Wall and monotonic clock move on by so many milliseconds.
        (&[(100, 100), (0, 100), (224, 100)][..], false),
        (&[(100, 100), (-30, 100)], true),
        (&[(100, 100), (230, 100)], true),
        // It does not come back.
        (&[(-30, 100), (230, 100)], true),
        // After a long time the rates of the clocks may have come apart a little.
        (&[(60_000 - 1_000, 60_000)], false),
        (&[(60_000 - 1_100, 60_000)], true),
    ] {
        let (source, clock) = clock_at(1_000_000);
        clock.limit_step(ms(125));
        let mut outcome = clock.now();
        let before = outcome.clone().unwrap();
        for (wall, monotonic) in steps {
            source.wall_micros.fetch_add(wall * 1_000, Ordering::SeqCst);
            source.monotonic_micros.fetch_add(monotonic * 1_000, Ordering::SeqCst);
            outcome = clock.now();
        }
        assert_eq!(outcome.is_err(), fenced, "{steps:?}");
        assert_eq!(clock.stepped().is_some(), fenced, "{steps:?}");
        assert!(clock.latest() >= before);
    }
}

#[test]
fn steps_without_peers_are_put_up_with() {
    let (source, clock) = clock_at(1_000_000);
    source.wall_micros.fetch_sub(60_000_000, Ordering::SeqCst);
    assert!(clock.now().is_ok() && clock.stepped().is_none());
    // Peers come: what was before no longer counts.
    clock.limit_step(Duration::from_millis(125));
    assert!(clock.now().is_ok());
}

fn clock_at(ms: i64) -> (Arc<TestClock>, HlcClock) {
    let source = Arc::new(TestClock::default());
    source.wall_micros.store((EPOCH_UNIX_MS + ms) * 1_000, Ordering::SeqCst);
    let clock = HlcClock::new(source.clone(), Timestamp::ZERO, Duration::from_millis(250));
    clock.set_bound(Timestamp::MAX);
    (source, clock)
}

#[test]
fn readings_increase_when_the_wall_clock_steps_back() {
    let (source, clock) = clock_at(1_000);
    let first = clock.now().unwrap();
    assert_eq!(clock.latest(), first);
    source.wall_micros.fetch_sub(500_000, Ordering::SeqCst);
    assert!(clock.now().unwrap() > first);
}

#[test]
fn no_reading_passes_the_durable_bound() {
    let source = Arc::new(TestClock::default());
    source.wall_micros.store((EPOCH_UNIX_MS + 1_000) * 1_000, Ordering::SeqCst);
    let clock = HlcClock::new(source, Timestamp::ZERO, Duration::from_millis(250));
    assert!(matches!(clock.now(), Err(ClockError::BoundReached { .. })));
    clock.set_bound(clock.next_bound());
    assert_eq!(clock.now().unwrap().physical_ms(), 1_000);
}

#[test]
fn a_stalled_bound_makes_the_clock_lag_but_not_stop() {
    let source = Arc::new(TestClock::default());
    source.wall_micros.store((EPOCH_UNIX_MS + 1_000) * 1_000, Ordering::SeqCst);
    let clock = HlcClock::new(source.clone(), Timestamp::ZERO, Duration::from_millis(250));
    clock.set_bound(Timestamp::from_parts(4_000, 7));
    source.wall_micros.fetch_add(9_000_000, Ordering::SeqCst);
    source.monotonic_micros.fetch_add(9_000_000, Ordering::SeqCst);
    let mut last = Timestamp::ZERO;
    for _ in 0..1_000 {
        let reading = clock.now().unwrap();
        assert!(reading > last && reading < clock.bound());
        last = reading;
    }
}

#[test]
fn a_restart_continues_above_the_bound() {
    let source = Arc::new(TestClock::default());
    source.wall_micros.store((EPOCH_UNIX_MS + 1_000) * 1_000, Ordering::SeqCst);
    let start = Timestamp::from_parts(4_000, 0);
    let clock = HlcClock::new(source.clone(), start, Duration::from_millis(250));
    clock.set_bound(clock.next_bound());
    assert!(clock.now().unwrap() > start);
    assert_eq!(clock.lead(), Duration::from_secs(3));
    source.wall_micros.fetch_add(4_000_000, Ordering::SeqCst);
    clock.now().unwrap();
    assert_eq!(clock.lead(), Duration::ZERO);
}

#[test]
fn a_forward_jump_of_the_wall_clock_is_not_believed() {
    let (source, clock) = clock_at(1_000);
    clock.now().unwrap();
    source.wall_micros.fetch_add(3_600_000_000, Ordering::SeqCst);
    source.monotonic_micros.fetch_add(2_000, Ordering::SeqCst);
    assert_eq!(clock.now().unwrap().physical_ms(), 1_002);
}

#[test]
fn a_frozen_clock_gives_nothing_above_what_it_returned() {
    let (source, clock) = clock_at(1_000);
    let last = clock.now().unwrap();
    let frozen = clock.freeze();
    assert!(frozen >= last);
    source.wall_micros.fetch_add(9_000, Ordering::SeqCst);
    clock.set_bound(Timestamp::MAX);
    assert!(clock.now().is_err());
    assert!(clock.update(Timestamp::from_parts(1_009, 0)).is_err());
}

#[test]
fn a_peer_far_ahead_is_refused() {
    let (_, clock) = clock_at(1_000);
    assert!(clock.update(Timestamp::from_parts(1_200, 0)).is_ok());
    assert!(clock.update(Timestamp::from_parts(9_000, 0)).is_err());
    assert!(clock.now().unwrap() > Timestamp::from_parts(1_200, 0));
}

#[test]
fn the_last_reading_of_a_millisecond_is_passed_too() {
    for ahead in [0, 100] {
        let (_, clock) = clock_at(1_000);
        let last = Timestamp::from_parts(1_000 + ahead, LOGICAL_MAX);
        clock.update(last).unwrap();
        assert!(clock.now().unwrap() > last, "{ahead} ms ahead");
    }
}
