//! How far the clocks of peers are from this node's.
//!
//! A peer reads its clock somewhere between ping and pong: half the round trip is the error. So the sample with the
//! shortest round trip of the last few counts.

use std::{collections::VecDeque, time::Duration};

/// Samples remembered of each peer.
pub const SAMPLES_MAX: usize = 8;

/// The clock of a peer, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Its wall clock minus ours.
    pub micros: i64,
    /// The truth is within so much of it.
    pub uncertainty_micros: u64,
}

impl ClockOffset {
    /// Whether the clocks are further apart than `limit`, whatever the error of the measurement.
    pub fn exceeds(&self, limit: Duration) -> bool {
        let least = self.micros.unsigned_abs().saturating_sub(self.uncertainty_micros);
        u128::from(least) > limit.as_micros()
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    taken_at: Duration,
    round_trip: Duration,
    micros: i64,
}

/// The last measurements of one peer.
#[derive(Debug, Default)]
pub struct OffsetSamples {
    samples: VecDeque<Sample>,
}

impl OffsetSamples {
    /// `taken_at` is of the monotonic clock; the local wall clock was read then, too.
    pub fn add(&mut self, taken_at: Duration, round_trip: Duration, local_micros: i64, remote_micros: i64) {
        let half = i64::try_from(round_trip.as_micros() / 2).unwrap_or(i64::MAX);
        let micros = remote_micros.saturating_add(half).saturating_sub(local_micros);
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { taken_at, round_trip, micros });
    }

    /// The best of the samples that are not older than `age_max`.
    pub fn best(&self, now: Duration, age_max: Duration) -> Option<ClockOffset> {
        let fresh = self.samples.iter().filter(|sample| now.saturating_sub(sample.taken_at) <= age_max);
        let best = fresh.min_by_key(|sample| sample.round_trip)?;
        let uncertainty = best.round_trip.as_micros().div_ceil(2);
        Some(ClockOffset {
            micros: best.micros,
            uncertainty_micros: u64::try_from(uncertainty).unwrap_or(u64::MAX),
        })
    }

    /// The clock is another one.
    pub fn clear(&mut self) {
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_shortest_round_trip_of_the_last_few_counts() {
        let mut samples = OffsetSamples::default();
        assert_eq!(samples.best(MS, MS), None);
        samples.add(1_000 * MS, 100 * MS, 5_000_000, 5_080_000);
        samples.add(1_500 * MS, 2 * MS, 5_500_000, 5_549_000);
        samples.add(2_000 * MS, 40 * MS, 6_000_000, 6_000_000);
        let best = samples.best(2_000 * MS, 4_000 * MS);
        assert_eq!(best, Some(ClockOffset { micros: 50_000, uncertainty_micros: 1_000 }));
        assert_eq!(samples.best(9_000 * MS, 4_000 * MS), None, "old samples say nothing");
        for _ in 0..SAMPLES_MAX {
            samples.add(2_500 * MS, 10 * MS, 6_000_000, i64::MIN);
        }
        assert_eq!(samples.best(2_500 * MS, 4_000 * MS).unwrap().micros, i64::MIN, "no overflow");
    }

    #[test]
    fn a_limit_is_exceeded_only_beyond_the_error() {
        let offset = ClockOffset { micros: -205_000, uncertainty_micros: 10_000 };
        assert!(!offset.exceeds(200 * MS));
        assert!(offset.exceeds(190 * MS));
        assert!(ClockOffset { micros: i64::MIN, uncertainty_micros: 0 }.exceeds(200 * MS));
    }
}
