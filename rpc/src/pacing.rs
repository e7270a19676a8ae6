//! How fast: the throttle of snapshots, and the pauses between attempts to connect.

use std::time::Duration;

use basalt_env::Rng;
use parking_lot::Mutex;

use crate::options::PIECE_BYTES;

/// Less would make a connection look dead between two pieces.
const RATE_MIN: u64 = 1 << 20;
/// Unused time that may be made up for.
const BURST: Duration = Duration::from_millis(20);

/// A bucket of tokens, kept as the time at which it will have been empty: each taker moves it, and waits for what it was.
pub(crate) struct Throttle {
    nanos_per_piece: u64,
    free_at: Mutex<Duration>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let rate = bytes_per_second.max(RATE_MIN);
        Self {
            nanos_per_piece: (PIECE_BYTES as u64).saturating_mul(1_000_000_000) / rate,
            free_at: Mutex::default(),
        }
    }

    /// Takes part of the rate; returns how long to wait before `bytes` may go.
    pub(crate) fn reserve(&self, now: Duration, bytes: usize) -> Duration {
        let takes = u128::from(self.nanos_per_piece) * bytes as u128 / PIECE_BYTES as u128;
        let takes = Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        let mut free_at = self.free_at.lock();
        let from = (*free_at).max(now.saturating_sub(BURST));
        *free_at = from.saturating_add(takes);
        from.saturating_sub(now)
    }
}

/// Pauses that double, up to a limit, each cut by a random part so that nodes do not move in step.
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    pub(crate) fn pause(&mut self, rng: &dyn Rng) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2).min(self.max);
        let half = u64::try_from(whole.as_nanos() / 2).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(half + rng.next_u64() % (half + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_throttle_keeps_its_rate() {
        let throttle = Throttle::new(10 << 20);
        let mut now = Duration::from_secs(5);
        let start = now;
        for _ in 0..400 {
            now += throttle.reserve(now, PIECE_BYTES);
        }
        // 100 MiB at 10 MiB/s, less the burst.
        let took = (now - start).as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");
        // Idle time does not add up.
        now += Duration::from_secs(100);
        let waits: Duration = (0..40).map(|_| throttle.reserve(now, PIECE_BYTES)).max().unwrap();
        assert!(waits > Duration::from_millis(900), "{waits:?}");
    }

    #[test]
    fn pauses_double_and_stay_bounded() {
        let rng = basalt_env::os::OsRng::default();
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut backoff = Backoff::new(min, max);
        for whole in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let pause = backoff.pause(&rng);
            let whole = Duration::from_millis(whole);
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.pause(&rng) <= min);
    }
}
