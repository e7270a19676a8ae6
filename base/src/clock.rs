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
//!
//! Threads take readings without a lock. `model` tries their interleavings.

mod atomics;

use std::{sync::Arc, time::Duration};

use basalt_env::{Bug, Clock, planted};
use thiserror::Error;

use self::atomics::{AtomicBool, AtomicI64, AtomicU64, Generator, Mutex, Ordering};
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
    generator: Generator,
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
    limiting: Mutex<()>,
    /// The offset that was seen by the last reading under that limit, and its monotonic time. Readings without it, which may
    /// be under way still when it is set, have another one: theirs has seen any step.
    checked_offset_micros: AtomicI64,
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
            generator: Generator::new(),
            physical,
            offset_micros: AtomicI64::new(offset),
            bound: AtomicU64::new(0),
            frozen_at: AtomicU64::new(u64::MAX),
            offset_max_ms: u64::try_from(offset_max.as_millis()).unwrap_or(u64::MAX),
            lag_max_ms: AtomicU64::new(i64::MAX as u64),
            step_max_micros: AtomicI64::new(0),
            limiting: Mutex::new(()),
            checked_offset_micros: AtomicI64::new(offset),
            looked_at_micros: AtomicI64::new(0),
            stepped_micros: AtomicI64::new(0),
            is_fenced: AtomicBool::new(false),
        };
        clock.generator.pass(start);
        clock
    }

    /// Has [`HlcClock::now`] fail rather than lag by more than `lag_max`. For a node with peers: a reader with a clock that
    /// lags further than clocks may differ would not see what others have acknowledged.
    pub fn limit_lag(&self, lag_max: Duration) {
        let lag_max = i64::try_from(lag_max.as_millis()).unwrap_or(i64::MAX);
        self.lag_max_ms.store(lag_max.unsigned_abs(), Ordering::Relaxed);
    }

    /// Has the clock give no more readings once the wall clock has moved by more than `step_max` against the monotonic
    /// clock between two looks at them. For a node with peers. What was believed before no longer counts. The limit is for
    /// ever: later calls do nothing.
    pub fn limit_step(&self, step_max: Duration) {
        let _limiting = self.limiting.lock();
        if self.step_max_micros.load(Ordering::Relaxed) > 0 {
            return;
        }
        let step_max = i64::try_from(step_max.as_micros()).unwrap_or(i64::MAX).max(1);
        let (monotonic, offset) = self.sample(&self.offset_micros);
        self.checked_offset_micros.store(offset, Ordering::Relaxed);
        self.looked_at_micros.store(monotonic, Ordering::Relaxed);
        self.step_max_micros.store(step_max, Ordering::SeqCst);
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
        self.generator.set_unix_ms(physical.min(latest));
        let reading = loop {
            match self.generator.next() {
                Some(reading) => break reading,
                // The counter of this millisecond is used up: carry into the next one.
                None => self.generator.pass(self.latest().next()),
            }
        };
        self.check_bound(reading)?;
        Ok(reading)
    }

    /// Moves the clock past a reading received from elsewhere.
    pub fn update(&self, remote: Timestamp) -> Result<(), ClockError> {
        let local = Timestamp::from_unix_ms(self.physical_unix_ms());
        if remote.physical_ms() > local.physical_ms().saturating_add(self.offset_max_ms) {
            let highest = self.latest();
            if remote > highest {
                return Err(ClockError::TooFarAhead { remote, local });
            }
        }
        self.check_bound(remote)?;
        self.generator.pass(remote);
        Ok(())
    }

    /// A timestamp that no reading given so far exceeds. What a message to another node carries, so that whatever it
    /// tells lies in the receiver's past.
    pub fn latest(&self) -> Timestamp {
        self.generator.latest()
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
        physical.max(self.latest()).add_ms(BOUND_LEAD_MS)
    }

    /// Permits readings up to `bound`, which the caller has made durable.
    pub fn set_bound(&self, bound: Timestamp) {
        self.bound.fetch_max(bound.0, Ordering::SeqCst);
    }

    /// Stops the clock for ever and returns a timestamp that no reading, given or to come, exceeds: the exact bound
    /// that a clean stop may record.
    pub fn freeze(&self) -> Timestamp {
        let reading = self.latest().0;
        let frozen_at = Timestamp(self.frozen_at.fetch_min(reading, Ordering::SeqCst).min(reading));
        // Another thread takes a reading and then looks whether it is frozen; we say that it is, and then look for its reading.
        // A load might miss it although the other one misses our store. What changes the generator cannot: of two changes one
        // comes first, and the other one sees it and what was done before it.
        frozen_at.max(self.generator.next().unwrap_or_else(|| self.latest()))
    }

    /// The durable bound in force.
    pub fn bound(&self) -> Timestamp {
        Timestamp(self.bound.load(Ordering::SeqCst))
    }

    fn check_bound(&self, reading: Timestamp) -> Result<(), ClockError> {
        let bound = self.bound().min(Timestamp(self.frozen_at.load(Ordering::SeqCst)));
        if reading > bound { Err(ClockError::BoundReached { bound }) } else { Ok(()) }
    }

    fn physical_unix_ms(&self) -> i64 {
        let step_max = self.step_max_micros.load(Ordering::Acquire);
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
    /// a step where none is, so the two must be close together; if they never are, the offset is what was `believed`.
    fn sample(&self, believed: &AtomicI64) -> (i64, i64) {
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
        (before, believed.load(Ordering::Relaxed))
    }

    fn checked_unix_ms(&self, step_max: i64) -> i64 {
        let (monotonic, offset) = self.sample(&self.checked_offset_micros);
        let believed = self.checked_offset_micros.load(Ordering::Relaxed);
        let passed = (monotonic - self.looked_at_micros.load(Ordering::Relaxed)).max(0);
        let step = offset - believed;
        if step.abs() > step_max + passed / RATE_SHARE && !planted(Bug::IgnoreClockStep) {
            self.stepped_micros.store(step, Ordering::SeqCst);
            self.fence();
            return (monotonic + believed) / 1_000;
        }
        self.checked_offset_micros.store(offset, Ordering::Relaxed);
        self.looked_at_micros.store(monotonic, Ordering::Relaxed);
        (monotonic + offset) / 1_000
    }
}

fn monotonic_micros(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(all(test, not(feature = "model")))]
mod tests;
