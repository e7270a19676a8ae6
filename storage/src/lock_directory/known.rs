//! The set of lock keys, bounded.

use std::{collections::BTreeSet, ops::Bound};

use basalt_base::Key;

use crate::{Engine, Family, IterOptions, Op, Result};

/// Deletions within the unlisted span between two looks at where it begins now.
const DELETES_PER_PROBE: u64 = 1024;

pub(super) struct Known {
    /// Copies of their own: a slice of a command would keep the whole command in memory.
    listed: BTreeSet<Box<[u8]>>,
    keys_max: usize,
    unlisted: Option<Unlisted>,
    /// Batches announced and not yet written.
    in_flight: usize,
}

/// Which locks there may be in a span.
pub(super) enum InSpan {
    Nothing,
    /// None but these.
    Listed(Vec<Box<[u8]>>),
    Unknown,
}

/// Covers the locks that had no room in the list.
struct Unlisted {
    first: Box<[u8]>,
    last: Box<[u8]>,
    puts: u64,
    deletes: u64,
    deletes_since_probe: u64,
}

impl Known {
    pub fn load(engine: &dyn Engine, keys_max: usize) -> Result<Self> {
        let mut known = Self { listed: BTreeSet::new(), keys_max, unlisted: None, in_flight: 0 };
        let mut iter = engine.iter(Family::Lock, IterOptions::default())?;
        iter.seek_to_first()?;
        while iter.valid() && known.listed.len() < keys_max {
            known.listed.insert(iter.key().into());
            iter.next()?;
        }
        if iter.valid() {
            let first: Box<[u8]> = iter.key().into();
            iter.seek_to_last()?;
            known.cover(&first);
            known.cover(iter.key());
        }
        Ok(known)
    }

    /// What there may be in `lower..upper`, with the keys if all are listed and at most `listed_max`.
    pub fn in_span(&self, lower: Option<&[u8]>, upper: Option<&[u8]>, listed_max: usize) -> InSpan {
        if self.listed.is_empty() && self.unlisted.is_none() {
            return InSpan::Nothing;
        }
        if let (Some(lower), Some(upper)) = (lower, upper)
            && lower >= upper
        {
            return InSpan::Nothing;
        }
        let unlisted = self.unlisted.as_ref().is_some_and(|unlisted| {
            lower.is_none_or(|lower| lower <= &*unlisted.last)
                && upper.is_none_or(|upper| upper > &*unlisted.first)
        });
        if unlisted {
            return InSpan::Unknown;
        }
        let above = lower.map_or(Bound::Unbounded, Bound::Included);
        let below = upper.map_or(Bound::Unbounded, Bound::Excluded);
        let mut listed = self.listed.range::<[u8], _>((above, below));
        let keys: Vec<_> = listed.by_ref().take(listed_max).cloned().collect();
        match (keys.is_empty(), listed.next().is_some()) {
            (_, true) => InSpan::Unknown,
            (true, false) => InSpan::Nothing,
            (false, false) => InSpan::Listed(keys),
        }
    }

    /// Before a batch is written: names what it puts.
    pub fn before(&mut self, changes: &[Op]) {
        self.in_flight += 1;
        for op in changes {
            if let Op::Put { key, .. } = op {
                self.put(key);
            }
        }
    }

    /// After a batch was written: follows it, operation by operation, because a later one has the last word.
    pub fn after(&mut self, changes: &[Op]) {
        self.in_flight -= 1;
        let mut deleted = false;
        for op in changes {
            match op {
                Op::Put { key, .. } if deleted => self.put(key),
                Op::Put { .. } => {}
                Op::Delete { key, .. } => {
                    deleted = true;
                    if !self.listed.remove(&**key) {
                        self.note_deletes(key, key);
                    }
                }
                Op::DeleteRange { span, .. } => {
                    deleted = true;
                    self.forget_listed(&span.start, &span.end);
                    if span.start < span.end {
                        self.note_deletes(&span.start, &span.end);
                    }
                }
            }
        }
    }

    fn put(&mut self, key: &[u8]) {
        if self.listed.contains(key) {
            return;
        }
        if self.listed.len() < self.keys_max {
            self.listed.insert(key.into());
        } else {
            self.cover(key);
        }
    }

    fn cover(&mut self, key: &[u8]) {
        let unlisted = self.unlisted.get_or_insert_with(|| Unlisted {
            first: key.into(),
            last: key.into(),
            puts: 0,
            deletes: 0,
            deletes_since_probe: 0,
        });
        unlisted.puts += 1;
        if key < &*unlisted.first {
            unlisted.first = key.into();
        }
        if key > &*unlisted.last {
            unlisted.last = key.into();
        }
    }

    fn forget_listed(&mut self, start: &[u8], end: &[u8]) {
        if start >= end {
            return;
        }
        let gone: Vec<Box<[u8]>> =
            self.listed.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end))).cloned().collect();
        for key in gone {
            self.listed.remove(&key);
        }
    }

    /// A deletion of unlisted keys: a single one, or a span that counts as many as it takes for a look.
    fn note_deletes(&mut self, first: &Key, last: &Key) {
        if let Some(unlisted) = &mut self.unlisted
            && **first <= *unlisted.last
            && **last >= *unlisted.first
        {
            let deletes = if first == last { 1 } else { DELETES_PER_PROBE };
            unlisted.deletes += deletes;
            unlisted.deletes_since_probe += deletes;
        }
    }

    /// Whether enough has gone from the unlisted span to look where it begins now. Not while a batch is on its way: its
    /// keys are covered and not yet to be seen.
    pub fn wants_probe(&self) -> bool {
        let due = |unlisted: &Unlisted| {
            unlisted.deletes_since_probe >= DELETES_PER_PROBE
                || (unlisted.deletes_since_probe > 0 && unlisted.deletes >= unlisted.puts)
        };
        self.in_flight == 0 && self.unlisted.as_ref().is_some_and(due)
    }

    /// Moves the front of the unlisted span to the first lock that the engine still has in it.
    pub fn probe(&mut self, engine: &dyn Engine) -> Result<()> {
        let Some(unlisted) = &mut self.unlisted else { return Ok(()) };
        let lower = Some(Key::copy_from_slice(&unlisted.first));
        let mut iter = engine.iter(Family::Lock, IterOptions { lower, ..IterOptions::default() })?;
        iter.seek(&unlisted.first)?;
        if iter.valid() && *iter.key() <= *unlisted.last {
            unlisted.first = iter.key().into();
            unlisted.deletes_since_probe = 0;
        } else {
            self.unlisted = None;
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn listed(&self) -> usize {
        self.listed.len()
    }

    #[cfg(test)]
    pub fn has_unlisted(&self) -> bool {
        self.unlisted.is_some()
    }
}
