//! Which keys a transaction has read or locked, in bounded memory.
//!
//! Up to a limit the keys are remembered one by one. Beyond, the closest neighbours (those with the longest common
//! prefix) are joined to spans. A span covers keys that the transaction never touched: a refresh may then fail
//! needlessly and a clean-up looks at more keys, but nothing is missed.

use basalt_base::{Key, Span, keys::prefix_end};

#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    points: Vec<Key>,
    spans: Vec<Span>,
    limit: usize,
    /// Grows with every addition.
    version: u64,
}

impl Footprint {
    pub(crate) fn new(limit: usize) -> Self {
        Self { points: Vec::new(), spans: Vec::new(), limit: limit.max(16), version: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.points.is_empty() && self.spans.is_empty()
    }

    /// Entries now held (keys may be counted twice until the next condensation).
    pub(crate) fn len(&self) -> usize {
        self.points.len() + self.spans.len()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn clear(&mut self) {
        self.points.clear();
        self.spans.clear();
        self.version += 1;
    }

    pub(crate) fn add_key(&mut self, key: &Key) {
        self.version += 1;
        if self.points.last() == Some(key) {
            return;
        }
        self.points.push(key.clone());
        self.condense_if_needed();
    }

    pub(crate) fn add_span(&mut self, span: &Span) {
        if span.is_empty() {
            return;
        }
        self.version += 1;
        if let Some(last) = self.spans.last_mut() {
            // Pages of one scan adjoin.
            if last.end == span.start {
                last.end = span.end.clone();
                return;
            }
            if last.start == span.end {
                last.start = span.start.clone();
                return;
            }
            if last.start <= span.start && span.end <= last.end {
                return;
            }
        }
        self.spans.push(span.clone());
        self.condense_if_needed();
    }

    /// Ascending keys without repetition and ascending disjoint spans; a key in a span is dropped.
    pub(crate) fn normalise(&mut self) {
        self.points.sort_unstable();
        self.points.dedup();
        self.spans.sort_unstable();
        self.spans.dedup_by(|next, kept| {
            let joins = next.start <= kept.end;
            if joins && next.end > kept.end {
                kept.end = next.end.clone();
            }
            joins
        });
        let spans = &self.spans;
        self.points.retain(|key| {
            let after = spans.partition_point(|span| span.start <= *key);
            after == 0 || !spans[after - 1].contains(key)
        });
    }

    pub(crate) fn points(&self) -> &[Key] {
        &self.points
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Everything as ascending spans.
    pub(crate) fn all_spans(&mut self) -> Vec<Span> {
        self.normalise();
        let mut all: Vec<Span> = self.points.iter().map(|key| Span::prefix(key.clone())).collect();
        all.extend(self.spans.iter().cloned());
        all.sort_unstable();
        all
    }

    /// Joins neighbours until at most `spans_max` spans are left, if there are more than `entries_max` entries.
    pub(crate) fn coalesce(&mut self, entries_max: usize, spans_max: usize) {
        if self.len() > entries_max {
            let all = self.all_spans();
            self.points.clear();
            self.spans = join_closest(all, spans_max.max(1));
            self.version += 1;
        }
    }

    /// Takes out what touches any of `others` (ascending, disjoint spans).
    pub(crate) fn split_off(&mut self, others: &[Span]) -> Self {
        let touches = |start: &Key, end: &Key| {
            let next = others.partition_point(|other| other.end <= *start);
            others.get(next).is_some_and(|other| other.start < *end)
        };
        let mut taken = Self::new(self.limit);
        if others.is_empty() {
            return taken;
        }
        taken.points.extend(self.points.extract_if(.., |key| touches(key, &prefix_end(key))));
        taken.spans.extend(self.spans.extract_if(.., |span| touches(&span.start, &span.end)));
        self.version += 1;
        taken
    }

    /// The smallest span that covers everything.
    pub(crate) fn hull(&self) -> Option<Span> {
        let start = self.points.iter().chain(self.spans.iter().map(|span| &span.start)).min()?.clone();
        let point_end = self.points.iter().max().map(|key| prefix_end(key));
        let end = self.spans.iter().map(|span| span.end.clone()).chain(point_end).max()?;
        Some(Span::new(start, end))
    }

    fn condense_if_needed(&mut self) {
        if self.len() <= self.limit {
            return;
        }
        self.normalise();
        if self.len() > self.limit / 2 {
            let all = self.all_spans();
            self.points.clear();
            self.spans = join_closest(all, (self.limit / 10).max(4));
        }
    }
}

/// Joins neighbours until `keep` spans are left. `spans` is ascending and disjoint.
fn join_closest(spans: Vec<Span>, keep: usize) -> Vec<Span> {
    if spans.len() <= keep {
        return spans;
    }
    // The gaps with the shortest common prefix separate tables and distant rows: those stay.
    let mut gaps: Vec<(usize, usize)> = spans
        .windows(2)
        .enumerate()
        .map(|(index, pair)| (common_prefix(&pair[0].start, &pair[1].start), index))
        .collect();
    gaps.sort_unstable();
    let mut separators: Vec<usize> = gaps[..keep - 1].iter().map(|&(_, index)| index).collect();
    separators.sort_unstable();
    let mut separators = separators.into_iter().peekable();
    let mut joined: Vec<Span> = Vec::with_capacity(keep);
    let mut open: Option<Span> = None;
    for (index, span) in spans.into_iter().enumerate() {
        match &mut open {
            Some(open) => open.end = span.end,
            None => open = Some(span),
        }
        if separators.next_if_eq(&index).is_some() {
            joined.extend(open.take());
        }
    }
    joined.extend(open);
    joined
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: u8, row: u32) -> Key {
        let mut key = vec![0x10, table];
        key.extend(row.to_be_bytes());
        Key::from(key)
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_missed() {
        let mut footprint = Footprint::new(100);
        for row in 0..10_000 {
            footprint.add_key(&key((row % 3) as u8, row * 7));
            assert!(footprint.len() <= 101);
        }
        let spans = footprint.all_spans();
        for row in 0..10_000 {
            let key = key((row % 3) as u8, row * 7);
            assert!(spans.iter().any(|span| span.contains(&key)));
        }
        assert!(spans.is_sorted() && spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
        // No span crosses from one table into another.
        assert!(spans.iter().all(|span| span.start[1] == span.end[1]));
    }

    #[test]
    fn coalescing_leaves_few_spans_that_cover_everything() {
        let mut footprint = Footprint::new(1_000);
        for row in 0..90 {
            footprint.add_key(&key((row % 3) as u8, row * 7));
        }
        footprint.coalesce(90, 4);
        assert_eq!(footprint.points().len(), 90);
        footprint.coalesce(89, 4);
        assert!(footprint.points().is_empty());
        assert_eq!(footprint.spans().len(), 4);
        for row in 0..90 {
            let key = key((row % 3) as u8, row * 7);
            assert!(footprint.spans().iter().any(|span| span.contains(&key)));
        }
        footprint.coalesce(0, 1);
        assert_eq!(footprint.spans(), &[footprint.hull().unwrap()]);
    }

    #[test]
    fn what_touches_others_is_split_off() {
        let mut footprint = Footprint::new(100);
        for row in [1, 3, 5, 9] {
            footprint.add_key(&key(1, row));
        }
        footprint.add_span(&Span::new(key(2, 0), key(2, 4)));
        footprint.add_span(&Span::new(key(2, 6), key(2, 8)));
        let others = [Span::prefix(key(1, 3)), Span::new(key(1, 5), key(1, 9)), Span::prefix(key(2, 3))];
        let taken = footprint.split_off(&others);
        assert_eq!(taken.points(), &[key(1, 3), key(1, 5)]);
        assert_eq!(taken.spans(), &[Span::new(key(2, 0), key(2, 4))]);
        assert_eq!(footprint.points(), &[key(1, 1), key(1, 9)]);
        assert_eq!(footprint.spans(), &[Span::new(key(2, 6), key(2, 8))]);
    }

    #[test]
    fn pages_of_a_scan_become_one_span() {
        let mut footprint = Footprint::new(100);
        footprint.add_span(&Span::new(key(1, 0), key(1, 5)));
        footprint.add_span(&Span::new(key(1, 5), key(1, 9)));
        footprint.add_key(&key(1, 7));
        assert_eq!(footprint.all_spans(), vec![Span::new(key(1, 0), key(1, 9))]);
        assert_eq!(footprint.hull(), Some(Span::new(key(1, 0), key(1, 9))));
    }
}
