//! The clock's guarantees under every interleaving of a few threads, and under all that the memory orders of its atomics allow
//! (loom; Norris and Demsky, CDSChecker, OOPSLA 2013). Run with `cargo test -p basalt-base --features model`.
//!
//! loom takes sequentially consistent accesses for acquire and release ones, so what passes here does not rely on more.

use loom::thread;

use super::{atomics::AtomicU64, *};
use crate::timestamp::EPOCH_UNIX_MS;

const START_MS: u64 = 1_000;
/// More switches between threads than this find nothing new, and take long.
const PREEMPTIONS_MAX: usize = 2;

/// A time of day that a test sets, over a monotonic clock that stands still.
struct TestClock {
    wall_ms: AtomicU64,
}

impl Clock for TestClock {
    fn wall_micros(&self) -> i64 {
        (EPOCH_UNIX_MS + self.wall_ms.load(Ordering::SeqCst) as i64) * 1_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

fn clock() -> (Arc<TestClock>, Arc<HlcClock>) {
    let source = Arc::new(TestClock { wall_ms: AtomicU64::new(START_MS) });
    let clock = HlcClock::new(source.clone(), Timestamp::ZERO, Duration::from_millis(250));
    clock.set_bound(Timestamp::from_parts(9_000, 0));
    (source, Arc::new(clock))
}

fn in_thread<T: 'static>(
    clock: &Arc<HlcClock>,
    act: impl FnOnce(&HlcClock) -> T + 'static,
) -> thread::JoinHandle<T> {
    let clock = clock.clone();
    thread::spawn(move || act(&clock))
}

#[test]
fn readings_of_all_threads_increase_and_differ() {
    check(|| {
        let (_, clock) = clock();
        let other = in_thread(&clock, |clock| [clock.now().unwrap(), clock.now().unwrap()]);
        let ours = [clock.now().unwrap(), clock.now().unwrap()];
        let theirs = other.join().unwrap();
        assert!(ours[0] < ours[1] && theirs[0] < theirs[1]);
        assert!(ours.iter().all(|reading| !theirs.contains(reading)));
        assert!(clock.latest() >= ours[1].max(theirs[1]));
    });
}

#[test]
fn no_reading_exceeds_what_a_frozen_clock_returned() {
    check(|| {
        let (_, clock) = clock();
        let readers = [0; 2].map(|_| in_thread(&clock, |clock| clock.now().ok()));
        let frozen = clock.freeze();
        let readings = readers.map(|reader| reader.join().unwrap());
        assert!(readings.iter().flatten().all(|reading| *reading <= frozen), "{readings:?}, {frozen}");
        assert!(clock.now().is_err());
    });
}

#[test]
fn no_reading_passes_the_bound_that_was_durable_before_it() {
    check(|| {
        let source = Arc::new(TestClock { wall_ms: AtomicU64::new(START_MS) });
        let clock = Arc::new(HlcClock::new(source, Timestamp::ZERO, Duration::from_millis(250)));
        let durable = Arc::new(AtomicU64::new(0));
        let noted = durable.clone();
        let maker = in_thread(&clock, move |clock| {
            for ms in [START_MS + 1, START_MS + 2] {
                let bound = Timestamp::from_parts(ms, 0);
                noted.store(bound.0, Ordering::Relaxed);
                clock.set_bound(bound);
            }
        });
        if let Ok(reading) = clock.now() {
            assert!(reading.0 <= durable.load(Ordering::Relaxed), "{reading}");
        }
        maker.join().unwrap();
        assert!(clock.now().is_ok());
    });
}

#[test]
fn a_reading_after_an_update_is_above_it() {
    check(|| {
        let (_, clock) = clock();
        let remote = Timestamp::from_parts(START_MS + 100, 7);
        let other = in_thread(&clock, |clock| clock.now().unwrap());
        clock.update(remote).unwrap();
        assert!(clock.now().unwrap() > remote);
        other.join().unwrap();
    });
}

/// A clock whose time of day another thread is about to step by half a second, which is too much.
fn stepping_clock() -> (Arc<HlcClock>, thread::JoinHandle<()>) {
    let (source, clock) = clock();
    clock.limit_step(Duration::from_millis(100));
    let stepper = thread::spawn(move || source.wall_ms.store(START_MS + 500, Ordering::SeqCst));
    (clock, stepper)
}

#[test]
fn a_reader_of_a_clock_that_steps_never_sees_what_it_shows_then() {
    check(|| {
        let (clock, stepper) = stepping_clock();
        let readings = [clock.now().ok(), clock.now().ok()];
        stepper.join().unwrap();
        assert!(readings.iter().flatten().all(|reading| reading.physical_ms() == START_MS), "{readings:?}");
        assert!(readings[0].is_some() || readings[1].is_none(), "it came back");
        assert!(clock.now().is_err() && clock.stepped() == Some(500_000));
    });
}

#[test]
fn readers_that_race_for_the_step_see_it_both() {
    check(|| {
        let (clock, stepper) = stepping_clock();
        let other = in_thread(&clock, |clock| clock.now().ok());
        let readings = [clock.now().ok(), other.join().unwrap()];
        stepper.join().unwrap();
        assert!(readings.iter().flatten().all(|reading| reading.physical_ms() == START_MS), "{readings:?}");
        assert!(clock.now().is_err() && clock.stepped() == Some(500_000));
    });
}

/// A reader that began before the limit may see the step, and must not have those after it believe it.
#[test]
fn a_step_beside_the_call_that_limits_them_is_seen() {
    check(|| {
        let (source, clock) = clock();
        let other = in_thread(&clock, |clock| clock.now().ok());
        clock.limit_step(Duration::from_millis(100));
        source.wall_ms.store(START_MS + 500, Ordering::SeqCst);
        other.join().unwrap();
        assert!(clock.now().is_err() && clock.stepped() == Some(500_000));
    });
}

#[test]
fn of_two_that_limit_steps_the_first_counts() {
    check(|| {
        let (source, clock) = clock();
        let other = in_thread(&clock, |clock| clock.limit_step(Duration::from_millis(100)));
        clock.limit_step(Duration::from_millis(100));
        source.wall_ms.store(START_MS + 500, Ordering::SeqCst);
        other.join().unwrap();
        assert!(clock.now().is_err() && clock.stepped() == Some(500_000));
    });
}
