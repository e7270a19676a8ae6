//! The timestamp cache: at which timestamp each key was read last.
//!
//! Every write must land above every read of its key by another transaction. Reads are recorded before their latches
//! go, and writes forward themselves over what is recorded here after they hold theirs.
//!
//! Memory is bounded by two generations: when the current one is full, the older one is forgotten and the low-water
//! mark rises to the highest timestamp that it held. Forgetting only ever moves writes up.
//! Points are kept by a 64-bit hash: a collision moves a write up, too, and no key is pinned in memory.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hasher},
};

use basalt_base::{Span, Timestamp, TxnId};
use parking_lot::Mutex;

use super::span_map::{ReadMark, SpanMap};

#[derive(Default)]
struct Generation {
    points: HashMap<u64, ReadMark, BuildHasherDefault<HashedKey>>,
    spans: SpanMap,
    points_max: Timestamp,
    max: Timestamp,
}

struct State {
    low_water: Timestamp,
    current: Generation,
    previous: Generation,
}

/// See the module's documentation. Keyed by user key, so that splits need nothing.
pub struct TimestampCache {
    capacity: usize,
    state: Mutex<State>,
}

impl TimestampCache {
    /// `low_water`: everything may have been read up to here. `capacity`: entries per generation.
    pub fn new(low_water: Timestamp, capacity: usize) -> Self {
        let state = State { low_water, current: Generation::default(), previous: Generation::default() };
        Self { capacity, state: Mutex::new(state) }
    }

    pub fn add_point(&self, key: &[u8], timestamp: Timestamp, owner: Option<TxnId>) {
        let mark = ReadMark { timestamp, owner };
        let mut state = self.state.lock();
        if timestamp < state.low_water {
            return;
        }
        let generation = &mut state.current;
        let slot = generation.points.entry(hash(key)).or_default();
        *slot = slot.merge(mark);
        generation.points_max = generation.points_max.max(timestamp);
        generation.max = generation.max.max(timestamp);
        state.rotate_when_above(self.capacity);
    }

    pub fn add_span(&self, span: &Span, timestamp: Timestamp, owner: Option<TxnId>) {
        let mut state = self.state.lock();
        if timestamp < state.low_water {
            return;
        }
        state.current.spans.add(span, ReadMark { timestamp, owner });
        state.current.max = state.current.max.max(timestamp);
        state.rotate_when_above(self.capacity);
    }

    /// Whatever was read may have been read up to `timestamp`.
    pub fn raise_low_water(&self, timestamp: Timestamp) {
        let mut state = self.state.lock();
        state.low_water = state.low_water.max(timestamp);
    }

    /// Forgets every read *without* raising the low-water mark: a deliberate bug for the simulator.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.current = Generation::default();
        state.previous = Generation::default();
    }

    pub fn get(&self, key: &[u8]) -> ReadMark {
        let state = self.state.lock();
        let hash = hash(key);
        let mut mark = ReadMark { timestamp: state.low_water, owner: None };
        for generation in [&state.current, &state.previous] {
            if let Some(point) = generation.points.get(&hash) {
                mark = mark.merge(*point);
            }
            if !generation.spans.is_empty() {
                mark = mark.merge(generation.spans.get(key));
            }
        }
        mark
    }

    /// For ranged writes. Points can't be enumerated by span, so their maximum stands for all of them.
    pub fn get_span(&self, span: &Span) -> ReadMark {
        let state = self.state.lock();
        let mut mark = ReadMark { timestamp: state.low_water, owner: None };
        for generation in [&state.current, &state.previous] {
            mark = mark.merge(ReadMark { timestamp: generation.points_max, owner: None });
            mark = mark.merge(generation.spans.get_span(span));
        }
        mark
    }

    /// The lowest timestamp ≥ `write_ts` at which `txn` may write `key`.
    pub fn forward(&self, key: &[u8], write_ts: Timestamp, txn: Option<TxnId>) -> Timestamp {
        let mark = self.get(key);
        let own = mark.owner.is_some() && mark.owner == txn;
        if mark.timestamp < write_ts || (own && mark.timestamp == write_ts) {
            write_ts
        } else if own {
            mark.timestamp
        } else {
            mark.timestamp.next()
        }
    }
}

impl State {
    fn rotate_when_above(&mut self, capacity: usize) {
        if self.current.points.len() + self.current.spans.len() <= capacity {
            return;
        }
        self.low_water = self.low_water.max(self.previous.max);
        self.previous = std::mem::take(&mut self.current);
    }
}

fn hash(key: &[u8]) -> u64 {
    // Fixed keys: the same run hashes the same everywhere.
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// The map's keys are hashes already.
#[derive(Default)]
struct HashedKey(u64);

impl Hasher for HashedKey {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use basalt_base::Key;

    use super::*;

    const T1: Option<TxnId> = Some(TxnId(1));
    const T2: Option<TxnId> = Some(TxnId(2));

    #[test]
    fn writes_move_above_foreign_reads_only() {
        let cache = TimestampCache::new(Timestamp(5), 100);
        cache.add_point(b"k", Timestamp(10), T1);
        assert_eq!(cache.forward(b"k", Timestamp(10), T1), Timestamp(10));
        assert_eq!(cache.forward(b"k", Timestamp(10), T2), Timestamp(11));
        assert_eq!(cache.forward(b"k", Timestamp(12), T2), Timestamp(12));
        assert_eq!(cache.forward(b"other", Timestamp(3), T1), Timestamp(6));
        cache.add_point(b"k", Timestamp(10), T2);
        assert_eq!(cache.forward(b"k", Timestamp(10), T1), Timestamp(11));
        cache.add_span(&Span::new(Key::from_static(b"a"), Key::from_static(b"m")), Timestamp(20), T2);
        assert_eq!(cache.forward(b"k", Timestamp(10), T1), Timestamp(21));
        assert_eq!(cache.forward(b"m", Timestamp(10), T1), Timestamp(10));
        let tail = Span::new(Key::from_static(b"n"), Key::from_static(b"z"));
        assert_eq!(cache.get_span(&tail).timestamp, Timestamp(10));
    }

    #[test]
    fn forgetting_raises_the_low_water_mark_and_bounds_the_entries() {
        let cache = TimestampCache::new(Timestamp(1), 10);
        for at in 0..100_u64 {
            cache.add_point(&at.to_be_bytes(), Timestamp(10 + at), T1);
        }
        for at in 0..100_u64 {
            assert!(cache.forward(&at.to_be_bytes(), Timestamp(2), T2) > Timestamp(10 + at));
        }
        let state = cache.state.lock();
        assert!(state.current.points.len() + state.previous.points.len() <= 22);
    }
}
