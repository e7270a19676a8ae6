//! Resolution of locks: finds out whether there is something to do, and leaves the doing to the apply.

use basalt_base::{Key, Span};
use basalt_kv_api::{Error, ResolvedTxn, Response};
use basalt_storage::{
    Family, IterOptions, Reader,
    mvcc::{self, lock::decode_lock_key},
};

use super::context::{Evaluated, Evaluation};
use crate::replica::{ResolveExtent, ResolveOp};

/// Lock entries looked at by one ranged request, for each key that it may resolve.
const EXAMINED_PER_KEY: u64 = 16;

pub fn one(eval: &mut Evaluation<'_>, key: &Key, txn: &ResolvedTxn) -> Evaluated<Response> {
    let locks = eval.over_base(|reader| mvcc::locks_held(reader, key, txn.id))?;
    push_op(eval, locks, ResolveExtent::Key(key.clone()), txn);
    Ok(Response::ResolveLock)
}

pub fn range(
    eval: &mut Evaluation<'_>,
    span: &Span,
    txn: &ResolvedTxn,
    keys_max: u64,
) -> Evaluated<Response> {
    if keys_max == 0 {
        return Err(Error::Invalid("a ranged resolve needs a limit".to_owned()).into());
    }
    // Of a piece that was measured before, it only matters whether anybody was faster.
    let found = survey(eval.base, span, txn, keys_max)?;
    let end = found.resume.clone().unwrap_or_else(|| span.end.clone());
    let done = Span::new(span.start.clone(), end);
    push_op(eval, found.keys > 0, ResolveExtent::Span(done), txn);
    let resume = found.resume.map(|start| Span::new(start, span.end.clone()));
    Ok(Response::ResolveLockRange { resume })
}

fn push_op(eval: &mut Evaluation<'_>, any: bool, extent: ResolveExtent, txn: &ResolvedTxn) {
    let op = ResolveOp { extent, txn: txn.clone() };
    if any {
        eval.resolves.push(op.clone());
    }
    // Waiters look again even if somebody else was faster.
    eval.effects.resolved.push(op);
}

/// What a ranged resolve would do.
pub struct Survey {
    /// Locks of the transaction in the part surveyed.
    pub keys: u64,
    /// The first key behind it.
    pub resume: Option<Key>,
}

/// Looks for at most `keys_max` locks of the transaction; if that is [`u64::MAX`], whether there is one.
pub fn survey(
    reader: &dyn Reader,
    span: &Span,
    txn: &ResolvedTxn,
    keys_max: u64,
) -> basalt_storage::Result<Survey> {
    let options = IterOptions::within(span);
    let mut iter = reader.iter(Family::Lock, options)?;
    iter.seek(&span.start)?;
    let (mut own, mut examined) = (0, 0);
    let mut last = Key::new();
    while iter.valid() {
        let (key, _, holder) = decode_lock_key(iter.key())?;
        if *last != *key {
            if own >= keys_max || examined >= keys_max.saturating_mul(EXAMINED_PER_KEY) {
                return Ok(Survey { keys: own, resume: Some(Key::copy_from_slice(key)) });
            }
            last = Key::copy_from_slice(key);
        }
        own += u64::from(holder == txn.id);
        if own > 0 && keys_max == u64::MAX {
            break;
        }
        examined += 1;
        iter.next()?;
    }
    Ok(Survey { keys: own, resume: None })
}
