//! The hybrid logical clock of a node.
//!
//! Guarantee: readings of one node increase strictly, across restarts too, and never run away after the wall clock
//! jumps forward.
//!
//! * Between readings, hlc-gen's generator keeps the order; it is fed from `env::Clock`, so that simulations control it.
//! * Across restarts, an upper bound is made durable before any reading passes it: `now` lags behind the wall clock
//!   rather than pass it, and fails when nothing is left below it. A restarted node starts at the bound.
//! * A wall clock that jumps ahead of the monotonic clock by more than [`JUMP_MAX`] is ignored: time goes on at the
//!   monotonic rate. Isolation never depends on the clock's accuracy, so a clock that lags is harmless.
//! * With peers it is not: a leaseholder whose clock was set back would go on serving while another one writes. So there
//!   every reading compares the wall clock with the monotonic clock, and after a step of either kind that is too large none
//!   is given any more ([`HlcClock::limit_step`]). The check is in the reading itself, because nothing else comes between a
//!   step and the next request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_env::{Bug, Clock, planted};
use hlc_gen::{HlcGenerator, source::ManualClock};
use thiserror::Error;

use crate::Timestamp;

/// A forward step of the wall clock beyond this is not believed.
pub const JUMP_MAX: Duration = Duration::from_secs(5);
/// How far ahead of the clock the durable bound is placed.
pub const BOUND_LEAD_MS: u64 = 3_000;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClockError {
    /// The durable bound was not renewed in time, and all readings below it are used up: the log's disk is stalled.
    #[error("clock is waiting for its durable bound {bound}")]
    BoundReached { bound: Timestamp },
    /// A peer's reading is further ahead than clocks may differ.
    #[error("timestamp {remote} is too far ahead of the local clock {local}")]
    TooFarAhead { remote: Timestamp, local: Timestamp },
    /// The clock is wrong, and the process must end.
    #[error("the clock of this node is not to be trusted")]
    Fenced,
}

/// See the module's documentation.
pub struct HlcClock {
    generator: HlcGenerator<ManualClock>,
    physical: Arc<dyn Clock>,
    /// Wall minus monotonic time, in microseconds, as last believed.
    offset_micros: AtomicI64,
    bound: AtomicU64,
    /// No reading passes it, whatever the bound: see [`HlcClock::freeze`].
    frozen_at: AtomicU64,
    offset_max_ms: u64,
    /// How far a reading may lag behind the physical clock for want of a durable bound.
    lag_max_ms: AtomicU64,
    /// The largest step of the wall clock that is put up with; zero for any.
    step_max_micros: AtomicI64,
    /// The monotonic time of the last reading.
    looked_at_micros: AtomicI64,
    /// The step that was too large; zero if there was none.
    stepped_micros: AtomicI64,
    is_fenced: AtomicBool,
}

impl HlcClock {
    /// A clock whose readings are above `start` (the durable bound of the previous incarnation).
    /// It gives no reading until [`HlcClock::set_bound`] was called with a durable bound.
    pub fn new(physical: Arc<dyn Clock>, start: Timestamp, offset_max: Duration) -> Self {
        let offset = physical.wall_micros() - monotonic_micros(&*physical);
        let clock = Self {
            generator: HlcGenerator::manual(0),
            physical,
            offset_micros: AtomicI64::new(offset),
            bound: AtomicU64::new(0),
            frozen_at: AtomicU64::new(u64::MAX),
            offset_max_ms: u64::try_from(offset_max.as_millis()).unwrap_or(u64::MAX),
            lag_max_ms: AtomicU64::new(i64::MAX as u64),
            step_max_micros: AtomicI64::new(0),
            looked_at_micros: AtomicI64::new(0),
            stepped_micros: AtomicI64::new(0),
            is_fenced: AtomicBool::new(false),
        };
        clock.install(start);
        clock
    }

    /// Has [`HlcClock::now`] fail rather than lag by more than `lag_max`. For a node with peers: a reader with a clock that
    /// lags further than clocks may differ would not see what others have acknowledged.
    pub fn limit_lag(&self, lag_max: Duration) {
        let lag_max = i64::try_from(lag_max.as_millis()).unwrap_or(i64::MAX);
        self.lag_max_ms.store(lag_max.unsigned_abs(), Ordering::Relaxed);
    }

    /// Has the clock give no more readings once the wall clock has moved by more than `step_max` against the monotonic
    /// clock between two looks at them. For a node with peers. What was believed before no longer counts.
    pub fn limit_step(&self, step_max: Duration) {
        let step_max = i64::try_from(step_max.as_micros()).unwrap_or(i64::MAX).max(1);
        let (monotonic, offset) = self.sample();
        self.offset_micros.store(offset, Ordering::Relaxed);
        self.looked_at_micros.store(monotonic, Ordering::Relaxed);
        self.step_max_micros.store(step_max, Ordering::SeqCst);
    }

    pub fn limits_steps(&self) -> bool {
        self.step_max_micros.load(Ordering::Relaxed) > 0
    }

    /// Gives no reading any more.
    pub fn fence(&self) {
        self.is_fenced.store(true, Ordering::SeqCst);
    }

    /// By how many microseconds the wall clock has stepped, if that was too much.
    pub fn stepped(&self) -> Option<i64> {
        Some(self.stepped_micros.load(Ordering::SeqCst)).filter(|step| *step != 0)
    }

    /// A strictly increasing reading.
    pub fn now(&self) -> Result<Timestamp, ClockError> {
        // Should the bound not be renewed in time (a stalled disk), the clock lags, in logical steps below the bound.
        let latest = self.bound().to_unix_ms() - 1;
        let physical = self.physical_unix_ms();
        if self.is_fenced.load(Ordering::SeqCst) {
            return Err(ClockError::Fenced);
        }
        if physical.saturating_sub(latest) > self.lag_max_ms.load(Ordering::Relaxed) as i64 {
            return Err(ClockError::BoundReached { bound: self.bound() });
        }
        self.generator.set_current_timestamp(physical.min(latest));
        let reading = loop {
            match self.generator.next_timestamp() {
                Some(reading) => break Timestamp(reading.as_u64()),
                // The counter of this millisecond is used up: carry into the next one.
                None => self.install(Timestamp(self.generator.timestamp().as_u64()).next()),
            }
        };
        self.check_bound(reading)?;
        Ok(reading)
    }

    /// Moves the clock past a reading received from elsewhere.
    pub fn update(&self, remote: Timestamp) -> Result<(), ClockError> {
        let local = Timestamp::from_unix_ms(self.physical_unix_ms());
        if remote.physical_ms() > local.physical_ms().saturating_add(self.offset_max_ms) {
            let highest = Timestamp(self.generator.timestamp().as_u64());
            if remote > highest {
                return Err(ClockError::TooFarAhead { remote, local });
            }
        }
        self.check_bound(remote)?;
        self.install(remote);
        Ok(())
    }

    /// A timestamp that no reading given so far exceeds. What a message to another node carries, so that whatever it
    /// tells lies in the receiver's past.
    pub fn latest(&self) -> Timestamp {
        Timestamp(self.generator.timestamp().as_u64())
    }

    /// How far readings are ahead of the wall clock.
    pub fn lead(&self) -> Duration {
        let physical = Timestamp::from_unix_ms(self.physical_unix_ms());
        Duration::from_millis(self.latest().physical_ms().saturating_sub(physical.physical_ms()))
    }

    /// A timestamp that no reading given out so far exceeds, and that the durable bound covers. Readings that were refused
    /// do not count.
    pub fn given_out(&self) -> Timestamp {
        self.latest().min(self.bound()).min(Timestamp(self.frozen_at.load(Ordering::SeqCst)))
    }

    /// The bound to make durable next: [`BOUND_LEAD_MS`] ahead of the clock.
    pub fn next_bound(&self) -> Timestamp {
        let physical = Timestamp::from_unix_ms(self.physical_unix_ms());
        physical.max(Timestamp(self.generator.timestamp().as_u64())).add_ms(BOUND_LEAD_MS)
    }

    /// Permits readings up to `bound`, which the caller has made durable.
    pub fn set_bound(&self, bound: Timestamp) {
        self.bound.fetch_max(bound.0, Ordering::SeqCst);
    }

    /// Stops the clock for ever and returns a timestamp that no reading, given or to come, exceeds: the exact bound
    /// that a clean stop may record.
    pub fn freeze(&self) -> Timestamp {
        let reading = self.generator.timestamp().as_u64();
        let frozen_at = self.frozen_at.fetch_min(reading, Ordering::SeqCst).min(reading);
        // Readings that were checked before the store were also made before it.
        Timestamp(frozen_at.max(self.generator.timestamp().as_u64()))
    }

    /// The durable bound in force.
    pub fn bound(&self) -> Timestamp {
        Timestamp(self.bound.load(Ordering::SeqCst))
    }

    fn check_bound(&self, reading: Timestamp) -> Result<(), ClockError> {
        let bound = self.bound().min(Timestamp(self.frozen_at.load(Ordering::SeqCst)));
        if reading > bound { Err(ClockError::BoundReached { bound }) } else { Ok(()) }
    }

    fn install(&self, at_least: Timestamp) {
        if let Ok(at_least) = hlc_gen::HlcTimestamp::try_from(at_least.0) {
            // Drift is checked by `update`; the generator's own check is off (maximum 0).
            let _ = self.generator.update(&at_least);
        }
    }

    fn physical_unix_ms(&self) -> i64 {
        let step_max = self.step_max_micros.load(Ordering::Relaxed);
        if step_max > 0 {
            return self.checked_unix_ms(step_max);
        }
        let monotonic = monotonic_micros(&*self.physical);
        let offset = self.physical.wall_micros() - monotonic;
        let believed = self.offset_micros.load(Ordering::Relaxed);
        let jump_max = i64::try_from(JUMP_MAX.as_micros()).expect("a constant that fits");
        if offset - believed > jump_max {
            return (monotonic + believed) / 1_000;
        }
        self.offset_micros.store(offset, Ordering::Relaxed);
        (monotonic + offset) / 1_000
    }
}

/// Both clocks are read within so much, or it is done again.
const SAMPLE_MICROS_MAX: i64 = 5_000;
const SAMPLES_MAX: u32 = 16;
/// A monotonic clock runs at a rate that is right up to this part; much less in machines that are not broken.
const RATE_SHARE: i64 = 64;

impl HlcClock {
    /// The monotonic clock, and how far the wall clock is ahead of it. A thread that is stopped between two readings sees
    /// a step where none is, so the two must be close together.
    fn sample(&self) -> (i64, i64) {
        let mut before = monotonic_micros(&*self.physical);
        for _ in 0..SAMPLES_MAX {
            let wall = self.physical.wall_micros();
            let after = monotonic_micros(&*self.physical);
            if after - before <= SAMPLE_MICROS_MAX {
                return (before, wall - before);
            }
            before = after;
        }
        // Nothing is known, so nothing has changed.
        (before, self.offset_micros.load(Ordering::Relaxed))
    }

    fn checked_unix_ms(&self, step_max: i64) -> i64 {
        let (monotonic, offset) = self.sample();
        let believed = self.offset_micros.load(Ordering::Relaxed);
        let passed = (monotonic - self.looked_at_micros.load(Ordering::Relaxed)).max(0);
        let step = offset - believed;
        if step.abs() > step_max + passed / RATE_SHARE && !planted(Bug::IgnoreClockStep) {
            self.stepped_micros.store(step, Ordering::SeqCst);
            self.fence();
            return (monotonic + believed) / 1_000;
        }
        self.offset_micros.store(offset, Ordering::Relaxed);
        self.looked_at_micros.store(monotonic, Ordering::Relaxed);
        (monotonic + offset) / 1_000
    }
}

fn monotonic_micros(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::EPOCH_UNIX_MS;

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
}
