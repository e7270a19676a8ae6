//! Point reads, with and without a lock.

use std::sync::atomic::Ordering;

use basalt_base::{Key, Timestamp};
use basalt_kv_api::{Error, LockStrength, LockWait, ReadConsistency, Response};
use basalt_storage::{
    Reader,
    mvcc::{self, GetOutcome, ReadContext},
};

use super::{
    context::{Conflict, Evaluated, Evaluation, ReadSpan, Stop, discovered},
    record,
};
use crate::concurrency::{Blocked, HolderInfo, Want};

pub fn evaluate(eval: &mut Evaluation<'_>, key: &Key, lock: Option<LockStrength>) -> Evaluated<Response> {
    if eval.header.consistency == ReadConsistency::Inconsistent {
        return Ok(Response::Get { value: newest_committed(eval.base, key)? });
    }
    if let Some(strength) = lock {
        match lock_key(eval, key, strength, false)? {
            Locking::Locked => {}
            Locking::Skipped => return Ok(Response::Get { value: None }),
        }
        // Nearly always the newest version is what the transaction sees: one look tells both.
        let newest =
            ReadContext { read_ts: Timestamp::MAX, global_limit: Timestamp::MAX, ..eval.read_context() };
        if let GetOutcome::Found(Some(version)) = eval.over_base(|reader| mvcc::get(reader, key, &newest))?
            && version.ts <= eval.read_ts()
        {
            eval.reads.push(ReadSpan::Point(key.clone()));
            return Ok(Response::Get { value: Some(version.value) });
        }
        check_unchanged(eval, key)?;
    }
    let outcome = match lock {
        // The lock is ours, so the lock family holds nothing foreign here.
        Some(_) => eval.over_base(|reader| mvcc::get(reader, key, &eval.read_context()))?,
        None => eval.over_visible(|reader| mvcc::get(reader, key, &eval.read_context()))?,
    };
    let value = match outcome {
        GetOutcome::Found(version) => version.map(|version| version.value),
        GetOutcome::Conflict(found) => {
            return Err(Stop::Conflicts(vec![discovered(key.clone(), Want::Read, found)]));
        }
        GetOutcome::Uncertain { ts, .. } => return Err(uncertain(eval, ts)),
    };
    eval.reads.push(ReadSpan::Point(key.clone()));
    Ok(Response::Get { value })
}

pub fn uncertain(eval: &Evaluation<'_>, ts: basalt_base::Timestamp) -> Stop {
    let retry_at = ts.max(eval.read_ts());
    eval.shared.uncertain_reads.fetch_add(1, Ordering::Relaxed);
    if eval.header.can_forward_read_ts {
        return Stop::Forward(retry_at);
    }
    Stop::Error(Error::Uncertain { existing: ts, retry_at })
}

/// What became of an attempt to lock a key.
pub enum Locking {
    Locked,
    /// Held by somebody else, and the request passes over such keys.
    Skipped,
}

/// Takes an unreplicated lock on `key`. With `check_newer`, fails if the key changed after the read timestamp; the lock
/// is kept then, so that the transaction can move its timestamp up without losing its turn.
pub fn lock_key(
    eval: &mut Evaluation<'_>,
    key: &Key,
    strength: LockStrength,
    check_newer: bool,
) -> Evaluated<Locking> {
    let Some(txn) = &eval.txn else {
        return Err(Error::Invalid("a lock needs a transaction".to_owned()).into());
    };
    let want = Want::Lock(strength);
    let found = eval.over_base(|reader| mvcc::foreign_locks(reader, key, Some(txn.id)))?;
    let foreign: Vec<Conflict> = found
        .into_iter()
        .filter(|found| strength == LockStrength::Exclusive || found.lock.strength != mvcc::Strength::Shared)
        .map(|found| discovered(key.clone(), want, found))
        .collect();
    let conflicts = if foreign.is_empty() {
        match eval.shared.locks.acquire(key, strength, txn, eval.order, eval.now) {
            Ok(()) => Vec::new(),
            Err(blocked) => vec![Conflict { key: key.clone(), want, discovered: None, blocked }],
        }
    } else {
        foreign
    };
    if !conflicts.is_empty() {
        if eval.header.lock_wait == LockWait::Skip && !all_ended(eval, &conflicts) {
            return Ok(Locking::Skipped);
        }
        return Err(Stop::Conflicts(conflicts));
    }
    if check_newer {
        check_unchanged(eval, key)?;
    }
    Ok(Locking::Locked)
}

/// Whether only locks of transactions that have ended, or may have, are in the way: those are not anybody's, and are
/// cleared away, not skipped.
pub fn all_ended(eval: &Evaluation<'_>, conflicts: &[Conflict]) -> bool {
    conflicts.iter().all(|conflict| match (&conflict.discovered, &conflict.blocked) {
        (Some(_), Blocked::Held(info)) => record::may_have_ended(eval.base, info),
        _ => false,
    })
}

/// What a locking read returns must be the newest version.
fn check_unchanged(eval: &Evaluation<'_>, key: &Key) -> Evaluated<()> {
    let newest = eval.over_base(|reader| mvcc::newest_version_ts(reader, key))?;
    match newest.filter(|newest| *newest > eval.read_ts()) {
        Some(newest) => Err(eval.too_old(newest.next())),
        None => Ok(()),
    }
}

/// The newest committed value, whatever its timestamp: for routing lookups.
fn newest_committed(reader: &dyn Reader, key: &Key) -> Evaluated<Option<bytes::Bytes>> {
    let Some(ts) = mvcc::newest_version_ts(reader, key)? else { return Ok(None) };
    let context = ReadContext::at(ts);
    let passing = super::unlocked_reader::UnlockedReader(reader);
    match mvcc::get(&passing, key, &context)? {
        GetOutcome::Found(version) => Ok(version.map(|version| version.value)),
        GetOutcome::Conflict(_) | GetOutcome::Uncertain { .. } => {
            Err(Error::Internal("a read without locks met one".to_owned()).into())
        }
    }
}

/// Who blocks, for error messages.
pub fn holder_of(blocked: &Blocked) -> Option<&HolderInfo> {
    match blocked {
        Blocked::Held(info) => Some(info),
        Blocked::Claimed => None,
    }
}
