//! The cursor over committed versions, shared by point reads, scans and garbage collection.
//!
//! A step is much cheaper than a seek, and most keys have one or two versions, so old versions are skipped by stepping
//! a few times before seeking. Nothing is allocated after the first few rows.

use basalt_base::{Span, Timestamp};

use super::context::ReadContext;
use super::key::{decode_key, encode_after_into, encode_key_into, is_version_of};
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
        let options = IterOptions { one_key, ..IterOptions::within(span) };
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

    pub fn prev(&mut self) -> Result<()> {
        self.steps += 1;
        self.iter.prev()
    }

    /// Goes to the oldest version of `user_key`, or of the last key before it that has one.
    pub fn seek_oldest(&mut self, user_key: &[u8]) -> Result<()> {
        self.steps += 1;
        encode_after_into(&mut self.target, user_key);
        self.iter.seek_for_prev(&self.target)
    }

    /// No engine key equals a user key, so the last one ≤ it belongs to the key before.
    fn seek_before(&mut self, user_key: &[u8]) -> Result<()> {
        self.steps += 1;
        self.iter.seek_for_prev(user_key)
    }
}
