//! Resolution: what becomes of a transaction's locks once its fate, or a later timestamp, is known.
//!
//! Resolving is idempotent and may come late, twice or out of order: a lock that is missing, of another transaction or
//! of a newer epoch is left alone, and what a committed transaction has written twice, before and after the resolution of its
//! lock, counts once. It runs at apply time, so its reader must see the open batch.

use basalt_base::{Key, Span, Timestamp, TxnId};

use super::context::{IgnoredSeqs, ignores};
use super::get::newest_version_ts;
use super::key::encode_key;
use super::lock::{LockRecord, Strength, decode_lock_key, encode_lock_key};
use super::value::encode_value;
use super::write::{for_each_lock, put_lock};
use crate::{Family, IterOptions, Reader, Result, WriteBatch};

/// Locks examined for each one resolved, before a ranged resolve comes back.
const EXAMINED_PER_RESOLVED: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveStatus {
    /// Still open: raise the write timestamp, drop what was rolled back.
    Pending,
    Committed,
    Aborted,
}

/// The fate of one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Resolution<'a> {
    pub txn_id: TxnId,
    /// Of the transaction, when its status was found. Locks of an older one are garbage. An aborted transaction's
    /// locks go whatever their epoch, because its id never comes back.
    pub epoch: u32,
    pub status: ResolveStatus,
    /// Commit timestamp, or the timestamp pushed to.
    pub ts: Timestamp,
    pub ignored: IgnoredSeqs<'a>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Lock entries removed.
    pub released: usize,
    /// Versions committed.
    pub committed: usize,
    /// Lock entries rewritten.
    pub updated: usize,
}

/// What a ranged resolve did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResolved {
    pub resolved: Resolved,
    /// Keys where a commit released a lock without leaving a version: the caller bumps the timestamp cache there.
    pub released_without_version: Vec<Key>,
    /// Start of what is left.
    pub resume: Option<Key>,
}

/// Resolves the transaction's locks on one key.
pub fn resolve(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &Key,
    resolution: &Resolution<'_>,
) -> Result<Resolved> {
    let mut resolved = Resolved::default();
    for_each_lock(reader, key, |strength, holder, value| {
        if holder == resolution.txn_id {
            let lock = LockRecord::decode(holder, strength, value)?;
            let fate = fate_of(reader, key, &lock, resolution)?;
            resolve_lock(batch, key, lock, &fate, &mut resolved);
        }
        Ok(())
    })?;
    Ok(resolved)
}

/// Resolves the transaction's locks in `span`, on at most `max_keys` keys.
pub fn resolve_range(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    span: &Span,
    resolution: &Resolution<'_>,
    max_keys: usize,
) -> Result<RangeResolved> {
    let mut outcome = RangeResolved::default();
    let options = IterOptions::within(span);
    let mut iter = reader.iter(Family::Lock, options)?;
    iter.seek(&span.start)?;
    let mut keys = 0;
    let mut examined = 0;
    let mut current = Key::new();
    let mut committed_before = 0;
    let mut released_before = 0;
    while iter.valid() {
        let (user_key, strength, holder) = decode_lock_key(iter.key())?;
        if current != user_key {
            note_bare_release(&mut outcome, &current, resolution, committed_before, released_before);
            if keys >= max_keys || examined >= max_keys.saturating_mul(EXAMINED_PER_RESOLVED) {
                outcome.resume = Some(Key::copy_from_slice(user_key));
                return Ok(outcome);
            }
            current = Key::copy_from_slice(user_key);
            committed_before = outcome.resolved.committed;
            released_before = outcome.resolved.released;
            // A key counts once, at its first entry of the transaction (intents come first).
            keys += usize::from(holder == resolution.txn_id);
        }
        examined += 1;
        if holder == resolution.txn_id {
            let lock = LockRecord::decode(holder, strength, iter.value())?;
            let fate = fate_of(reader, &current, &lock, resolution)?;
            resolve_lock(batch, &current, lock, &fate, &mut outcome.resolved);
        }
        iter.next()?;
    }
    note_bare_release(&mut outcome, &current, resolution, committed_before, released_before);
    Ok(outcome)
}

fn note_bare_release(
    outcome: &mut RangeResolved,
    key: &Key,
    resolution: &Resolution<'_>,
    committed_before: usize,
    released_before: usize,
) {
    let released = outcome.resolved.released > released_before;
    let committed = outcome.resolved.committed > committed_before;
    if resolution.status == ResolveStatus::Committed && released && !committed {
        outcome.released_without_version.push(key.clone());
    }
}

/// Whether the transaction, committed at `commit_ts`, has its version of the key already. Then the value is of a write that
/// came once more after that: a request whose answer was lost is sent again, and both may arrive. It has been laid above the
/// version, and may be older than another write of the transaction to the same key.
pub(super) fn came_too_late(
    reader: &dyn Reader,
    key: &Key,
    write_ts: Timestamp,
    commit_ts: Timestamp,
) -> Result<bool> {
    Ok(write_ts > commit_ts && newest_version_ts(reader, key)?.is_some_and(|newest| newest >= commit_ts))
}

/// The fate of one of the transaction's locks.
fn fate_of<'a>(
    reader: &dyn Reader,
    key: &Key,
    lock: &LockRecord,
    resolution: &Resolution<'a>,
) -> Result<Resolution<'a>> {
    let is_late = resolution.status == ResolveStatus::Committed
        && lock.strength == Strength::Intent
        && came_too_late(reader, key, lock.write_ts, resolution.ts)?;
    Ok(if is_late { Resolution { status: ResolveStatus::Aborted, ..*resolution } } else { *resolution })
}

fn resolve_lock(
    batch: &mut WriteBatch,
    key: &Key,
    mut lock: LockRecord,
    resolution: &Resolution<'_>,
    resolved: &mut Resolved,
) {
    if lock.epoch > resolution.epoch && resolution.status != ResolveStatus::Aborted {
        return;
    }
    let alive = lock.epoch == resolution.epoch && resolution.status != ResolveStatus::Aborted;
    let before = (lock.seq, lock.write_ts, lock.first_ts, lock.history.len());
    let bytes_before = lock.provisional_bytes(key);
    if !alive || !drop_ignored(&mut lock, resolution.ignored) {
        release(batch, key, &lock, bytes_before, resolved);
        return;
    }
    match resolution.status {
        ResolveStatus::Committed => {
            if lock.strength == Strength::Intent {
                let version = encode_value(lock.value.as_deref(), resolution.ts, lock.local_ts);
                batch.put(Family::Data, encode_key(key, resolution.ts), version);
                resolved.committed += 1;
            }
            release(batch, key, &lock, bytes_before, resolved);
        }
        ResolveStatus::Pending => {
            lock.write_ts = lock.write_ts.max(resolution.ts);
            // The transaction commits nothing below what it was pushed to.
            lock.first_ts = lock.first_ts.max(resolution.ts);
            if (lock.seq, lock.write_ts, lock.first_ts, lock.history.len()) != before {
                put_lock(batch, key, &lock, Some(&lock));
                batch.provisional_bytes += lock.provisional_bytes(key) - bytes_before;
                resolved.updated += 1;
            }
        }
        ResolveStatus::Aborted => unreachable!("not alive"),
    }
}

/// Drops rolled-back values; false if none is left.
fn drop_ignored(lock: &mut LockRecord, ignored: IgnoredSeqs<'_>) -> bool {
    lock.history.retain(|(seq, _)| !ignores(ignored, *seq));
    if !ignores(ignored, lock.seq) {
        return true;
    }
    match lock.history.pop() {
        Some((seq, value)) => {
            lock.seq = seq;
            lock.value = value;
            true
        }
        None => false,
    }
}

fn release(batch: &mut WriteBatch, key: &Key, lock: &LockRecord, bytes_before: i64, resolved: &mut Resolved) {
    batch.provisional_bytes -= bytes_before;
    batch.delete(Family::Lock, encode_lock_key(key, lock.strength, lock.txn_id));
    resolved.released += 1;
}
