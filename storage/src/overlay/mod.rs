//! Reading an open batch over what is stored.
//!
//! Commands are applied many to a batch, and a later one must see what an earlier one wrote: a resolve that does not
//! see the intent written a moment before would leave it for ever, and only on the replicas that happened to batch this
//! way. So everything that reads while a batch is open reads through [`OpenBatch::over`].

mod iter;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use basalt_base::Key;
use bytes::Bytes;

use self::iter::OverlayIter;
use crate::{EngineIterator, Family, IterOptions, Op, Reader, Result, WriteBatch};

/// A batch that is being filled, with an index over it.
#[derive(Debug, Default)]
pub struct OpenBatch {
    batch: WriteBatch,
    families: [Changes; 3],
}

/// What the batch does to one family.
#[derive(Debug, Default)]
struct Changes {
    /// The last word on single keys; `None` is a deletion.
    entries: BTreeMap<Key, Option<Bytes>>,
    /// Deleted spans, start to end, disjoint: they hide the base, not the entries.
    spans: BTreeMap<Key, Key>,
}

impl OpenBatch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn append(&mut self, batch: WriteBatch) {
        for op in &batch.ops {
            match op {
                Op::Put { family, key, value } => {
                    self.families[*family as usize].entries.insert(key.clone(), Some(value.clone()));
                }
                Op::Delete { family, key } => {
                    self.families[*family as usize].entries.insert(key.clone(), None);
                }
                Op::DeleteRange { family, span } if !span.is_empty() => {
                    self.families[*family as usize].delete_span(&span.start, &span.end);
                }
                Op::DeleteRange { .. } => {}
            }
        }
        self.batch.append(batch);
    }

    pub fn batch(&self) -> &WriteBatch {
        &self.batch
    }

    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Gives the batch away and starts an empty one.
    pub fn take(&mut self) -> WriteBatch {
        std::mem::take(self).batch
    }

    /// `base` as it will be once this batch is written.
    pub fn over<'a>(&'a self, base: &'a dyn Reader) -> Overlay<'a> {
        Overlay { base, open: self }
    }
}

impl Changes {
    fn delete_span(&mut self, start: &Key, end: &Key) {
        let inside: Vec<Key> =
            self.entries.range(start.clone()..end.clone()).map(|(key, _)| key.clone()).collect();
        for key in inside {
            self.entries.remove(&key);
        }
        let (mut start, mut end) = (start.clone(), end.clone());
        // Spans that touch the new one are those that begin at or before its end and end at or after its start.
        let touching: Vec<(Key, Key)> = self
            .spans
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(&end[..])))
            .rev()
            .take_while(|(_, span_end)| **span_end >= start)
            .map(|(span_start, span_end)| (span_start.clone(), span_end.clone()))
            .collect();
        for (span_start, span_end) in touching {
            self.spans.remove(&span_start);
            start = start.min(span_start);
            end = end.max(span_end);
        }
        self.spans.insert(start, end);
    }

    /// The deleted span around `key`.
    fn span_around(&self, key: &[u8]) -> Option<(&Key, &Key)> {
        let (start, end) =
            self.spans.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        (key < &end[..]).then_some((start, end))
    }
}

/// See [`OpenBatch::over`].
pub struct Overlay<'a> {
    base: &'a dyn Reader,
    open: &'a OpenBatch,
}

impl Reader for Overlay<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        let changes = &self.open.families[family as usize];
        if let Some(value) = changes.entries.get(key) {
            return Ok(value.clone());
        }
        if changes.span_around(key).is_some() {
            return Ok(None);
        }
        self.base.get(family, key)
    }

    fn iter<'a>(&'a self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        let changes = &self.open.families[family as usize];
        if changes.entries.is_empty() && changes.spans.is_empty() {
            return self.base.iter(family, options);
        }
        let base = self.base.iter(family, options.clone())?;
        Ok(Box::new(OverlayIter::new(base, changes, options)))
    }
}
