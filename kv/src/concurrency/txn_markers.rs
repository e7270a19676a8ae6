//! What the store must remember about transactions that have no record.
//!
//! * The *push marker* is the lowest timestamp at which a transaction may still commit: a reader that pushed it has
//!   read below. It binds whether or not the transaction has a record.
//! * The *tombstone* says that a transaction was aborted without ever having had a record (or that its record is gone),
//!   so that a late record creation or one-phase commit is refused.
//! * When its last *heartbeat* arrived. The record says when it was sent, and a busy log may take its time: a
//!   coordinator that lives must not lose its transaction to the store's own delay.
//!
//! Memory is bounded by two generations; what is forgotten raises a low-water mark under which every transaction
//! counts as marked. The low-water mark starts at the lease's start, so that a new lease refuses older transactions.
//! One map per store: transaction ids are unique, and both halves of a split share it.

use std::collections::BTreeMap;

use basalt_base::{Timestamp, TxnId};
use parking_lot::Mutex;

use super::summary::{ReadSummary, threshold};

/// Tombstones that a lease takes along when it is given away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// Transactions that began up to here may have one that is not listed.
    pub low_water: Timestamp,
    /// With the transactions' lower bounds.
    pub entries: BTreeMap<TxnId, Timestamp>,
}

impl Tombstones {
    /// Whether a record of `id`, begun at `min_ts`, may be created, as far as these say.
    pub fn permit(&self, id: TxnId, min_ts: Timestamp) -> bool {
        min_ts > self.low_water && !self.entries.contains_key(&id)
    }

    /// Keeps only the latest.
    fn shorten(&mut self, entries_max: usize) {
        let excess = self.entries.len().saturating_sub(entries_max);
        if excess == 0 {
            return;
        }
        let mut bounds: Vec<Timestamp> = self.entries.values().copied().collect();
        let (_, highest_dropped, _) = bounds.select_nth_unstable(excess - 1);
        self.low_water = self.low_water.max(*highest_dropped);
        self.entries.retain(|_, min_ts| *min_ts > self.low_water);
    }
}

#[derive(Default)]
struct Generation {
    pushes: BTreeMap<TxnId, Timestamp>,
    pushes_max: Timestamp,
    /// With the transaction's lower bound, which the low-water mark must reach when the entry is forgotten.
    tombstones: BTreeMap<TxnId, Timestamp>,
    tombstones_max: Timestamp,
    /// When a heartbeat arrived. Forgotten, it is the record that counts.
    heard: BTreeMap<TxnId, Timestamp>,
}

struct State {
    pushes_low_water: Timestamp,
    tombstones_low_water: Timestamp,
    current: Generation,
    previous: Generation,
}

pub struct TxnMarkers {
    capacity: usize,
    state: Mutex<State>,
}

impl TxnMarkers {
    pub fn new(low_water: Timestamp, capacity: usize) -> Self {
        let state = State {
            pushes_low_water: low_water,
            tombstones_low_water: low_water,
            current: Generation::default(),
            previous: Generation::default(),
        };
        Self { capacity, state: Mutex::new(state) }
    }

    /// `id` must commit at or above `to`.
    pub fn push(&self, id: TxnId, to: Timestamp) {
        let mut state = self.state.lock();
        let generation = &mut state.current;
        let marker = generation.pushes.entry(id).or_default();
        *marker = to.max(*marker);
        generation.pushes_max = generation.pushes_max.max(to);
        state.rotate_when_above(self.capacity);
    }

    /// The lowest timestamp at which `id` may commit.
    pub fn pushed_to(&self, id: TxnId) -> Timestamp {
        let state = self.state.lock();
        let of = |generation: &Generation| generation.pushes.get(&id).copied().unwrap_or_default();
        of(&state.current).max(of(&state.previous)).max(state.pushes_low_water)
    }

    /// A heartbeat of `id` was applied at `now`.
    pub fn heard(&self, id: TxnId, now: Timestamp) {
        let mut state = self.state.lock();
        state.current.heard.insert(id, now);
        state.rotate_when_above(self.capacity);
    }

    pub fn heard_at(&self, id: TxnId) -> Timestamp {
        let state = self.state.lock();
        let of = |generation: &Generation| generation.heard.get(&id).copied().unwrap_or_default();
        of(&state.current).max(of(&state.previous))
    }

    /// `id` may never get a record (again).
    pub fn entomb(&self, id: TxnId, min_ts: Timestamp) {
        let mut state = self.state.lock();
        state.current.tombstones.insert(id, min_ts);
        state.current.tombstones_max = state.current.tombstones_max.max(min_ts);
        state.rotate_when_above(self.capacity);
    }

    /// Whether a record of `id`, begun at `min_ts`, may be created.
    pub fn may_create_record(&self, id: TxnId, min_ts: Timestamp) -> bool {
        let state = self.state.lock();
        min_ts > state.tombstones_low_water
            && !state.current.tombstones.contains_key(&id)
            && !state.previous.tombstones.contains_key(&id)
    }
}

impl TxnMarkers {
    /// Puts the latest pushes into `summary`, at most `entries_max`.
    pub fn summarize(&self, entries_max: usize, summary: &mut ReadSummary) {
        let state = self.state.lock();
        let pushes =
            || [&state.previous, &state.current].into_iter().flat_map(|generation| &generation.pushes);
        let low_water = threshold(pushes().map(|(_, to)| *to).collect(), entries_max)
            .max(state.pushes_low_water)
            .max(summary.pushes_low_water);
        summary.pushes_low_water = low_water;
        for (id, to) in pushes().filter(|(_, to)| **to > low_water) {
            let told = summary.pushes.entry(*id).or_default();
            *told = (*told).max(*to);
        }
    }

    /// Takes note of the pushes that another node has granted.
    pub fn adopt(&self, summary: &ReadSummary) {
        summary.pushes.iter().for_each(|(id, to)| self.push(*id, *to));
    }

    /// All tombstones, with those that an earlier lease has left, or as many of the latest as there may be.
    pub fn tombstones(&self, inherited: &Tombstones, entries_max: usize) -> Tombstones {
        let state = self.state.lock();
        let mut all = inherited.clone();
        all.low_water = all.low_water.max(state.tombstones_low_water);
        for generation in [&state.previous, &state.current] {
            all.entries.extend(&generation.tombstones);
        }
        drop(state);
        all.shorten(entries_max);
        all
    }
}

impl State {
    fn rotate_when_above(&mut self, capacity: usize) {
        if self.current.pushes.len() + self.current.tombstones.len() + self.current.heard.len() <= capacity {
            return;
        }
        self.pushes_low_water = self.pushes_low_water.max(self.previous.pushes_max);
        self.tombstones_low_water = self.tombstones_low_water.max(self.previous.tombstones_max);
        self.previous = std::mem::take(&mut self.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_markers_live_on_in_the_low_water_marks() {
        let markers = TxnMarkers::new(Timestamp(5), 4);
        assert!(!markers.may_create_record(TxnId(1), Timestamp(5)));
        assert!(markers.may_create_record(TxnId(1), Timestamp(6)));
        assert_eq!(markers.pushed_to(TxnId(1)), Timestamp(5));
        for id in 0..100_u64 {
            markers.push(TxnId(u128::from(id)), Timestamp(100 + id));
            markers.entomb(TxnId(u128::from(id)), Timestamp(50 + id));
        }
        for id in 0..100_u64 {
            assert!(markers.pushed_to(TxnId(u128::from(id))) >= Timestamp(100 + id));
            assert!(!markers.may_create_record(TxnId(u128::from(id)), Timestamp(50 + id)));
        }
        assert!(markers.may_create_record(TxnId(1_000), Timestamp(1_000)));
    }

    #[test]
    fn who_is_told_of_pushes_grants_nothing_below_them() {
        for entries_max in [0, 1, 10, 1_000] {
            let (giver, taker) = (TxnMarkers::new(Timestamp(5), 40), TxnMarkers::new(Timestamp(0), 1_000));
            (0..50_u64).for_each(|id| giver.push(TxnId(u128::from(id)), Timestamp(100 + id)));
            let mut summary = ReadSummary { pushes_low_water: Timestamp(7), ..ReadSummary::default() };
            giver.summarize(entries_max, &mut summary);
            assert!(summary.pushes.len() <= entries_max);
            taker.adopt(&summary);
            for id in (0..50).map(TxnId) {
                assert!(taker.pushed_to(id).max(summary.pushes_low_water) >= giver.pushed_to(id));
            }
            let others = taker.pushed_to(TxnId(7_000)).max(summary.pushes_low_water);
            assert_eq!(others == Timestamp(7), entries_max == 1_000, "{others}");
        }
    }

    #[test]
    fn what_a_lease_does_not_take_along_is_below_its_low_water_mark() {
        let markers = TxnMarkers::new(Timestamp(5), 40);
        (0..50_u64).for_each(|id| markers.entomb(TxnId(u128::from(id)), Timestamp(50 + id / 2)));
        let inherited =
            Tombstones { low_water: Timestamp(7), entries: [(TxnId(1_000), Timestamp(90))].into() };
        for entries_max in [0, 1, 2, 3, 10, 50, 51, 1_000] {
            let taken = markers.tombstones(&inherited, entries_max);
            assert!(taken.entries.len() <= entries_max, "{taken:?}");
            for id in 0..50_u64 {
                assert!(!taken.permit(TxnId(u128::from(id)), Timestamp(50 + id / 2)));
            }
            assert!(!taken.permit(TxnId(1_000), Timestamp(90)) && !taken.permit(TxnId(7_000), Timestamp(7)));
            assert!(taken.permit(TxnId(7_000), Timestamp(91)));
        }
        assert!(markers.tombstones(&inherited, 51).permit(TxnId(7_000), Timestamp(8)));
    }
}
