//! What the clock keeps between threads: the standard library's atomics and hlc-gen's generator; or, with the feature `model`,
//! loom's atomics and a generator over them, so that all interleavings and all that memory orders allow can be tried.

#[cfg(not(feature = "model"))]
mod real {
    pub use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    };

    use hlc_gen::{HlcGenerator, HlcTimestamp, source::ManualClock};

    use crate::{Timestamp, timestamp::LOGICAL_MAX};

    /// Readings that increase strictly, over all threads.
    pub struct Generator(HlcGenerator<ManualClock>);

    impl Generator {
        pub fn new() -> Self {
            Self(HlcGenerator::manual(0))
        }

        /// Sets the time of day that it starts from, unless it is ahead of it.
        pub fn set_unix_ms(&self, unix_ms: i64) {
            self.0.set_current_timestamp(unix_ms);
        }

        /// The next reading; `None` when the counter of its millisecond is used up.
        pub fn next(&self) -> Option<Timestamp> {
            self.0.next_timestamp().map(|reading| Timestamp(reading.as_u64()))
        }

        /// No reading given so far exceeds it.
        pub fn latest(&self) -> Timestamp {
            Timestamp(self.0.timestamp().as_u64())
        }

        /// All readings from now on are greater than `timestamp`.
        pub fn pass(&self, timestamp: Timestamp) {
            // The generator refuses to pass the last of a millisecond.
            let at_least = if timestamp.logical() == LOGICAL_MAX { timestamp.next() } else { timestamp };
            if let Ok(at_least) = HlcTimestamp::try_from(at_least.0) {
                // Drift is checked by the clock; the generator's own check is off (maximum 0). Another error says that its
                // counter is used up where it is, which is further than this.
                let _ = self.0.update(&at_least);
            }
        }
    }
}

#[cfg(feature = "model")]
mod modelled {
    pub use loom::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    };

    use crate::Timestamp;

    /// hlc-gen 2's generator, in its memory orders. Its counter does not run out here.
    pub struct Generator {
        state: AtomicU64,
        unix_ms: AtomicI64,
    }

    impl Generator {
        pub fn new() -> Self {
            Self { state: AtomicU64::new(0), unix_ms: AtomicI64::new(0) }
        }

        pub fn set_unix_ms(&self, unix_ms: i64) {
            self.unix_ms.store(unix_ms, Ordering::SeqCst);
        }

        pub fn next(&self) -> Option<Timestamp> {
            let now = Timestamp::from_unix_ms(self.unix_ms.load(Ordering::SeqCst)).0;
            Some(self.change(|state| if now > state { now } else { state + 1 }))
        }

        pub fn latest(&self) -> Timestamp {
            Timestamp(self.state.load(Ordering::Acquire))
        }

        pub fn pass(&self, timestamp: Timestamp) {
            self.change(|state| state.max(timestamp.0) + 1);
        }

        fn change(&self, next: impl Fn(u64) -> u64) -> Timestamp {
            loop {
                let (state, orders) =
                    (self.state.load(Ordering::Acquire), (Ordering::AcqRel, Ordering::Acquire));
                let changed = next(state);
                if self.state.compare_exchange(state, changed, orders.0, orders.1).is_ok() {
                    return Timestamp(changed);
                }
            }
        }
    }
}

#[cfg(feature = "model")]
pub use modelled::{AtomicBool, AtomicI64, AtomicU64, Generator, Mutex, Ordering};
#[cfg(not(feature = "model"))]
pub use real::{AtomicBool, AtomicI64, AtomicU64, Generator, Mutex, Ordering};
