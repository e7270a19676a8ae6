//! Cursors over the two families, shared by point reads, scans and garbage collection.
//!
//! A step is much cheaper than a seek, and most keys have one or two versions, so both skip old versions by stepping a
//! few times before they seek. Neither allocates after its first few rows.

use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use super::context::{FoundLock, ReadContext};
use super::key::{decode_key, encode_after_into, encode_key_into, is_version_of};
use super::lock::{LockRecord, Strength, decode_lock_key, encode_before_locks};
use super::value::decode_value;
use crate::{EngineIterator, Family, IterOptions, Reader, Result};

/// Steps over versions of one key before a seek.
const STEPS_BEFORE_SEEK: usize = if cfg!(test) { 2 } else { 6 };

/// What a key's versions hold for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visible {
    Nothing,
    At(Timestamp),
    Uncertain { ts: Timestamp, local_ts: Timestamp },
}

/// A cursor over the data family.
pub(super) struct VersionCursor<'r> {
    iter: Box<dyn EngineIterator + 'r>,
    target: Vec<u8>,
    /// Steps and seeks done; what a scan pays for.
    pub steps: u64,
}

impl<'r> VersionCursor<'r> {
    pub fn new(reader: &'r dyn Reader, span: &Span, one_key: bool) -> Result<Self> {
        let options = IterOptions { lower: Some(span.start.clone()), upper: Some(span.end.clone()), one_key };
        Ok(Self { iter: reader.iter(Family::Data, options)?, target: Vec::new(), steps: 0 })
    }

    pub fn valid(&self) -> bool {
        self.iter.valid()
    }

    /// User key and timestamp of the version under the cursor.
    pub fn key(&self) -> Result<(&[u8], Timestamp)> {
        decode_key(self.iter.key())
    }

    pub fn engine_key(&self) -> &[u8] {
        self.iter.key()
    }

    pub fn value(&self) -> &[u8] {
        self.iter.value()
    }

    pub fn at(&self, user_key: &[u8]) -> bool {
        self.iter.valid() && is_version_of(self.iter.key(), user_key)
    }

    pub fn seek_to_first(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.seek_to_first()
    }

    pub fn seek_to_last(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.seek_to_last()
    }

    pub fn seek_version(&mut self, user_key: &[u8], ts: Timestamp) -> Result<()> {
        self.steps += 1;
        encode_key_into(&mut self.target, user_key, ts);
        self.iter.seek(&self.target)
    }

    pub fn next(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.next()
    }

    /// Standing at some version of `user_key`: goes to its newest version ≤ `ts`; false if it has none.
    pub fn descend_to(&mut self, user_key: &[u8], ts: Timestamp) -> Result<bool> {
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.at(user_key) {
                return Ok(false);
            }
            if self.key()?.1 <= ts {
                return Ok(true);
            }
            self.next()?;
        }
        self.seek_version(user_key, ts)?;
        Ok(self.at(user_key))
    }

    /// Standing at some version of `user_key`: finds what `context` sees, and stands on it if it is `At`.
    pub fn find_visible(&mut self, user_key: &[u8], context: &ReadContext<'_>) -> Result<Visible> {
        let mut found = self.descend_to(user_key, context.horizon())?;
        while found {
            let ts = self.key()?.1;
            if ts <= context.read_ts {
                return Ok(Visible::At(ts));
            }
            let local_ts = decode_value(self.value())?.local_ts.unwrap_or(ts);
            if context.uncertain(ts, local_ts) {
                return Ok(Visible::Uncertain { ts, local_ts });
            }
            self.next()?;
            found = self.at(user_key);
        }
        Ok(Visible::Nothing)
    }

    /// Goes to the first version of the next key.
    pub fn skip_key(&mut self, user_key: &[u8]) -> Result<()> {
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.at(user_key) {
                return Ok(());
            }
            self.next()?;
        }
        if self.at(user_key) {
            self.steps += 1;
            encode_after_into(&mut self.target, user_key);
            self.iter.seek(&self.target)?;
        }
        Ok(())
    }

    /// As [`Self::find_visible`] for a cursor that came from the right: it stands at the *oldest* version, and goes to
    /// the key before. The visible value is copied to `value`.
    pub fn find_visible_reverse(
        &mut self,
        user_key: &[u8],
        context: &ReadContext<'_>,
        value: &mut Vec<u8>,
    ) -> Result<Visible> {
        let mut visible = Visible::Nothing;
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.at(user_key) {
                return Ok(visible);
            }
            let ts = self.key()?.1;
            if ts > context.horizon() {
                self.skip_key_reverse(user_key)?;
                return Ok(visible);
            }
            if ts <= context.read_ts {
                value.clear();
                value.extend_from_slice(self.iter.value());
                visible = Visible::At(ts);
            } else {
                let local_ts = decode_value(self.value())?.local_ts.unwrap_or(ts);
                if context.uncertain(ts, local_ts) {
                    visible = Visible::Uncertain { ts, local_ts };
                }
            }
            self.prev()?;
        }
        if !self.at(user_key) {
            return Ok(visible);
        }
        // Many versions: find the right one from the front, then leave the key by a seek.
        self.seek_version(user_key, context.horizon())?;
        visible = self.find_visible(user_key, context)?;
        if let Visible::At(_) = visible {
            value.clear();
            value.extend_from_slice(self.iter.value());
        }
        self.seek_before(user_key)?;
        Ok(visible)
    }

    /// Goes to the oldest version of the key before.
    pub fn skip_key_reverse(&mut self, user_key: &[u8]) -> Result<()> {
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.at(user_key) {
                return Ok(());
            }
            self.prev()?;
        }
        if self.at(user_key) { self.seek_before(user_key) } else { Ok(()) }
    }

    fn prev(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.prev()
    }

    /// No engine key equals a user key, so the last one ≤ it belongs to the key before.
    fn seek_before(&mut self, user_key: &[u8]) -> Result<()> {
        self.steps += 1;
        self.iter.seek_for_prev(user_key)
    }
}

/// A cursor over the intents of the lock family; other locks do not concern readers.
pub(super) struct IntentCursor<'r> {
    iter: Box<dyn EngineIterator + 'r>,
    reverse: bool,
    /// User key of the intent under the cursor; kept apart because a merge compares it for every row.
    key: Vec<u8>,
    txn_id: TxnId,
    valid: bool,
}

/// What an intent means to a reader.
pub(super) enum IntentView {
    /// Foreign, and the reader cannot step over it.
    Conflict(FoundLock),
    /// The reader's own: it sees this, whatever the data family holds.
    Own {
        value: Option<Bytes>,
        ts: Timestamp,
    },
    Invisible,
}

impl<'r> IntentCursor<'r> {
    /// Stands at the first intent of `span`, or the last if `reverse`.
    pub fn new(reader: &'r dyn Reader, span: &Span, reverse: bool, one_key: bool) -> Result<Self> {
        let options = IterOptions { lower: Some(span.start.clone()), upper: Some(span.end.clone()), one_key };
        let iter = reader.iter(Family::Lock, options)?;
        let mut cursor = Self { iter, reverse, key: Vec::new(), txn_id: TxnId(0), valid: false };
        if reverse {
            cursor.iter.seek_to_last()?;
        } else if one_key {
            cursor.iter.seek(&encode_before_locks(&span.start))?;
        } else {
            cursor.iter.seek(&span.start)?;
        }
        cursor.settle()?;
        Ok(cursor)
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

    pub fn view(&self, context: &ReadContext<'_>) -> Result<IntentView> {
        if let Some(own) = context.txn.filter(|own| own.id == self.txn_id) {
            let record = LockRecord::decode(self.txn_id, Strength::Intent, self.iter.value())?;
            if record.epoch != own.epoch {
                return Ok(IntentView::Invisible);
            }
            return Ok(match record.visible(own.read_seq, own.ignored) {
                Some(value) => IntentView::Own { value: value.clone(), ts: record.write_ts },
                None => IntentView::Invisible,
            });
        }
        let lock = LockRecord::decode_header(self.txn_id, Strength::Intent, self.iter.value())?;
        if lock.write_ts <= context.read_ts || context.uncertain(lock.write_ts, lock.local_ts) {
            return Ok(IntentView::Conflict(FoundLock { key: Key::copy_from_slice(&self.key), lock }));
        }
        Ok(IntentView::Invisible)
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
        self.valid = false;
        Ok(())
    }
}
