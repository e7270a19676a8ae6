//! Splitting a range because it is busy, so that two nodes can share its load.
//!
//! What [`super::balance`] measures says which ranges are busy. From then on some of their requests are noted, until there
//! are enough to choose a key: the one that divides the earlier half of what was noted most evenly. The later half judges
//! it: of that, too, a good part must lie on either side, and little across. So a range whose requests all go to one key stays
//! whole, and so does one whose load moves on through the keys, which would be as busy right of any key as it was before.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use basalt_base::{Key, RangeId, keys};
use basalt_kv_api::Request;
use parking_lot::Mutex;

use super::Store;
use crate::{counts::Counters, replica::Replica};

/// Requests noted of one range.
const NOTES: usize = 1_024;
/// With fewer than these nothing is decided.
const NOTES_MIN: usize = 64;
/// Longer keys are not noted.
const KEY_BYTES_MAX: usize = 1_024;
/// Ranges that are looked at, at the same time.
const RANGES_MAX: usize = 16;
/// Of what is noted, as much must lie on either side of the key, in percent.
const SIDE_PERCENT: usize = 25;
/// A range that cannot be divided is left alone for so long.
const REST: Duration = Duration::from_secs(60);

/// Busy ranges.
#[derive(Default)]
pub struct LoadSplits {
    ranges: Mutex<BTreeMap<RangeId, Finder>>,
    /// How many of them want requests.
    eager: AtomicUsize,
}

struct Finder {
    notes: Notes,
    /// It could not be divided, and is not looked at before.
    rests_until: Option<Duration>,
}

/// Requests in the order in which they came, thinned out evenly.
#[derive(Default)]
struct Notes {
    kept: Vec<(Key, Key)>,
    /// One in so many is kept: a power of two.
    step: u64,
    seen: u64,
}

impl Store {
    /// Called for each request that is evaluated: cheap unless a range is busy.
    pub(super) fn note_for_split(&self, replica: &Replica, requests: &[Request]) {
        if self.load_splits.eager.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut ranges = self.load_splits.ranges.lock();
        let Some(finder) = ranges.get_mut(&replica.range_id) else { return };
        if finder.rests_until.is_none()
            && let Some((start, end)) = touched(requests)
        {
            finder.notes.add(start, end);
        }
    }

    /// Looks at the ranges led here, with their requests in thousandths a second; splits those that are too busy, and tells
    /// which.
    pub(super) async fn split_busy(self: &Arc<Self>, rates: &BTreeMap<RangeId, u64>) -> Vec<RangeId> {
        let now = self.env.clock.monotonic();
        let busy_from = self.config.split_requests.saturating_mul(1_000);
        let mut found = Vec::new();
        {
            let mut ranges = self.load_splits.ranges.lock();
            ranges.retain(|range_id, finder| {
                let is_busy = rates.get(range_id).is_some_and(|rate| *rate >= busy_from);
                finder.rests_until.map_or(is_busy, |until| now < until)
            });
            for (range_id, finder) in &mut *ranges {
                if finder.rests_until.is_none() && finder.notes.kept.len() >= NOTES_MIN {
                    found.extend(finder.notes.split_key().map(|key| (*range_id, key)));
                    *finder = Finder { notes: Notes::default(), rests_until: Some(now + REST) };
                }
            }
            let mut busy: Vec<(u64, RangeId)> = rates
                .iter()
                .filter(|(range_id, rate)| **rate >= busy_from && !ranges.contains_key(range_id))
                .map(|(range_id, rate)| (*rate, *range_id))
                .collect();
            busy.sort_unstable_by_key(|(rate, range_id)| (std::cmp::Reverse(*rate), *range_id));
            let eager = ranges.values().filter(|finder| finder.rests_until.is_none()).count();
            for (_, range_id) in busy.into_iter().take(RANGES_MAX.saturating_sub(eager)) {
                ranges.insert(range_id, Finder { notes: Notes::default(), rests_until: None });
            }
            let eager = ranges.values().filter(|finder| finder.rests_until.is_none()).count();
            self.load_splits.eager.store(eager, Ordering::Relaxed);
        }
        let mut split = Vec::new();
        for (range_id, key) in found {
            let Some(replica) = self.states.ranges.by_id(range_id) else { continue };
            let span = &replica.descriptor().span;
            if !self.serves(&replica) || !span.contains(&key) || span.start == key {
                continue;
            }
            tracing::info!(range = %range_id, "a busy range splits");
            match self.split_at(&replica, &key, None).await {
                Ok(()) => {
                    Counters::increment(&self.counters.splits_by_load);
                    split.push(range_id);
                }
                Err(error) => tracing::debug!(range = %range_id, %error, "a busy range was not split"),
            }
        }
        split
    }
}

/// From which key to which the requests read or write.
fn touched(requests: &[Request]) -> Option<(Key, Key)> {
    let mut touched: Option<(Key, Key)> = None;
    for request in requests {
        let (start, end) = match request {
            Request::Get { key, .. }
            | Request::Put { key, .. }
            | Request::Delete { key, .. }
            | Request::Increment { key, .. } => (key, key),
            Request::Scan { span, .. } | Request::Refresh { span, .. } if !span.is_empty() => {
                (&span.start, &span.end)
            }
            _ => continue,
        };
        if start.len().max(end.len()) > KEY_BYTES_MAX {
            continue;
        }
        touched = Some(match touched {
            None => (start.clone(), end.clone()),
            Some((first, last)) => (first.min(start.clone()), last.max(end.clone())),
        });
    }
    touched
}

impl Notes {
    fn add(&mut self, start: Key, end: Key) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.step.max(1)) {
            return;
        }
        self.kept.push((start, end));
        if self.kept.len() >= 2 * NOTES {
            let mut keep = false;
            self.kept.retain(|_| {
                keep = !keep;
                keep
            });
            self.step = 2 * self.step.max(1);
        }
    }

    /// The key that divides the requests, if there is one.
    fn split_key(&self) -> Option<Key> {
        let (earlier, later) = self.kept.split_at(self.kept.len() / 2);
        let mut candidates: Vec<&Key> = earlier.iter().map(|(start, _)| start).collect();
        candidates.sort_unstable();
        let middle = candidates.get(candidates.len() / 2).copied()?;
        // Requests for the middle go to the right; if there are many, the next key may divide better.
        let next = candidates.iter().copied().find(|key| *key > middle);
        let judged =
            [Some(middle), next].into_iter().flatten().filter(|key| key[..] >= [keys::SYSTEM_PREFIX][..]);
        let judged =
            judged.filter_map(|key| Some((smaller_side(earlier, key)?.min(smaller_side(later, key)?), key)));
        let best = judged.max_by(|(one, a), (other, b)| one.cmp(other).then(b.cmp(a)));
        best.map(|(_, key)| key.clone())
    }
}

/// How many requests lie on the side of the key that has fewer, if those are enough. One that goes across lies on neither.
fn smaller_side(requests: &[(Key, Key)], key: &Key) -> Option<usize> {
    let left = requests.iter().filter(|(start, end)| start < key && end <= key).count();
    let right = requests.iter().filter(|(start, _)| start >= key).count();
    let smaller = left.min(right);
    (smaller * 100 >= requests.len() * SIDE_PERCENT && smaller > 0).then_some(smaller)
}

#[cfg(test)]
mod tests {
    use basalt_env::sim::SimRng;

    use super::*;

    fn key(number: u64) -> Key {
        Key::from(format!("k{number:06}"))
    }

    fn noted(requests: impl IntoIterator<Item = (u64, u64)>) -> Notes {
        let mut notes = Notes::default();
        for (start, end) in requests {
            notes.add(key(start), key(end));
        }
        notes
    }

    #[test]
    fn a_key_divides_the_load_or_there_is_none() {
        let rng = SimRng::new(3);
        let draw = |below: u64| rng.below(usize::try_from(below).unwrap()) as u64;
        let evenly = noted((0..20_000).map(|_| draw(1_000)).map(|row| (row, row)));
        assert!(evenly.kept.len() < 2 * NOTES && evenly.kept.len() >= NOTES_MIN);
        let found = evenly.split_key().unwrap();
        assert!(found > key(400) && found < key(600), "{found:?}");
        // Most requests at the front, one row busier than the others.
        let skewed = noted(
            (0..5_000).map(|turn| if turn % 5 == 0 { 7 } else { draw(10) * draw(100) }).map(|row| (row, row)),
        );
        assert!(skewed.split_key().unwrap() < key(400));
        // Two rows: right between them, whichever is first.
        let two = noted((0..500).map(|turn| 10 + turn % 2).map(|row| (row, row)));
        assert_eq!(two.split_key(), Some(key(11)));
        let one = noted((0..500).map(|_| (7, 7)));
        assert_eq!(one.split_key(), None);
        // One row has nine tenths of the load.
        let hot =
            noted((0..500).map(|turn| if turn % 10 == 0 { draw(1_000) } else { 500 }).map(|row| (row, row)));
        assert_eq!(hot.split_key(), None);
        // The load moves on: what was the middle is soon behind it.
        let ascending = noted((0..500).map(|turn| (turn, turn)));
        assert_eq!(ascending.split_key(), None);
        // Every request reads everything.
        let scans = noted((0..500).map(|_| (0, 1_000)));
        assert_eq!(scans.split_key(), None);
        assert_eq!(Notes::default().split_key(), None);
    }
}
