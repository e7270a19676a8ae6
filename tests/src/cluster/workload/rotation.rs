//! Keys that are used for a while: a history of one key that is too long takes too long to check.

use std::sync::atomic::{AtomicU64, Ordering};

use super::SLOT;

pub struct Rotation {
    slots: u64,
    uses_max: u64,
    uses: AtomicU64,
}

impl Rotation {
    pub const fn new(slots: u64, uses_max: u64) -> Self {
        Self { slots, uses_max, uses: AtomicU64::new(0) }
    }

    /// One of the keys of this time.
    pub fn key(&self) -> u64 {
        let generation = self.uses.fetch_add(1, Ordering::Relaxed) / (self.slots * self.uses_max);
        generation * self.slots + fastrand::u64(0..self.slots)
    }

    /// All that may have been used.
    pub fn keys(&self) -> std::ops::Range<u64> {
        0..(self.uses.load(Ordering::Relaxed) / (self.slots * self.uses_max) + 1) * self.slots
    }

    /// Keys that follow each other lie in different slots. `room` rows for each.
    pub fn row(&self, key: u64, room: u64) -> u64 {
        key % self.slots * SLOT + key / self.slots * room
    }
}
