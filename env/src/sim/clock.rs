//! The clocks of simulated nodes.
//!
//! Timers run in true virtual time; what a node reads may differ from it. Its wall clock is off, drifts and jumps.
//! Its monotonic clock may run a little fast or slow, as crystals do, but never jumps: code that measures durations with
//! it must allow for a rate and for nothing else.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{Clock, sim::SimExecutor};

/// The wall clock begins in 2025.
const WALL_ORIGIN_MICROS: i64 = 1_735_689_600_000_000;
const MILLION: i128 = 1_000_000;
/// The monotonic clock of a machine that is not broken is no further off than this.
const MONOTONIC_DRIFT_PPM_MAX: i64 = 10_000;

/// Both clocks show true virtual time but for the steps of [`SimExecutor::jump_wall`].
pub(super) struct SharedClock(pub(super) SimExecutor);

impl Clock for SharedClock {
    fn wall_micros(&self) -> i64 {
        let (now, steps) = self.0.shared_time();
        WALL_ORIGIN_MICROS + steps + micros(now)
    }

    fn monotonic(&self) -> Duration {
        self.0.now()
    }
}

/// A reading that runs at a rate of its own since an instant.
#[derive(Clone, Copy, Default)]
struct Rate {
    since: Duration,
    /// In nanoseconds, at `since`.
    reading: i128,
    drift_ppm: i64,
}

impl Rate {
    fn at(&self, now: Duration) -> i128 {
        let passed = nanos(now) - nanos(self.since);
        self.reading + passed * (MILLION + i128::from(self.drift_ppm)) / MILLION
    }

    fn set_drift(&mut self, now: Duration, drift_ppm: i64) {
        *self = Self { since: now, reading: self.at(now), drift_ppm };
    }
}

#[derive(Default)]
struct Rates {
    wall: Rate,
    monotonic: Rate,
}

/// The clock of one node, which outlives its incarnations. Cloned handles share it.
#[derive(Clone)]
pub struct SimNodeClock {
    executor: SimExecutor,
    rates: Arc<Mutex<Rates>>,
}

impl SimNodeClock {
    /// A clock that shows true virtual time.
    pub fn new(executor: &SimExecutor) -> Self {
        Self { executor: executor.clone(), rates: Arc::default() }
    }

    /// Sets the wall clock to true time plus `micros`, from where it drifts on.
    pub fn set_offset(&self, micros: i64) {
        let now = self.executor.now();
        let wall = &mut self.rates.lock().wall;
        wall.reading = nanos(now) + i128::from(micros) * 1000;
        wall.since = now;
    }

    /// Steps the wall clock.
    pub fn jump(&self, micros: i64) {
        self.rates.lock().wall.reading += i128::from(micros) * 1000;
    }

    /// Lets the wall clock gain (or lose) so many microseconds a second.
    pub fn set_drift_ppm(&self, drift_ppm: i64) {
        let now = self.executor.now();
        self.rates.lock().wall.set_drift(now, drift_ppm.max(-1_000_000));
    }

    /// Lets the monotonic clock gain (or lose) so many microseconds a second, of at most a hundredth of a second.
    pub fn set_monotonic_drift_ppm(&self, drift_ppm: i64) {
        let now = self.executor.now();
        let drift_ppm = drift_ppm.clamp(-MONOTONIC_DRIFT_PPM_MAX, MONOTONIC_DRIFT_PPM_MAX);
        self.rates.lock().monotonic.set_drift(now, drift_ppm);
    }

    /// Wall time minus true time, in microseconds: a run reads it to know by how much the clocks disagreed.
    pub fn offset_micros(&self) -> i64 {
        let now = self.executor.now();
        saturate((self.rates.lock().wall.at(now) - nanos(now)).div_euclid(1000))
    }
}

impl Clock for SimNodeClock {
    fn wall_micros(&self) -> i64 {
        let now = self.executor.now();
        WALL_ORIGIN_MICROS.saturating_add(saturate(self.rates.lock().wall.at(now).div_euclid(1000)))
    }

    fn monotonic(&self) -> Duration {
        let now = self.executor.now();
        Duration::from_nanos(u64::try_from(self.rates.lock().monotonic.at(now)).unwrap_or(0))
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 2)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN / 4 } else { i64::MAX / 4 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    const SECOND: i64 = 1_000_000;

    fn pass(executor: &SimExecutor, seconds: u64) {
        executor.run(executor.sleep(Duration::from_secs(seconds)));
    }

    #[test]
    fn each_node_reads_its_own_wall_clock() {
        let executor = SimExecutor::new(1);
        let clocks = [SimNodeClock::new(&executor), SimNodeClock::new(&executor)];
        let [one, two] = [1, 2].map(|node| {
            executor.env_with(node, SimDisk::new(), &clocks[usize::try_from(node).unwrap() - 1]).clock
        });
        let shared = executor.env(3, SimDisk::new()).clock;
        clocks[0].set_offset(-3 * SECOND);
        clocks[1].jump(SECOND);
        assert_eq!(two.wall_micros() - one.wall_micros(), 4 * SECOND);
        assert_eq!(two.wall_micros() - shared.wall_micros(), SECOND);
        executor.jump_wall(10 * SECOND);
        assert_eq!(shared.wall_micros() - two.wall_micros(), 9 * SECOND);
        pass(&executor, 10);
        assert_eq!(two.wall_micros() - one.wall_micros(), 4 * SECOND);
        assert_eq!(one.monotonic(), Duration::from_secs(10));
        clocks[0].jump(-20 * SECOND);
        assert_eq!(one.monotonic(), Duration::from_secs(10), "the monotonic clock never jumps");
        assert_eq!(clocks[0].offset_micros(), -23 * SECOND);
    }

    #[test]
    fn a_drift_changes_the_rate_and_not_the_reading() {
        let executor = SimExecutor::new(1);
        let clock = SimNodeClock::new(&executor);
        clock.set_drift_ppm(100);
        pass(&executor, 100);
        assert_eq!(clock.offset_micros(), 10_000);
        clock.set_drift_ppm(-50);
        assert_eq!(clock.offset_micros(), 10_000);
        pass(&executor, 100);
        assert_eq!(clock.offset_micros(), 5000);
        clock.set_offset(7);
        pass(&executor, 100);
        assert_eq!(clock.offset_micros(), 7 - 5000);
        assert_eq!(clock.monotonic(), Duration::from_secs(300));
    }

    #[test]
    fn the_monotonic_clock_runs_fast_or_slow_and_never_back() {
        let executor = SimExecutor::new(1);
        let clock = SimNodeClock::new(&executor);
        clock.set_monotonic_drift_ppm(200);
        pass(&executor, 10);
        assert_eq!(clock.monotonic(), Duration::from_micros(10_002_000));
        clock.set_monotonic_drift_ppm(i64::MIN);
        assert_eq!(clock.monotonic(), Duration::from_micros(10_002_000));
        pass(&executor, 10);
        assert_eq!(clock.monotonic(), Duration::from_micros(10_002_000 + 9_900_000));
        assert_eq!(clock.offset_micros(), 0);
    }

    #[test]
    fn timers_keep_true_time() {
        let executor = SimExecutor::new(1);
        let clock = SimNodeClock::new(&executor);
        clock.set_drift_ppm(-500_000);
        let env = executor.env_with(1, SimDisk::new(), &clock);
        executor.run(env.spawner.sleep(Duration::from_secs(10)));
        assert_eq!(executor.now(), Duration::from_secs(10));
        assert_eq!(clock.offset_micros(), -5 * SECOND);
    }
}
