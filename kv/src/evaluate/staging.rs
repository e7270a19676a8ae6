//! Commits that are decided by their writes.
//!
//! A staged record says: committed at this timestamp, provided that the writes listed are stored, in this epoch, at or
//! below it. It is written beside them, and once all have succeeded the commit is a fact that nobody can change: a write
//! that is stored stays, and its timestamp never falls. Until then it can be prevented, by making sure that one of the
//! writes never lands at or below the timestamp: then the record can be aborted, whatever its owner does.
//!
//! So whoever needs to know asks for the writes, one by one. To ask without preventing disturbs nobody and is
//! allowed at any time; to prevent is for when the owner seems dead, or asks for it itself.

use basalt_base::{Key, Span, Timestamp, TxnId};
use basalt_env::{Bug, planted};
use basalt_kv_api::{Error, Request, Response, SeqNum, TxnRecord, TxnStatus};
use basalt_storage::{WriteBatch, mvcc};

use super::{
    context::{Evaluated, Evaluation, ReadSpan},
    end_txn::{self, Before, EndTxn},
    record,
    txn_status::check_anchor,
};

/// `requests`: the whole batch.
pub fn stage(
    eval: &mut Evaluation<'_>,
    requests: &[Request],
    lock_spans: &[Span],
    in_flight: &[(Key, SeqNum)],
    deadline: Option<Timestamp>,
) -> Evaluated<Response> {
    let txn = end_txn::txn_of(eval)?;
    if txn.anchor.is_empty() || in_flight.is_empty() {
        return Err(Error::Invalid("a staged commit has an anchor and writes".to_owned()).into());
    }
    let existing = match end_txn::look(eval, &txn)? {
        Before::Committed(staged_at) => return Ok(Response::StageTxn { staged_at, committed: true }),
        Before::Aborted => return Err(end_txn::aborted()),
        Before::Open(existing) => existing,
    };
    if let Some(existing) = existing.as_ref().filter(|existing| existing.epoch == txn.epoch) {
        match existing.status {
            // Sent twice.
            TxnStatus::Staging if existing.write_ts >= txn.write_ts => {
                return Ok(Response::StageTxn { staged_at: existing.write_ts, committed: false });
            }
            // Its owner has given up this attempt.
            TxnStatus::Pending if existing.write_ts > txn.write_ts => {
                return Err(Error::Invalid("the attempt to commit is over".to_owned()).into());
            }
            _ => {}
        }
    }
    let recorded = existing.as_ref().map_or(Timestamp::ZERO, |record| record.write_ts);
    let staged_at = txn.write_ts.max(eval.shared.pushed_to(txn.id)).max(recorded);
    end_txn::check_timestamp(eval, staged_at, txn.read_ts)?;
    end_txn::check_deadline(deadline, staged_at)?;
    if let Some(txn) = &mut eval.txn {
        txn.write_ts = staged_at;
    }
    if in_flight.iter().all(|(key, _)| requests.iter().any(|request| writes(request, key))) {
        let end = EndTxn { commit: true, lock_spans, deadline };
        end_txn::finish(eval, &txn, existing, &end, TxnStatus::Committed, staged_at);
        eval.effects.finished = Some((txn.id, Some(staged_at)));
        return Ok(Response::StageTxn { staged_at, committed: true });
    }
    let record = TxnRecord {
        id: txn.id,
        status: TxnStatus::Staging,
        epoch: txn.epoch,
        write_ts: staged_at,
        last_heartbeat: eval.now,
        lock_spans: lock_spans.to_vec(),
        ignored: txn.ignored.clone(),
        in_flight: in_flight.to_vec(),
    };
    put(eval, &txn.anchor, &record);
    // Should its owner die, somebody must find out.
    eval.effects.record = Some((txn.anchor.clone(), txn.id));
    Ok(Response::StageTxn { staged_at, committed: false })
}

fn writes(request: &Request, wanted: &Key) -> bool {
    matches!(request, Request::Put { key, .. } | Request::Delete { key, .. } if key == wanted)
}

fn put(eval: &mut Evaluation<'_>, anchor: &Key, record: &TxnRecord) {
    let mut batch = WriteBatch::new();
    record::put(&mut batch, anchor, record);
    eval.write(batch);
}

/// Whether the write is done. With `prevent` it is, or never will be: like any other, the transaction writes above what
/// others have read.
pub fn query_write(
    eval: &mut Evaluation<'_>,
    key: &Key,
    id: TxnId,
    (epoch, seq): (u32, SeqNum),
    at: Timestamp,
    prevent: bool,
) -> Evaluated<Response> {
    let intent = eval.over_base(|reader| mvcc::intent_of(reader, key, id))?;
    let done = intent.is_some_and(|intent| {
        (intent.epoch == epoch && intent.seq >= seq && intent.write_ts <= at)
            || planted(Bug::RecoverMovedWrites)
    });
    if !done && prevent && !planted(Bug::SkipPrevention) {
        eval.reads.push(ReadSpan::Refreshed(Span::prefix(key.clone()), at));
    }
    Ok(Response::QueryWrite { done })
}

/// Makes what the writes have said the record's word.
pub fn recover(
    eval: &mut Evaluation<'_>,
    anchor: &Key,
    id: TxnId,
    (epoch, staged_at): (u32, Timestamp),
    committed: bool,
) -> Evaluated<Response> {
    check_anchor(eval, anchor)?;
    let Some(mut record) = record::load(eval.base, anchor, id)? else {
        return Ok(Response::RecoverTxn { record: None });
    };
    // Otherwise somebody was faster, or its owner has begun another attempt.
    if record.status == TxnStatus::Staging && (record.epoch, record.write_ts) == (epoch, staged_at) {
        record.status = if committed { TxnStatus::Committed } else { TxnStatus::Aborted };
        record.in_flight.clear();
        put(eval, anchor, &record);
        eval.effects.record = Some((anchor.clone(), id));
        // Its owner may ask when the record is gone, and must not hear that nothing ever was.
        eval.effects.entombed = Some((id, staged_at.max(record.last_heartbeat)));
        eval.effects.finished = Some((id, committed.then_some(staged_at)));
    }
    Ok(Response::RecoverTxn { record: Some(record) })
}
