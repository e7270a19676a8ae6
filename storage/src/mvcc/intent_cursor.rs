//! The cursor over provisional values, for readers. Other locks do not concern them.
//!
//! A transaction that wrote much leaves as many deleted entries in the lock family, and a cursor that looks for the next
//! intent steps over all of them: a page of a scan would pay for the whole table behind it, and so would the next page.
//! So the cursor gives up after a few deleted entries and then works *window by window*: each window ends a little
//! behind the row that the scan stands at, so that what is passed is in proportion to the rows returned. A point
//! read looks at its key alone and never passes another key's entries.

use basalt_base::keys::prefix_end;
use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use super::context::{FinishedTxn, FoundLock, ReadContext};
use super::cursor::VersionCursor;
use super::lock::{LockRecord, Strength, decode_lock_key, encode_before_locks};
use super::resolve::came_too_late;
use crate::{EngineIterator, Family, IterOptions, Reader, Result};

/// Versions between the row that needs a new window and the window's end; doubles from window to window.
const WINDOW_MIN: usize = 16;
const WINDOW_MAX: usize = 1_024;

/// See the module's documentation.
pub(super) struct IntentCursor<'r> {
    reader: &'r dyn Reader,
    span: Span,
    iter: Box<dyn EngineIterator + 'r>,
    reverse: bool,
    /// User key of the intent under the cursor; kept apart because a merge compares it for every row.
    key: Vec<u8>,
    txn_id: TxnId,
    valid: bool,
    /// Where the part of the span begins (in reverse: ends) that `iter` does not cover.
    beyond: Option<Key>,
    /// Versions looked ahead for the next window.
    window: usize,
    /// Steps and seeks among the versions, for windows.
    pub steps: u64,
}

/// What an intent means to a reader.
pub(super) enum IntentView {
    /// Foreign, and the reader cannot step over it.
    Conflict(FoundLock),
    /// Of the reader or of an ended transaction: it sees this, whatever the data family holds.
    Value {
        value: Option<Bytes>,
        ts: Timestamp,
    },
    /// Committed, perhaps before the reader began.
    Uncertain {
        ts: Timestamp,
        local_ts: Timestamp,
    },
    Invisible,
}

impl<'r> IntentCursor<'r> {
    /// Looks at one key.
    pub fn of_key(reader: &'r dyn Reader, key: &Key) -> Result<Self> {
        let span = Span::prefix(key.clone());
        let iter = reader.iter(Family::Lock, IterOptions { one_key: true, ..IterOptions::within(&span) })?;
        let mut cursor = Self::standing_nowhere(reader, span, iter, false);
        cursor.iter.seek(&encode_before_locks(key))?;
        cursor.settle()?;
        Ok(cursor)
    }

    /// Stands at the first intent of `span`, or the last if `reverse`, unless that takes passing more than `skips_max`
    /// deleted entries: see [`Self::know`].
    pub fn new(reader: &'r dyn Reader, span: &Span, reverse: bool, skips_max: u64) -> Result<Self> {
        let options = IterOptions { skips_max: Some(skips_max), ..IterOptions::within(span) };
        let iter = reader.iter(Family::Lock, options)?;
        let mut cursor = Self::standing_nowhere(reader, span.clone(), iter, reverse);
        if reverse { cursor.iter.seek_to_last() } else { cursor.iter.seek(&span.start) }?;
        cursor.settle()?;
        Ok(cursor)
    }

    fn standing_nowhere(
        reader: &'r dyn Reader,
        span: Span,
        iter: Box<dyn EngineIterator + 'r>,
        reverse: bool,
    ) -> Self {
        let (key, txn_id, valid, beyond) = (Vec::new(), TxnId(0), false, None);
        Self { reader, span, iter, reverse, key, txn_id, valid, beyond, window: WINDOW_MIN, steps: 0 }
    }

    pub fn valid(&self) -> bool {
        self.valid
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn advance(&mut self) -> Result<()> {
        self.step()?;
        self.settle()
    }

    /// Makes sure that every intent that comes before the row at `row`, or with it, is known; without a row, that all
    /// of the span's are. The cursor may be valid afterwards.
    pub fn know(&mut self, row: Option<&[u8]>) -> Result<()> {
        while !self.valid
            && let Some(beyond) = &self.beyond
            && row.is_none_or(|row| if self.reverse { *row < **beyond } else { *row >= **beyond })
        {
            let beyond = beyond.clone();
            self.open_window(beyond, row)?;
        }
        Ok(())
    }

    pub fn view(&self, context: &ReadContext<'_>) -> Result<IntentView> {
        if let Some(own) = context.txn.filter(|own| own.id == self.txn_id) {
            let record = LockRecord::decode(self.txn_id, Strength::Intent, self.iter.value())?;
            if record.epoch != own.epoch {
                return Ok(IntentView::Invisible);
            }
            return Ok(match record.visible(own.read_seq, own.ignored) {
                Some(value) => IntentView::Value { value: value.clone(), ts: record.write_ts },
                None => IntentView::Invisible,
            });
        }
        if let Some(finished) = context.finished.and_then(|finished| finished.get(&self.txn_id)) {
            return self.view_of_finished(finished, context);
        }
        let lock = LockRecord::decode_header(self.txn_id, Strength::Intent, self.iter.value())?;
        if lock.first_ts <= context.read_ts || context.uncertain(lock.first_ts, lock.local_ts) {
            return Ok(IntentView::Conflict(FoundLock { key: Key::copy_from_slice(&self.key), lock }));
        }
        Ok(IntentView::Invisible)
    }

    /// What resolving the intent would leave, as the reader would see it. Nobody else has written the key since, unless the
    /// intent itself came too late.
    fn view_of_finished(&self, finished: &FinishedTxn, context: &ReadContext<'_>) -> Result<IntentView> {
        let Some(commit_ts) = finished.commit_ts else { return Ok(IntentView::Invisible) };
        let record = LockRecord::decode(self.txn_id, Strength::Intent, self.iter.value())?;
        if record.epoch != finished.epoch {
            return Ok(IntentView::Invisible);
        }
        let Some(value) = record.visible(u32::MAX, &finished.ignored) else {
            return Ok(IntentView::Invisible);
        };
        let is_above = record.write_ts > commit_ts;
        if is_above
            && came_too_late(self.reader, &Key::copy_from_slice(&self.key), record.write_ts, commit_ts)?
        {
            return Ok(IntentView::Invisible);
        }
        let local_ts = record.local_ts.min(commit_ts);
        Ok(if context.uncertain(commit_ts, local_ts) {
            IntentView::Uncertain { ts: commit_ts, local_ts }
        } else if commit_ts > context.read_ts {
            IntentView::Invisible
        } else {
            IntentView::Value { value: value.clone(), ts: commit_ts }
        })
    }

    fn open_window(&mut self, beyond: Key, row: Option<&[u8]>) -> Result<()> {
        let far = row.map(|row| self.look_ahead(row)).transpose()?;
        self.window = (2 * self.window).min(WINDOW_MAX);
        let window = if self.reverse {
            Span::new(far.clone().unwrap_or_else(|| self.span.start.clone()), beyond)
        } else {
            Span::new(beyond, far.clone().unwrap_or_else(|| self.span.end.clone()))
        };
        // Within its bounds the cursor passes whatever is there.
        self.iter = self.reader.iter(Family::Lock, IterOptions::within(&window))?;
        self.beyond = far;
        if self.reverse { self.iter.seek_to_last() } else { self.iter.seek(&window.start) }?;
        self.settle()
    }

    /// The user key some versions behind (in reverse: before) `row`, as the end (start) of a window with `row` in it.
    fn look_ahead(&mut self, row: &[u8]) -> Result<Key> {
        let mut versions = VersionCursor::new(self.reader, &self.span, false)?;
        let mut far = Key::copy_from_slice(row);
        if self.reverse {
            versions.seek_oldest(row)?;
            for _ in 0..self.window {
                if !versions.valid() {
                    break;
                }
                far = Key::copy_from_slice(versions.key()?.0);
                versions.prev()?;
            }
        } else {
            versions.seek_version(row, Timestamp::MAX)?;
            for _ in 0..self.window {
                if !versions.valid() {
                    break;
                }
                far = Key::copy_from_slice(versions.key()?.0);
                versions.next()?;
            }
            far = prefix_end(&far).min(self.span.end.clone());
        }
        self.steps += versions.steps;
        Ok(far)
    }

    fn step(&mut self) -> Result<()> {
        if self.reverse { self.iter.prev() } else { self.iter.next() }
    }

    fn settle(&mut self) -> Result<()> {
        while self.iter.valid() {
            let (key, strength, txn_id) = decode_lock_key(self.iter.key())?;
            if strength == Strength::Intent {
                self.key.clear();
                self.key.extend_from_slice(key);
                self.txn_id = txn_id;
                self.valid = true;
                return Ok(());
            }
            self.step()?;
        }
        if self.iter.gave_up() {
            // Behind the last intent seen everything is unknown.
            self.beyond = Some(match (self.valid, self.reverse) {
                (true, false) => prefix_end(&self.key),
                (true, true) => Key::copy_from_slice(&self.key),
                (false, false) => self.span.start.clone(),
                (false, true) => self.span.end.clone(),
            });
        }
        self.valid = false;
        Ok(())
    }
}
