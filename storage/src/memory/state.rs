//! The versioned maps behind the memory engine.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use basalt_base::{Key, Span};
use bytes::Bytes;

use super::Fault;
use crate::{Family, Op, WriteBatch};

/// What a key held since which batch, ascending; `None` is a deletion.
type Chain = Vec<(u64, Option<Bytes>)>;

#[derive(Default)]
pub(super) struct State {
    maps: [BTreeMap<Key, Chain>; 3],
    /// Number of the newest batch.
    pub seq: u64,
    /// Number of the newest durable batch.
    pub flushed: u64,
    pins: BTreeMap<u64, usize>,
    /// Keys with a version to drop once the horizon reaches the batch number.
    stale: VecDeque<(u64, Family, Key)>,
    pub fault: Option<Fault>,
    /// A key of the data family whose bytes the medium has damaged, and what is said of it since it was met.
    pub damaged: Option<Key>,
    pub damage_found: Option<String>,
    pub poisoned: Option<String>,
    pub batch_bytes: u64,
    pub flushes: u64,
}

fn visible(chain: &Chain, seq: u64) -> Option<&Bytes> {
    chain.iter().rev().find(|(since, _)| *since <= seq).and_then(|(_, value)| value.as_ref())
}

/// Where a move of a cursor ended.
#[derive(Default)]
pub(super) struct Found {
    pub entry: Option<(Key, Bytes)>,
    /// Deleted entries passed.
    pub skipped: u64,
    pub gave_up: bool,
}

impl Found {
    fn first<'a>(entries: impl Iterator<Item = (&'a Key, &'a Chain)>, seq: u64, skips_max: u64) -> Self {
        let mut found = Self::default();
        for (key, chain) in entries {
            if let Some(value) = visible(chain, seq) {
                found.entry = Some((key.clone(), value.clone()));
                break;
            }
            found.skipped += 1;
            if found.skipped > skips_max {
                found.gave_up = true;
                break;
            }
        }
        found
    }
}

impl State {
    fn map(&self, family: Family) -> &BTreeMap<Key, Chain> {
        &self.maps[family as usize]
    }

    pub fn get(&self, family: Family, key: &[u8], seq: u64) -> Option<Bytes> {
        visible(self.map(family).get(key)?, seq).cloned()
    }

    /// The first entry from `from` upwards, below `upper`.
    pub fn first_from(
        &self,
        family: Family,
        from: Bound<&[u8]>,
        upper: Option<&[u8]>,
        seq: u64,
        skips_max: u64,
    ) -> Found {
        let upper = upper.map_or(Bound::Unbounded, Bound::Excluded);
        if !is_range(from, upper) {
            return Found::default();
        }
        Found::first(self.map(family).range::<[u8], _>((from, upper)), seq, skips_max)
    }

    /// The last entry from `from` downwards, at or above `lower`.
    pub fn last_from(
        &self,
        family: Family,
        from: Bound<&[u8]>,
        lower: Option<&[u8]>,
        seq: u64,
        skips_max: u64,
    ) -> Found {
        let lower = lower.map_or(Bound::Unbounded, Bound::Included);
        if !is_range(lower, from) {
            return Found::default();
        }
        Found::first(self.map(family).range::<[u8], _>((lower, from)).rev(), seq, skips_max)
    }

    pub fn apply(&mut self, batch: WriteBatch) {
        self.seq += 1;
        self.batch_bytes += batch.bytes() as u64;
        for op in batch.ops {
            match op {
                Op::Put { family, key, value } => self.set(family, key, Some(value)),
                Op::Delete { family, key } => self.set(family, key, None),
                Op::DeleteRange { family, span } if !span.is_empty() => {
                    let keys: Vec<Key> =
                        self.map(family).range(span.start..span.end).map(|(k, _)| k.clone()).collect();
                    for key in keys {
                        self.set(family, key, None);
                    }
                }
                Op::DeleteRange { .. } => {}
            }
        }
        self.collect();
    }

    fn set(&mut self, family: Family, key: Key, value: Option<Bytes>) {
        let seq = self.seq;
        let map = &mut self.maps[family as usize];
        if value.is_none() && map.get(&key).is_none_or(|chain| chain.last().is_some_and(|(_, v)| v.is_none()))
        {
            return;
        }
        let chain = map.entry(key.clone()).or_default();
        match chain.last_mut() {
            Some((since, last)) if *since == seq => *last = value,
            _ => chain.push((seq, value)),
        }
        if chain.len() > 1 || chain.last().is_some_and(|(_, value)| value.is_none()) {
            self.stale.push_back((seq, family, key));
        }
    }

    pub fn flush(&mut self) {
        self.flushed = self.seq;
        self.flushes += 1;
        self.collect();
    }

    pub fn pin(&mut self) -> u64 {
        *self.pins.entry(self.seq).or_default() += 1;
        self.seq
    }

    pub fn unpin(&mut self, seq: u64) {
        if let Some(count) = self.pins.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&seq);
                self.collect();
            }
        }
    }

    /// Drops what nobody can ask for any more: of each chain, all but the newest version at or below the horizon.
    fn collect(&mut self) {
        let horizon =
            self.pins.first_key_value().map_or(self.flushed, |(&oldest, _)| oldest.min(self.flushed));
        while self.stale.front().is_some_and(|(seq, ..)| *seq <= horizon) {
            let Some((_, family, key)) = self.stale.pop_front() else { return };
            let map = &mut self.maps[family as usize];
            let Some(chain) = map.get_mut(&key) else { continue };
            let needed = chain.iter().rposition(|(since, _)| *since <= horizon).unwrap_or(0);
            chain.drain(..needed);
            if let [(since, None)] = chain[..]
                && since <= horizon
            {
                map.remove(&key);
            }
        }
    }

    pub fn after_crash(&self, keep: u64) -> Self {
        let seq = self.flushed + keep.min(self.seq - self.flushed);
        let mut after = Self { damaged: self.damaged.clone(), ..Self::default() };
        for (map, old) in after.maps.iter_mut().zip(&self.maps) {
            *map = old
                .iter()
                .filter_map(|(key, chain)| Some((key.clone(), vec![(0, Some(visible(chain, seq)?.clone()))])))
                .collect();
        }
        after
    }

    pub fn damage_some(&mut self, random: &mut dyn FnMut(u64) -> u64) -> Option<String> {
        let data = self.map(Family::Data);
        let count = u64::try_from(data.len()).ok().filter(|count| *count > 0)?;
        let key = data.keys().nth(usize::try_from(random(count)).ok()?)?.clone();
        let said = format!("{key:02x?}");
        self.damaged = Some(key);
        Some(said)
    }

    pub fn bytes_in(&self, family: Family, span: &Span) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let range = self
            .map(family)
            .range::<[u8], _>((Bound::Included(&span.start[..]), Bound::Excluded(&span.end[..])));
        range.filter_map(|(key, chain)| Some((key.len() + visible(chain, self.seq)?.len()) as u64)).sum()
    }

    pub fn held_versions(&self) -> usize {
        self.maps.iter().flat_map(BTreeMap::values).map(Vec::len).sum()
    }
}

/// `BTreeMap::range` panics on what is not one.
fn is_range(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(low), Bound::Included(high)) => low <= high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low < high
        }
    }
}
