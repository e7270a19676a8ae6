//! The merge of a base iterator with the changes of an open batch, in both directions.

use std::ops::Bound;

use basalt_base::Key;
use bytes::Bytes;

use super::Changes;
use crate::{EngineIterator, IterOptions, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

pub(super) struct OverlayIter<'a> {
    base: Box<dyn EngineIterator + 'a>,
    changes: &'a Changes,
    lower: Option<Key>,
    upper: Option<Key>,
    direction: Direction,
    /// The next entry of the batch in this direction.
    entry: Option<(&'a Key, &'a Option<Bytes>)>,
    on: On,
}

/// Where the cursor stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Nothing,
    Base,
    Entry,
}

impl<'a> OverlayIter<'a> {
    pub fn new(base: Box<dyn EngineIterator + 'a>, changes: &'a Changes, options: IterOptions) -> Self {
        let (lower, upper) = (options.lower, options.upper);
        Self { base, changes, lower, upper, direction: Direction::Forward, entry: None, on: On::Nothing }
    }

    /// The first entry from `from` upwards within the bounds.
    fn entry_from(&self, from: Bound<&[u8]>) -> Option<(&'a Key, &'a Option<Bytes>)> {
        let from = match (from, &self.lower) {
            (Bound::Included(key) | Bound::Excluded(key), Some(lower)) if key < &lower[..] => {
                Bound::Included(&lower[..])
            }
            (Bound::Unbounded, Some(lower)) => Bound::Included(&lower[..]),
            _ => from,
        };
        let entry = self.changes.entries.range::<[u8], _>((from, Bound::Unbounded)).next()?;
        self.upper.as_ref().is_none_or(|upper| entry.0 < upper).then_some(entry)
    }

    /// The last entry from `from` downwards within the bounds.
    fn entry_back_from(&self, from: Bound<&[u8]>) -> Option<(&'a Key, &'a Option<Bytes>)> {
        let from = match (from, &self.upper) {
            (Bound::Included(key) | Bound::Excluded(key), Some(upper)) if key >= &upper[..] => {
                Bound::Excluded(&upper[..])
            }
            (Bound::Unbounded, Some(upper)) => Bound::Excluded(&upper[..]),
            _ => from,
        };
        let entry = self.changes.entries.range::<[u8], _>((Bound::Unbounded, from)).next_back()?;
        self.lower.as_ref().is_none_or(|lower| entry.0 >= lower).then_some(entry)
    }

    /// Moves both sides past what is hidden, and stands on whichever comes first.
    fn settle(&mut self) -> Result<()> {
        loop {
            self.skip_deleted_spans()?;
            if self.base.gave_up() {
                // What the base has before the batch's next entry is unknown.
                self.on = On::Nothing;
                return Ok(());
            }
            let order = match (self.base.valid(), self.entry) {
                (false, None) => {
                    self.on = On::Nothing;
                    return Ok(());
                }
                (true, None) => std::cmp::Ordering::Less,
                (false, Some(_)) => std::cmp::Ordering::Greater,
                (true, Some((key, _))) => match self.direction {
                    Direction::Forward => self.base.key().cmp(key),
                    Direction::Backward => key[..].cmp(self.base.key()),
                },
            };
            if order.is_lt() {
                self.on = On::Base;
                return Ok(());
            }
            if order.is_eq() {
                // The batch has the last word.
                self.step_base()?;
            }
            let Some((key, value)) = self.entry else { continue };
            if value.is_some() {
                self.on = On::Entry;
                return Ok(());
            }
            self.step_entry(key);
        }
    }

    fn skip_deleted_spans(&mut self) -> Result<()> {
        while self.base.valid() {
            let Some((start, end)) = self.changes.span_around(self.base.key()) else { return Ok(()) };
            match self.direction {
                Direction::Forward => self.base.seek(end)?,
                Direction::Backward => {
                    self.base.seek_for_prev(start)?;
                    if self.base.valid() && self.base.key() == &start[..] {
                        self.base.prev()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn step_base(&mut self) -> Result<()> {
        match self.direction {
            Direction::Forward => self.base.next(),
            Direction::Backward => self.base.prev(),
        }
    }

    fn step_entry(&mut self, past: &Key) {
        self.entry = match self.direction {
            Direction::Forward => self.entry_from(Bound::Excluded(past)),
            Direction::Backward => self.entry_back_from(Bound::Excluded(past)),
        };
    }

    /// Steps off the current position; in the other direction than before, both sides are positioned anew.
    fn advance(&mut self, direction: Direction) -> Result<()> {
        if self.direction != direction {
            let key = self.key().to_vec();
            match direction {
                Direction::Forward => {
                    self.seek(&key)?;
                }
                Direction::Backward => self.seek_for_prev(&key)?,
            }
        }
        match (self.on, self.entry) {
            (On::Base, _) => self.step_base()?,
            (On::Entry, Some((key, _))) => self.step_entry(key),
            _ => {}
        }
        self.settle()
    }
}

impl EngineIterator for OverlayIter<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.direction = Direction::Forward;
        self.base.seek(key)?;
        self.entry = self.entry_from(Bound::Included(key));
        self.settle()
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        self.direction = Direction::Backward;
        self.base.seek_for_prev(key)?;
        self.entry = self.entry_back_from(Bound::Included(key));
        self.settle()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.direction = Direction::Forward;
        self.base.seek_to_first()?;
        self.entry = self.entry_from(Bound::Unbounded);
        self.settle()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.direction = Direction::Backward;
        self.base.seek_to_last()?;
        self.entry = self.entry_back_from(Bound::Unbounded);
        self.settle()
    }

    fn next(&mut self) -> Result<()> {
        self.advance(Direction::Forward)
    }

    fn prev(&mut self) -> Result<()> {
        self.advance(Direction::Backward)
    }

    fn valid(&self) -> bool {
        self.on != On::Nothing
    }

    fn gave_up(&self) -> bool {
        self.base.gave_up()
    }

    fn key(&self) -> &[u8] {
        match self.on {
            On::Entry => self.entry.expect("standing on it").0,
            On::Base | On::Nothing => self.base.key(),
        }
    }

    fn value(&self) -> &[u8] {
        match self.on {
            On::Entry => {
                self.entry.and_then(|(_, value)| value.as_deref()).expect("settle stops at values only")
            }
            On::Base | On::Nothing => self.base.value(),
        }
    }
}
