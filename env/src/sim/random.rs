//! Random numbers from a seed.

use parking_lot::Mutex;

use crate::Rng;

/// The same seed gives the same numbers.
pub struct SimRng {
    source: Mutex<fastrand::Rng>,
}

impl SimRng {
    pub fn new(seed: u64) -> Self {
        Self { source: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&self, bound: usize) -> usize {
        self.source.lock().usize(..bound)
    }

    /// True with probability one half.
    pub fn coin(&self) -> bool {
        self.source.lock().bool()
    }
}

impl Rng for SimRng {
    fn next_u64(&self) -> u64 {
        self.source.lock().u64(..)
    }

    fn fill_secret(&self, buffer: &mut [u8]) {
        self.source.lock().fill(buffer);
    }
}
