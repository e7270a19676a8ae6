//! Writes outside of transactions that read first: counters, and meta entries.

use basalt_base::Key;
use basalt_kv_api::{Error, Response};
use basalt_storage::mvcc::{self, GetOutcome, ReadContext};
use bytes::Bytes;

use super::{
    context::{Conflict, Evaluated, Evaluation, Stop, discovered},
    write,
};
use crate::{concurrency::Want, replica::RangeDescriptor};

/// Adds to a counter.
pub fn increment(eval: &mut Evaluation<'_>, key: &Key, by: u64) -> Evaluated<Response> {
    let before = match current(eval, key)? {
        None => 0,
        Some(bytes) => {
            let bytes = <[u8; 8]>::try_from(&bytes[..]);
            u64::from_be_bytes(
                bytes.map_err(|_| Error::Corruption(format!("counter {key:02x?} is no number")))?,
            )
        }
    };
    let sum =
        before.checked_add(by).ok_or_else(|| Error::LimitExceeded(format!("counter {key:02x?} is full")))?;
    write::evaluate(eval, key, Some(&Bytes::copy_from_slice(&sum.to_be_bytes())), 0, false)?;
    Ok(Response::Increment { sum })
}

/// Puts a meta entry, unless a later one is there.
pub fn put_meta(
    eval: &mut Evaluation<'_>,
    key: &Key,
    generation: u64,
    descriptor: &Bytes,
) -> Evaluated<Response> {
    if let Some(bytes) = current(eval, key)? {
        let known = RangeDescriptor::decode(bytes).map_err(|error| Error::Corruption(error.to_string()))?;
        if known.generation >= generation {
            return Ok(Response::PutMeta);
        }
    }
    write::evaluate(eval, key, Some(descriptor), 0, false)?;
    Ok(Response::PutMeta)
}

/// The newest committed value. The request's latch keeps it as it is.
fn current(eval: &Evaluation<'_>, key: &Key) -> Evaluated<Option<Bytes>> {
    if eval.txn.is_some() {
        return Err(Error::Invalid("this write is not transactional".to_owned()).into());
    }
    let Some(newest) = eval.over_base(|reader| mvcc::newest_version_ts(reader, key))? else {
        return Ok(None);
    };
    let context = ReadContext::at(newest.max(eval.header.timestamp));
    match eval.over_base(|reader| mvcc::get(reader, key, &context))? {
        GetOutcome::Found(version) => Ok(version.map(|version| version.value)),
        GetOutcome::Conflict(found) => {
            let conflict: Conflict = discovered(key.clone(), Want::Read, found);
            Err(Stop::Conflicts(vec![conflict]))
        }
        GetOutcome::Uncertain { ts, .. } => Err(Stop::Forward(ts)),
    }
}
