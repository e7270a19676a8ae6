//! Disjoint spans with the highest timestamp at which each was read.

use std::{collections::BTreeMap, ops::Bound};

use basalt_base::{Key, Span, Timestamp, TxnId};

/// The highest read timestamp of a key, and its reader when it was a single transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadMark {
    pub timestamp: Timestamp,
    pub owner: Option<TxnId>,
}

impl ReadMark {
    /// The later one wins; equal timestamps of different owners belong to nobody.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match self.timestamp.cmp(&other.timestamp) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal if self.owner == other.owner => self,
            std::cmp::Ordering::Equal => Self { timestamp: self.timestamp, owner: None },
        }
    }
}

#[derive(Clone, Debug)]
struct Segment {
    end: Key,
    mark: ReadMark,
}

/// An exact interval map.
#[derive(Clone, Debug, Default)]
pub struct SpanMap {
    segments: BTreeMap<Key, Segment>,
}

impl SpanMap {
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn add(&mut self, span: &Span, mark: ReadMark) {
        if span.is_empty() {
            return;
        }
        let overlapped = self.take_overlapping(span);
        let mut cursor = span.start.clone();
        for (start, segment) in overlapped {
            if start < span.start {
                self.put(start.clone(), span.start.clone(), segment.mark);
            }
            let from = start.max(span.start.clone());
            let to = segment.end.clone().min(span.end.clone());
            if cursor < from {
                self.put(cursor, from.clone(), mark);
            }
            self.put(from, to.clone(), segment.mark.merge(mark));
            if segment.end > span.end {
                self.put(span.end.clone(), segment.end, segment.mark);
            }
            cursor = to;
        }
        if cursor < span.end {
            self.put(cursor, span.end.clone(), mark);
        }
    }

    pub fn get(&self, key: &[u8]) -> ReadMark {
        match self.segments.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back() {
            Some((_, segment)) if *segment.end > *key => segment.mark,
            _ => ReadMark::default(),
        }
    }

    /// The merged mark of everything in `span`.
    pub fn get_span(&self, span: &Span) -> ReadMark {
        let mut mark = self.get(&span.start);
        if !span.is_empty() {
            for segment in
                self.segments.range(span.start.clone()..span.end.clone()).map(|(_, segment)| segment)
            {
                mark = mark.merge(segment.mark);
            }
        }
        mark
    }

    /// What is known of parts of `span`.
    pub fn within<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = (Span, ReadMark)> + 'a {
        let before = self.segments.range(..span.start.clone()).next_back();
        let inside = self.segments.range(span.start.clone()..span.end.clone().max(span.start.clone()));
        before.into_iter().chain(inside).filter(|(_, segment)| segment.end > span.start).map(
            |(start, segment)| {
                let (start, end) =
                    (start.clone().max(span.start.clone()), segment.end.clone().min(span.end.clone()));
                (Span::new(start, end), segment.mark)
            },
        )
    }

    fn take_overlapping(&mut self, span: &Span) -> Vec<(Key, Segment)> {
        let mut keys: Vec<Key> = Vec::new();
        if let Some((start, segment)) = self.segments.range(..span.start.clone()).next_back()
            && segment.end > span.start
        {
            keys.push(start.clone());
        }
        keys.extend(
            self.segments.range(span.start.clone()..span.end.clone()).map(|(start, _)| start.clone()),
        );
        keys.into_iter().filter_map(|key| self.segments.remove_entry(&key)).collect()
    }

    /// Inserts a segment over free space and joins it with an equal left neighbour.
    fn put(&mut self, start: Key, end: Key, mark: ReadMark) {
        if start >= end {
            return;
        }
        if let Some((_, left)) = self.segments.range_mut(..start.clone()).next_back()
            && left.end == start
            && left.mark == mark
        {
            left.end = end;
            return;
        }
        self.segments.insert(start, Segment { end, mark });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_a_brute_force_model() {
        let mut state = 99_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let key = |at: u64| Key::copy_from_slice(&[at as u8]);
        for _ in 0..200 {
            let mut map = SpanMap::default();
            let mut model = [ReadMark::default(); 32];
            for _ in 0..40 {
                let (a, b) = (random(32), random(33));
                let (from, to) = (a.min(b), a.max(b));
                let owner = [None, Some(TxnId(1)), Some(TxnId(2))][random(3) as usize];
                let mark = ReadMark { timestamp: Timestamp(1 + random(6)), owner };
                map.add(&Span::new(key(from), key(to)), mark);
                for slot in &mut model[from as usize..to as usize] {
                    *slot = slot.merge(mark);
                }
            }
            for (at, expected) in model.iter().enumerate() {
                assert_eq!(map.get(&[at as u8]), *expected);
            }
            let all = map.get_span(&Span::new(key(0), key(32)));
            assert_eq!(all.timestamp, model.iter().map(|mark| mark.timestamp).max().unwrap());
        }
    }
}
