//! Iterators of the memory engine: a position and a batch number, no lock held between two steps.

use std::ops::Bound;
use std::sync::{Arc, atomic::Ordering};

use basalt_base::Key;
use bytes::Bytes;

use super::{Pin, count, state::Found};
use crate::{EngineIterator, Family, IterOptions, Result};

pub(super) struct MemoryIter {
    pin: Arc<Pin>,
    family: Family,
    lower: Option<Key>,
    upper: Option<Key>,
    skips_max: u64,
    current: Option<(Key, Bytes)>,
    gave_up: bool,
}

impl MemoryIter {
    pub fn new(pin: Arc<Pin>, family: Family, options: IterOptions) -> Self {
        let skips_max = options.skips_max.unwrap_or(u64::MAX);
        let (lower, upper) = (options.lower, options.upper);
        Self { pin, family, lower, upper, skips_max, current: None, gave_up: false }
    }

    fn forward(&mut self, from: Bound<&[u8]>) -> Result<()> {
        // A position below the lower bound means the lower bound.
        let from = match (from, &self.lower) {
            (Bound::Included(key) | Bound::Excluded(key), Some(lower)) if key < &lower[..] => {
                Bound::Included(&lower[..])
            }
            (Bound::Unbounded, Some(lower)) => Bound::Included(&lower[..]),
            _ => from,
        };
        let state = self.pin.shared.state.read();
        let found = state.first_from(self.family, from, self.upper.as_deref(), self.pin.seq, self.skips_max);
        drop(state);
        self.stand_on(found)
    }

    fn stand_on(&mut self, found: Found) -> Result<()> {
        self.pin.shared.counts.skips.fetch_add(found.skipped, Ordering::Relaxed);
        self.current = found.entry;
        self.gave_up = found.gave_up;
        let Some((key, _)) = &self.current else { return Ok(()) };
        let checked = self.pin.shared.check(self.family, key);
        if checked.is_err() {
            self.current = None;
        }
        checked
    }

    fn backward(&mut self, from: Bound<&[u8]>) -> Result<()> {
        let from = match (from, &self.upper) {
            (Bound::Included(key) | Bound::Excluded(key), Some(upper)) if key >= &upper[..] => {
                Bound::Excluded(&upper[..])
            }
            (Bound::Unbounded, Some(upper)) => Bound::Excluded(&upper[..]),
            _ => from,
        };
        let state = self.pin.shared.state.read();
        let found = state.last_from(self.family, from, self.lower.as_deref(), self.pin.seq, self.skips_max);
        drop(state);
        self.stand_on(found)
    }
}

impl EngineIterator for MemoryIter {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        count(&self.pin.shared.counts.seeks);
        self.forward(Bound::Included(key))
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        count(&self.pin.shared.counts.seeks);
        self.backward(Bound::Included(key))
    }

    fn seek_to_first(&mut self) -> Result<()> {
        count(&self.pin.shared.counts.seeks);
        self.forward(Bound::Unbounded)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        count(&self.pin.shared.counts.seeks);
        self.backward(Bound::Unbounded)
    }

    fn next(&mut self) -> Result<()> {
        count(&self.pin.shared.counts.steps);
        let (key, _) = self.current.take().expect("next is called only while valid");
        self.forward(Bound::Excluded(&key))
    }

    fn prev(&mut self) -> Result<()> {
        count(&self.pin.shared.counts.steps);
        let (key, _) = self.current.take().expect("prev is called only while valid");
        self.backward(Bound::Excluded(&key))
    }

    fn valid(&self) -> bool {
        self.current.is_some()
    }

    fn gave_up(&self) -> bool {
        self.gave_up
    }

    fn key(&self) -> &[u8] {
        &self.current.as_ref().expect("key is read only while valid").0
    }

    fn value(&self) -> &[u8] {
        &self.current.as_ref().expect("value is read only while valid").1
    }
}
