//! Read refresh: did anything foreign change in a span between two timestamps?

use basalt_base::{Key, Span, Timestamp, TxnId};

use super::cursor::VersionCursor;
use super::lock::{LockRecord, Strength, decode_lock_key};
use crate::{Family, IterOptions, Reader, Result};

/// The first foreign change found; one is enough to fail a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignChange {
    /// Something committed (a tombstone counts).
    Version { key: Key, ts: Timestamp },
    /// A provisional value at or below the new timestamp, which may commit there.
    Intent { key: Key, lock: LockRecord },
}

/// Looks for foreign versions with a timestamp in `(from, to]` and foreign intents at or below `to`.
///
/// Intents at or below `from` count as well: the read at `from` would have met them, so they should not exist, and if
/// they do the refresh must not succeed.
pub fn has_foreign_change(
    reader: &dyn Reader,
    span: &Span,
    from: Timestamp,
    to: Timestamp,
    own: Option<TxnId>,
) -> Result<Option<ForeignChange>> {
    if span.is_empty() {
        return Ok(None);
    }
    let options = IterOptions::within(span);
    let mut locks = reader.iter(Family::Lock, options)?;
    locks.seek(&span.start)?;
    while locks.valid() {
        let (key, strength, holder) = decode_lock_key(locks.key())?;
        if strength == Strength::Intent && Some(holder) != own {
            let lock = LockRecord::decode_header(holder, strength, locks.value())?;
            if lock.first_ts <= to {
                return Ok(Some(ForeignChange::Intent { key: Key::copy_from_slice(key), lock }));
            }
        }
        locks.next()?;
    }
    let mut versions = VersionCursor::new(reader, span, false)?;
    versions.seek_to_first()?;
    let mut key = Vec::new();
    while versions.valid() {
        key.clear();
        key.extend_from_slice(versions.key()?.0);
        if versions.descend_to(&key, to)? {
            let ts = versions.key()?.1;
            if ts > from {
                return Ok(Some(ForeignChange::Version { key: Key::from(key), ts }));
            }
            versions.skip_key(&key)?;
        }
    }
    Ok(None)
}
