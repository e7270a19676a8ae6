//! Snapshots that are made for other stores, or on their way to them.
//!
//! A snapshot is made in memory, beside the loop, and travels whole, so a store has few at a time. When Raft wants one it
//! is told to ask again, which it does with every answer to a heartbeat: when one is ready it gets it. A replica that got
//! one, or lost one, waits a while for the next: it may refuse them for now, and making them costs much.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use basalt_base::RangeId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{LogIndex, SnapshotData};

/// A range and the replica that a snapshot goes to.
type Key = (RangeId, u64);

enum Stage {
    Wanted,
    Made(SnapshotData),
    Sent,
}

struct Slot {
    since: Duration,
    stage: Stage,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<Key, Slot>,
    /// To be made, oldest first. A slot may be gone meanwhile.
    queue: VecDeque<Key>,
    /// Before when there is no next one.
    pauses: BTreeMap<Key, Duration>,
    closed: bool,
}

pub(crate) struct SnapshotSlots {
    count_max: usize,
    pause: Duration,
    state: Mutex<State>,
    notify: Notify,
}

impl SnapshotSlots {
    pub fn new(count_max: usize, pause: Duration) -> Self {
        Self { count_max: count_max.max(1), pause, state: Mutex::default(), notify: Notify::new() }
    }

    /// The snapshot for a replica, if it is ready and not older than `least`. Otherwise it is wanted from now on, if a
    /// slot is free and it is time.
    pub fn take(&self, range_id: RangeId, to: u64, least: LogIndex, now: Duration) -> Option<SnapshotData> {
        let mut state = self.state.lock();
        let key = (range_id, to);
        if let Some(slot) = state.slots.get_mut(&key) {
            match std::mem::replace(&mut slot.stage, Stage::Sent) {
                Stage::Made(data) if data.index >= least => {
                    slot.since = now;
                    return Some(data);
                }
                Stage::Made(_) => drop(state.slots.remove(&key)),
                other => slot.stage = other,
            }
            return None;
        }
        state.pauses.retain(|_, until| *until > now);
        if state.slots.len() < self.count_max && !state.pauses.contains_key(&key) {
            state.slots.insert(key, Slot { since: now, stage: Stage::Wanted });
            state.queue.push_back(key);
            drop(state);
            self.notify.notify_one();
        }
        None
    }

    /// The next one to be made.
    pub async fn wanted(&self) -> Key {
        loop {
            {
                let mut state = self.state.lock();
                while let Some(key) = state.queue.pop_front() {
                    if state.slots.get(&key).is_some_and(|slot| matches!(slot.stage, Stage::Wanted)) {
                        return key;
                    }
                }
                if state.closed {
                    return Key::default();
                }
            }
            self.notify.notified().await;
        }
    }

    /// Lets [`SnapshotSlots::wanted`] return: the loop has ended.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.notify.notify_one();
    }

    /// What was wanted is here, or can't be had now.
    pub fn made(&self, range_id: RangeId, to: u64, data: Option<SnapshotData>) {
        let mut state = self.state.lock();
        let key = (range_id, to);
        let Some(slot) = state.slots.get_mut(&key).filter(|slot| matches!(slot.stage, Stage::Wanted)) else {
            return;
        };
        match data {
            Some(data) => slot.stage = Stage::Made(data),
            None => {
                let until = slot.since + self.pause;
                state.slots.remove(&key);
                state.pauses.insert(key, until);
            }
        }
    }

    /// Gives back the slots of a range's snapshots that nobody wants any more, or that are no longer on their way.
    /// `in_flight` says whether Raft waits for the fate of one; `None` if the replica is no member, or nobody leads here.
    pub fn settle(&self, range_id: RangeId, now: Duration, in_flight: impl Fn(u64) -> Option<bool>) {
        let mut state = self.state.lock();
        let range = (range_id, 0)..=(range_id, u64::MAX);
        let done = |(key, slot): (&Key, &Slot)| {
            let done = match (in_flight(key.1), &slot.stage) {
                (None, _) => true,
                (Some(in_flight), Stage::Sent) => !in_flight,
                (Some(_), _) => false,
            };
            done.then_some(*key)
        };
        let done: Vec<Key> = state.slots.range(range).filter_map(done).collect();
        for key in done {
            state.slots.remove(&key);
            state.pauses.insert(key, now + self.pause);
        }
    }

    /// Those that left before `time`. Such as were made by then and not asked for are given up.
    pub fn older_than(&self, time: Duration) -> Vec<Key> {
        let mut state = self.state.lock();
        state.slots.retain(|_, slot| slot.since >= time || !matches!(slot.stage, Stage::Made(_)));
        let sent =
            state.slots.iter().filter(|(_, slot)| slot.since < time && matches!(slot.stage, Stage::Sent));
        sent.map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Membership;

    fn data(index: LogIndex) -> SnapshotData {
        SnapshotData { index, term: 5, membership: Membership::default(), bytes: Bytes::new() }
    }

    #[test]
    fn slots_are_few_and_come_back_with_a_pause() {
        let second = Duration::from_secs(1);
        let slots = SnapshotSlots::new(2, second);
        let (first, other, now) = (RangeId(1), RangeId(2), 10 * second);
        assert_eq!(slots.take(first, 2, 0, now), None);
        assert_eq!(slots.take(first, 3, 0, now), None);
        // No room for more.
        assert_eq!(slots.take(other, 2, 0, now), None);
        slots.made(other, 2, Some(data(9)));
        assert_eq!(slots.take(other, 2, 0, now), None);
        slots.made(first, 2, Some(data(7)));
        slots.made(first, 3, Some(data(7)));
        assert_eq!(slots.take(first, 2, 7, now), Some(data(7)));
        assert_eq!(slots.take(first, 2, 7, now), None, "on its way");
        assert_eq!(slots.take(first, 3, 8, now), None, "too old");
        assert_eq!(slots.older_than(now), []);
        assert_eq!(slots.older_than(now + second), [(first, 2)]);
        slots.settle(first, now, |to| Some(to == 2));
        assert_eq!(slots.older_than(now + second), [(first, 2)]);
        slots.settle(first, now, |_| Some(false));
        assert_eq!(slots.older_than(now + second), []);
        // It just had one; the other one wants one and is no member any more.
        slots.take(first, 2, 0, now);
        slots.made(first, 2, Some(data(9)));
        assert_eq!(slots.take(first, 2, 0, now), None);
        assert_eq!(slots.take(other, 2, 0, now), None);
        slots.settle(other, now, |_| None);
        slots.made(other, 2, Some(data(9)));
        assert_eq!(slots.take(other, 2, 0, now), None);
        slots.take(first, 2, 0, now + second);
        slots.made(first, 2, Some(data(9)));
        assert_eq!(slots.take(first, 2, 0, now + second), Some(data(9)));
    }
}
