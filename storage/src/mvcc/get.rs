//! Point reads.

use basalt_base::{Key, Span, Timestamp};
use bytes::Bytes;

use super::context::{FoundLock, ReadContext};
use super::cursor::{VersionCursor, Visible};
use super::intent_cursor::{IntentCursor, IntentView};
use super::value::decode_value;
use crate::{Reader, Result};

/// A visible value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub value: Bytes,
    /// Of the commit, or of the reader's own provisional value.
    pub ts: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetOutcome {
    /// `None`: no such key, or deleted.
    Found(Option<Version>),
    /// A foreign intent that the reader may not step over. If its timestamp is above the reader's, it is uncertain:
    /// a pending transaction's intent may then be ignored once its status is known.
    Conflict(FoundLock),
    /// A committed version above the read timestamp that may precede the reader's begin.
    Uncertain { ts: Timestamp, local_ts: Timestamp },
}

/// Reads `key` as `context` sees it.
pub fn get(reader: &dyn Reader, key: &Key, context: &ReadContext<'_>) -> Result<GetOutcome> {
    let span = Span::prefix(key.clone());
    let intents = IntentCursor::of_key(reader, key)?;
    if intents.valid() && intents.key() == &key[..] {
        match intents.view(context)? {
            IntentView::Conflict(lock) => return Ok(GetOutcome::Conflict(lock)),
            IntentView::Value { value, ts } => {
                return Ok(GetOutcome::Found(value.map(|value| Version { value, ts })));
            }
            IntentView::Uncertain { ts, local_ts } => return Ok(GetOutcome::Uncertain { ts, local_ts }),
            IntentView::Invisible => {}
        }
    }
    let mut versions = VersionCursor::new(reader, &span, true)?;
    versions.seek_version(key, context.horizon())?;
    Ok(match versions.find_visible(key, context)? {
        Visible::Nothing => GetOutcome::Found(None),
        Visible::Uncertain { ts, local_ts } => GetOutcome::Uncertain { ts, local_ts },
        Visible::At(ts) => {
            let payload = decode_value(versions.value())?.payload;
            GetOutcome::Found(payload.map(|value| Version { value: Bytes::copy_from_slice(value), ts }))
        }
    })
}

/// What a writer must know of the versions of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestVersion {
    pub ts: Timestamp,
    pub is_tombstone: bool,
}

/// The newest committed version, tombstones included.
pub fn newest_version(reader: &dyn Reader, key: &Key) -> Result<Option<NewestVersion>> {
    let mut versions = VersionCursor::new(reader, &Span::prefix(key.clone()), true)?;
    versions.seek_version(key, Timestamp::MAX)?;
    if !versions.at(key) {
        return Ok(None);
    }
    let is_tombstone = decode_value(versions.value())?.payload.is_none();
    Ok(Some(NewestVersion { ts: versions.key()?.1, is_tombstone }))
}

/// Timestamp of the newest committed version, tombstones included.
pub fn newest_version_ts(reader: &dyn Reader, key: &Key) -> Result<Option<Timestamp>> {
    Ok(newest_version(reader, key)?.map(|newest| newest.ts))
}
