//! Garbage collection below a threshold `T`: of each key the newest version ≤ `T` stays, unless it is a tombstone;
//! everything older goes. Reads above `T` see the same before and after.
//!
//! A tombstone goes last: as long as an older version is there, dropping the tombstone would bring it back.

use basalt_base::{Key, Span, Timestamp};

use super::cursor::VersionCursor;
use super::value::decode_value;
use crate::{Family, Reader, Result, WriteBatch};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcOutcome {
    pub deleted: usize,
    /// Engine bytes of what was deleted.
    pub bytes: usize,
    /// Start of what is left.
    pub resume: Option<Key>,
}

/// Deletes at most about `max` versions.
pub fn gc(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    span: &Span,
    threshold: Timestamp,
    max: usize,
) -> Result<GcOutcome> {
    let mut outcome = GcOutcome::default();
    if span.is_empty() {
        return Ok(outcome);
    }
    let mut versions = VersionCursor::new(reader, span, false)?;
    versions.seek_to_first()?;
    let mut key = Vec::new();
    while versions.valid() {
        key.clear();
        key.extend_from_slice(versions.key()?.0);
        if outcome.deleted >= max {
            outcome.resume = Some(Key::from(key));
            return Ok(outcome);
        }
        if !versions.descend_to(&key, threshold)? {
            continue;
        }
        let newest_bytes = versions.engine_key().len() + versions.value().len();
        let is_tombstone = decode_value(versions.value())?.payload.is_none();
        let tombstone = is_tombstone.then(|| Key::copy_from_slice(versions.engine_key()));
        versions.next()?;
        while versions.at(&key) {
            if outcome.deleted >= max {
                outcome.resume = Some(Key::from(key));
                return Ok(outcome);
            }
            outcome.deleted += 1;
            outcome.bytes += versions.engine_key().len() + versions.value().len();
            batch.delete(Family::Data, Key::copy_from_slice(versions.engine_key()));
            versions.next()?;
        }
        if let Some(tombstone) = tombstone {
            outcome.deleted += 1;
            outcome.bytes += newest_bytes;
            batch.delete(Family::Data, tombstone);
        }
    }
    Ok(outcome)
}
