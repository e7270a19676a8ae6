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

use super::{
    span_map::{ReadMark, SpanMap},
    summary::{ReadSummary, threshold},
};

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
        self.state.lock().add_point(hash(key), ReadMark { timestamp, owner }, self.capacity);
    }

    pub fn add_span(&self, span: &Span, timestamp: Timestamp, owner: Option<TxnId>) {
        self.state.lock().add_span(span, ReadMark { timestamp, owner }, self.capacity);
    }

    /// Puts what is known of reads in `span` into `summary`: at most `entries_max` points and as many spans. Points of other
    /// spans are among them, since their keys are not known.
    pub fn summarize(&self, span: &Span, entries_max: usize, summary: &mut ReadSummary) {
        let state = self.state.lock();
        let generations = [&state.current, &state.previous];
        let points = || generations.into_iter().flat_map(|generation| &generation.points);
        let spans: Vec<(Span, ReadMark)> =
            generations.into_iter().flat_map(|generation| generation.spans.within(span)).collect();
        let low_water = threshold(points().map(|(_, mark)| mark.timestamp).collect(), entries_max)
            .max(threshold(spans.iter().map(|(_, mark)| mark.timestamp).collect(), entries_max))
            .max(state.low_water)
            .max(summary.low_water);
        summary.low_water = low_water;
        let is_above = |mark: &ReadMark| mark.timestamp > low_water;
        summary.points =
            points().filter(|(_, mark)| is_above(mark)).map(|(hash, mark)| (*hash, *mark)).collect();
        // The maps have no order that would be the same everywhere.
        summary.points.sort_unstable_by_key(|(hash, mark)| (*hash, mark.timestamp, mark.owner));
        summary.spans = spans.into_iter().filter(|(_, mark)| is_above(mark)).collect();
    }

    /// Takes note of the reads that another node has served.
    pub fn adopt(&self, summary: &ReadSummary) {
        let mut state = self.state.lock();
        for (hash, mark) in &summary.points {
            state.add_point(*hash, *mark, self.capacity);
        }
        for (span, mark) in &summary.spans {
            state.add_span(span, *mark, self.capacity);
        }
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
    fn add_point(&mut self, hash: u64, mark: ReadMark, capacity: usize) {
        if mark.timestamp < self.low_water {
            return;
        }
        let generation = &mut self.current;
        let slot = generation.points.entry(hash).or_default();
        *slot = slot.merge(mark);
        generation.points_max = generation.points_max.max(mark.timestamp);
        generation.max = generation.max.max(mark.timestamp);
        self.rotate_when_above(capacity);
    }

    fn add_span(&mut self, span: &Span, mark: ReadMark, capacity: usize) {
        if mark.timestamp < self.low_water {
            return;
        }
        self.current.spans.add(span, mark);
        self.current.max = self.current.max.max(mark.timestamp);
        self.rotate_when_above(capacity);
    }

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
    fn who_is_told_of_reads_keeps_writes_above_them_and_moves_no_others() {
        let key = |at: u64| Key::copy_from_slice(&at.to_be_bytes());
        let whole = Span::new(key(0), key(1_000));
        for entries_max in [0, 1, 10, 1_000] {
            let (giver, taker) =
                (TimestampCache::new(Timestamp(3), 1_000), TimestampCache::new(Timestamp(0), 1_000));
            for at in 0..100 {
                giver.add_point(&key(at), Timestamp(10 + at), T1);
                giver.add_span(&Span::new(key(200 + at), key(202 + at)), Timestamp(300 - at), T2);
            }
            let mut summary = ReadSummary { low_water: Timestamp(3), ..ReadSummary::default() };
            giver.summarize(&whole, entries_max, &mut summary);
            assert!(summary.points.len() <= entries_max && summary.spans.len() <= entries_max);
            taker.adopt(&summary);
            for at in (0..100).chain(200..301) {
                let told = taker.forward(&key(at), Timestamp(1), None).max(summary.low_water.next());
                assert!(told >= giver.forward(&key(at), Timestamp(1), None), "{at} of {entries_max}");
            }
            let unread = taker.forward(&key(500), Timestamp(1), None).max(summary.low_water.next());
            let known = giver.forward(&key(500), Timestamp(1), None);
            assert_eq!(unread == known, entries_max == 1_000, "{unread} {known} {entries_max}");
        }
        // Whoever has read may write where it has read.
        let (giver, taker) = (TimestampCache::new(Timestamp(3), 60), TimestampCache::new(Timestamp(0), 60));
        giver.add_point(b"k", Timestamp(10), T1);
        let mut summary = ReadSummary::default();
        giver.summarize(&whole, 10, &mut summary);
        taker.adopt(&summary);
        assert_eq!(taker.forward(b"k", Timestamp(10), T1), Timestamp(10));
        assert_eq!(taker.forward(b"k", Timestamp(10), T2), Timestamp(11));
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
