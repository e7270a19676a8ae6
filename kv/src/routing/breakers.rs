//! Ranges that nobody serves: who asks next learns it soon.
//!
//! A request is patient, because an election and a lease that runs out take seconds. But a statement is many requests, and a
//! client sends many statements: without a majority each of them would wait for as long as the first. So a range that has
//! worn out somebody's patience gets little of it from then on, until it answers; each request still tries, so that a range
//! which comes back is found at once.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use basalt_base::RangeId;
use parking_lot::Mutex;

/// The patience that a range gets which has not answered before.
const PATIENCE_LEFT: Duration = Duration::from_millis(500);

/// The ranges that have worn out somebody's patience, and have not answered since.
#[derive(Default)]
pub struct Breakers {
    /// Whether there are any: every answer asks.
    any: AtomicBool,
    tripped: Mutex<BTreeSet<RangeId>>,
}

impl Breakers {
    /// How long a request looks for somebody who serves the range.
    pub fn patience(&self, range_id: RangeId, full: Duration) -> Duration {
        let tripped = self.any.load(Ordering::Relaxed) && self.tripped.lock().contains(&range_id);
        if tripped { full.min(PATIENCE_LEFT) } else { full }
    }

    /// Nobody served the range for as long as a request is patient.
    pub fn trip(&self, range_id: RangeId) {
        let mut tripped = self.tripped.lock();
        if tripped.insert(range_id) {
            tracing::warn!(range = %range_id, "nobody serves the range");
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// The range has answered.
    pub fn close(&self, range_id: RangeId) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut tripped = self.tripped.lock();
        if tripped.remove(&range_id) {
            tracing::info!(range = %range_id, "the range is served again");
        }
        self.any.store(!tripped.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_does_not_answer_is_given_little_time_until_it_does() {
        let (full, breakers) = (Duration::from_secs(10), Breakers::default());
        assert_eq!(breakers.patience(RangeId(1), full), full);
        breakers.trip(RangeId(1));
        assert_eq!(breakers.patience(RangeId(1), full), PATIENCE_LEFT);
        assert_eq!(breakers.patience(RangeId(2), full), full);
        breakers.trip(RangeId(2));
        breakers.close(RangeId(1));
        assert_eq!(breakers.patience(RangeId(1), full), full);
        assert_eq!(breakers.patience(RangeId(2), full), PATIENCE_LEFT);
    }
}
