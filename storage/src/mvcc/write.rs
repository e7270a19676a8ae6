//! Writes of transactions: provisional values, replicated locks, and committed versions of one-phase commits.
//!
//! The caller holds the write latch of the key, so that nothing changes between the check and the batch.

use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use super::context::{FoundLock, WriteContext, WriteOutcome, ignores};
use super::get::{NewestVersion, newest_version, newest_version_ts};
use super::key::encode_key;
use super::lock::{LockRecord, Strength, decode_lock_key, encode_before_locks, encode_lock_key};
use super::value::encode_value;
use crate::{Family, IterOptions, Reader, Result, WriteBatch};

/// Foreign locks reported for one key.
pub const CONFLICTS_MAX: usize = 16;

/// Writes a provisional value.
pub fn put(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &Key,
    value: Bytes,
    context: &WriteContext<'_>,
) -> Result<WriteOutcome> {
    write_value(reader, batch, key, Some(value), context)
}

/// Writes a provisional deletion.
pub fn delete(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &Key,
    context: &WriteContext<'_>,
) -> Result<WriteOutcome> {
    write_value(reader, batch, key, None, context)
}

fn write_value(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &Key,
    value: Option<Bytes>,
    context: &WriteContext<'_>,
) -> Result<WriteOutcome> {
    let held = HeldLocks::read(reader, key, context.txn.id, Strength::Intent)?;
    if !held.conflicts.is_empty() {
        return Ok(WriteOutcome::Conflict(held.conflicts));
    }
    if held.newest_own_epoch() > Some(context.txn.epoch) {
        return Ok(WriteOutcome::StaleEpoch);
    }
    let existing = held.own(Strength::Intent);
    if let Some(existing) = existing.filter(|lock| lock.epoch == context.txn.epoch && lock.seq >= context.seq)
    {
        return Ok(if value_at(existing, context.seq) == Some(&value) {
            WriteOutcome::Written(existing.write_ts)
        } else {
            WriteOutcome::ReplayMismatch
        });
    }
    let newest = newest_version(reader, key)?;
    if let Some(too_old) = too_old(newest, context.read_ts, context.write_ts) {
        return Ok(WriteOutcome::WriteTooOld(too_old));
    }
    if context.if_absent && row_is_there(existing, newest, context) {
        return Ok(WriteOutcome::Exists);
    }
    let mut record = new_record(context, Strength::Intent, value);
    if let Some(existing) = existing {
        record.write_ts = record.write_ts.max(existing.write_ts);
        record.first_ts = record.write_ts;
        if existing.epoch == context.txn.epoch {
            let rolled_back = |seq: u32| ignores(context.txn.ignored, seq);
            record.history = existing.history.iter().filter(|(seq, _)| !rolled_back(*seq)).cloned().collect();
            if !rolled_back(existing.seq) {
                record.history.push((existing.seq, existing.value.clone()));
            }
            // Should this write be rolled back, an earlier one counts, with its own timestamps.
            if !record.history.is_empty() {
                record.first_ts = existing.first_ts.min(record.write_ts);
                record.local_ts = record.local_ts.min(existing.local_ts);
            }
        }
    }
    let outcome = WriteOutcome::Written(record.write_ts);
    put_lock(batch, key, &record, existing);
    Ok(outcome)
}

/// Takes a replicated `Shared` or `Exclusive` lock without a value.
///
/// A version committed above `context.read_ts` makes it too old: what the holder read is no longer the newest.
pub fn acquire_lock(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &Key,
    strength: Strength,
    context: &WriteContext<'_>,
) -> Result<WriteOutcome> {
    assert!(strength != Strength::Intent, "an intent comes with a value");
    let held = HeldLocks::read(reader, key, context.txn.id, strength)?;
    if !held.conflicts.is_empty() {
        return Ok(WriteOutcome::Conflict(held.conflicts));
    }
    if held.newest_own_epoch() > Some(context.txn.epoch) {
        return Ok(WriteOutcome::StaleEpoch);
    }
    // A hold at least as strong and taken no later, so that no savepoint gives it up first, is enough.
    let enough = |lock: &&LockRecord| {
        lock.strength <= strength && lock.epoch == context.txn.epoch && first_seq(lock) <= context.seq
    };
    if let Some(lock) = held.own.iter().find(enough) {
        return Ok(WriteOutcome::Written(lock.write_ts));
    }
    if let Some(newest) = newest_version_ts(reader, key)?.filter(|&newest| newest > context.read_ts) {
        return Ok(WriteOutcome::WriteTooOld(newest.next()));
    }
    let mut record = new_record(context, strength, None);
    if let Some(existing) = held.own(strength) {
        record.write_ts = record.write_ts.max(existing.write_ts);
        record.first_ts = record.write_ts;
    }
    let outcome = WriteOutcome::Written(record.write_ts);
    put_lock(batch, key, &record, held.own(strength));
    Ok(outcome)
}

/// Writes a committed version (`None`: a tombstone) at `commit_ts`: the evaluation of a one-phase commit.
/// Locks of `own` do not conflict; whoever releases them does it by [`super::resolve()`].
/// With `if_absent`, a row that is there is not written over.
pub fn put_committed(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &Key,
    value: Option<&[u8]>,
    own: Option<TxnId>,
    commit_ts: Timestamp,
    read_ts: Timestamp,
    local_ts: Timestamp,
    if_absent: bool,
) -> Result<WriteOutcome> {
    let conflicts = foreign_locks(reader, key, own)?;
    if !conflicts.is_empty() {
        return Ok(WriteOutcome::Conflict(conflicts));
    }
    let newest = newest_version(reader, key)?;
    if let Some(too_old) = too_old(newest, read_ts, commit_ts) {
        return Ok(WriteOutcome::WriteTooOld(too_old));
    }
    if if_absent && newest.is_some_and(|newest| !newest.is_tombstone) {
        return Ok(WriteOutcome::Exists);
    }
    batch.put(Family::Data, encode_key(key, commit_ts), encode_value(value, commit_ts, local_ts));
    Ok(WriteOutcome::Written(commit_ts))
}

/// Whether the transaction holds anything on `key`.
pub fn locks_held(reader: &dyn Reader, key: &Key, id: TxnId) -> Result<bool> {
    let mut any = false;
    for_each_lock(reader, key, |_, holder, _| {
        any |= holder == id;
        Ok(())
    })?;
    Ok(any)
}

/// The transaction's provisional value of `key`, without the value.
pub fn intent_of(reader: &dyn Reader, key: &Key, id: TxnId) -> Result<Option<LockRecord>> {
    let mut found = None;
    for_each_lock(reader, key, |strength, holder, value| {
        if holder == id && strength == Strength::Intent {
            found = Some(LockRecord::decode_header(holder, strength, value)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Every lock in `span`, at most `max`, values included: to load a lock table, and for diagnosis.
pub fn scan_locks(reader: &dyn Reader, span: &Span, max: usize) -> Result<Vec<FoundLock>> {
    let mut locks = Vec::new();
    let options = IterOptions::within(span);
    let mut iter = reader.iter(Family::Lock, options)?;
    iter.seek(&span.start)?;
    while iter.valid() && locks.len() < max {
        let (user_key, strength, id) = decode_lock_key(iter.key())?;
        let lock = LockRecord::decode(id, strength, iter.value())?;
        locks.push(FoundLock { key: Key::copy_from_slice(user_key), lock });
        iter.next()?;
    }
    Ok(locks)
}

/// `replaced`: what the transaction holds with the same strength.
pub(super) fn put_lock(
    batch: &mut WriteBatch,
    key: &Key,
    record: &LockRecord,
    replaced: Option<&LockRecord>,
) {
    batch.provisional_bytes +=
        record.provisional_bytes(key) - replaced.map_or(0, |replaced| replaced.provisional_bytes(key));
    batch.put(Family::Lock, encode_lock_key(key, record.strength, record.txn_id), record.encode());
}

/// The lowest timestamp at which a write of `key` could go, if `write_ts` is not it.
fn too_old(newest: Option<NewestVersion>, read_ts: Timestamp, write_ts: Timestamp) -> Option<Timestamp> {
    let newest = newest?.ts;
    (newest > read_ts || newest >= write_ts).then(|| newest.next())
}

/// Whether the writer sees a row: its own newest value that is not rolled back, else the newest version.
fn row_is_there(
    existing: Option<&LockRecord>,
    newest: Option<NewestVersion>,
    context: &WriteContext<'_>,
) -> bool {
    let own = existing
        .filter(|lock| lock.epoch == context.txn.epoch)
        .and_then(|lock| lock.visible(u32::MAX, context.txn.ignored));
    match own {
        Some(value) => value.is_some(),
        None => newest.is_some_and(|newest| !newest.is_tombstone),
    }
}

fn value_at(lock: &LockRecord, seq: u32) -> Option<&Option<Bytes>> {
    if lock.seq == seq {
        return Some(&lock.value);
    }
    lock.history.iter().find(|(past, _)| *past == seq).map(|(_, value)| value)
}

/// The sequence number since which the key has been held.
fn first_seq(lock: &LockRecord) -> u32 {
    lock.history.first().map_or(lock.seq, |(seq, _)| *seq)
}

fn new_record(context: &WriteContext<'_>, strength: Strength, value: Option<Bytes>) -> LockRecord {
    LockRecord {
        txn_id: context.txn.id,
        strength,
        anchor: context.txn.anchor.clone(),
        epoch: context.txn.epoch,
        seq: context.seq,
        write_ts: context.write_ts,
        first_ts: context.write_ts,
        min_ts: context.txn.min_ts,
        local_ts: context.local_ts,
        priority: context.txn.priority,
        value,
        history: Vec::new(),
    }
}

/// The locks on one key, as a transaction that wants `wanted` sees them.
struct HeldLocks {
    own: Vec<LockRecord>,
    conflicts: Vec<FoundLock>,
}

impl HeldLocks {
    fn read(reader: &dyn Reader, key: &Key, id: TxnId, wanted: Strength) -> Result<Self> {
        let mut held = Self { own: Vec::new(), conflicts: Vec::new() };
        for_each_lock(reader, key, |strength, holder, value| {
            if holder == id {
                held.own.push(LockRecord::decode(holder, strength, value)?);
            } else if wanted.conflicts_with(strength) && held.conflicts.len() < CONFLICTS_MAX {
                let lock = LockRecord::decode_header(holder, strength, value)?;
                held.conflicts.push(FoundLock { key: key.clone(), lock });
            }
            Ok(())
        })?;
        Ok(held)
    }

    fn own(&self, strength: Strength) -> Option<&LockRecord> {
        self.own.iter().find(|lock| lock.strength == strength)
    }

    fn newest_own_epoch(&self) -> Option<u32> {
        self.own.iter().map(|lock| lock.epoch).max()
    }
}

/// What others hold on `key`, at most [`CONFLICTS_MAX`], without the values.
pub fn foreign_locks(reader: &dyn Reader, key: &Key, own: Option<TxnId>) -> Result<Vec<FoundLock>> {
    let mut conflicts = Vec::new();
    for_each_lock(reader, key, |strength, holder, value| {
        if Some(holder) != own && conflicts.len() < CONFLICTS_MAX {
            let lock = LockRecord::decode_header(holder, strength, value)?;
            conflicts.push(FoundLock { key: key.clone(), lock });
        }
        Ok(())
    })?;
    Ok(conflicts)
}

pub(super) fn for_each_lock(
    reader: &dyn Reader,
    key: &Key,
    mut found: impl FnMut(Strength, TxnId, &[u8]) -> Result<()>,
) -> Result<()> {
    let span = Span::prefix(key.clone());
    let options = IterOptions { one_key: true, ..IterOptions::within(&span) };
    let mut iter = reader.iter(Family::Lock, options)?;
    iter.seek(&encode_before_locks(key))?;
    while iter.valid() {
        let (_, strength, id) = decode_lock_key(iter.key())?;
        found(strength, id, iter.value())?;
        iter.next()?;
    }
    Ok(())
}
