//! How many snapshots are on their way to other stores.
//!
//! A snapshot is made in memory and travels whole, so a store sends few at a time. The others wait: Raft asks again with
//! the next answer to a heartbeat. A replica that got one, or lost one, waits a while for the next: it may refuse them
//! for now, and making them costs much.

use std::{collections::BTreeMap, time::Duration};

use basalt_base::RangeId;
use parking_lot::Mutex;

/// A range and the replica that a snapshot goes to.
type Key = (RangeId, u64);

#[derive(Default)]
struct State {
    /// Since when.
    in_flight: BTreeMap<Key, Duration>,
    /// Before when there is no next one.
    pauses: BTreeMap<Key, Duration>,
}

pub(crate) struct SnapshotSlots {
    count_max: usize,
    pause: Duration,
    state: Mutex<State>,
}

impl SnapshotSlots {
    pub fn new(count_max: usize, pause: Duration) -> Self {
        Self { count_max: count_max.max(1), pause, state: Mutex::default() }
    }

    /// Takes a slot if one is free and it is time.
    pub fn take(&self, range_id: RangeId, to: u64, now: Duration) -> bool {
        let mut state = self.state.lock();
        let key = (range_id, to);
        if state.in_flight.contains_key(&key) {
            return true;
        }
        state.pauses.retain(|_, until| *until > now);
        if state.in_flight.len() >= self.count_max || state.pauses.contains_key(&key) {
            return false;
        }
        state.in_flight.insert(key, now);
        true
    }

    /// Gives back what was taken for nothing.
    pub fn give_back(&self, range_id: RangeId, to: u64) {
        self.state.lock().in_flight.remove(&(range_id, to));
    }

    /// Gives back the slots of a range's snapshots that are no longer on their way.
    pub fn settle(&self, range_id: RangeId, now: Duration, in_flight: impl Fn(u64) -> bool) {
        let mut state = self.state.lock();
        let range = (range_id, 0)..=(range_id, u64::MAX);
        let keys = state.in_flight.range(range).map(|(key, _)| *key);
        let done: Vec<Key> = keys.filter(|(_, to)| !in_flight(*to)).collect();
        for key in done {
            state.in_flight.remove(&key);
            state.pauses.insert(key, now + self.pause);
        }
    }

    /// Those that left before `time`.
    pub fn older_than(&self, time: Duration) -> Vec<Key> {
        let state = self.state.lock();
        state.in_flight.iter().filter(|(_, since)| **since < time).map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_few_and_come_back_with_a_pause() {
        let second = Duration::from_secs(1);
        let slots = SnapshotSlots::new(2, second);
        let now = 10 * second;
        assert!(slots.take(RangeId(1), 2, now) && slots.take(RangeId(1), 2, now));
        assert!(slots.take(RangeId(1), 3, now));
        assert!(!slots.take(RangeId(2), 2, now));
        assert_eq!(slots.older_than(now), []);
        assert_eq!(slots.older_than(now + second).len(), 2);
        slots.settle(RangeId(1), now, |to| to == 2);
        assert!(!slots.take(RangeId(1), 3, now), "it just had one");
        assert!(slots.take(RangeId(2), 2, now));
        slots.give_back(RangeId(2), 2);
        assert!(slots.take(RangeId(1), 3, now + second));
    }
}
