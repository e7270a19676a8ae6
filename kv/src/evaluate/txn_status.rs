//! Looking at, keeping alive, and pushing transactions.

use basalt_base::{Key, Timestamp, TxnId};
use basalt_kv_api::{Error, PushType, Response, TxnMeta, TxnRecord, TxnStatus};
use basalt_storage::WriteBatch;

use super::{
    context::{Evaluated, Evaluation, Recovery},
    record,
};

pub(super) fn check_anchor(eval: &Evaluation<'_>, anchor: &Key) -> Evaluated<()> {
    if eval.descriptor.contains(anchor) { Ok(()) } else { Err(Error::RangeMismatch.into()) }
}

fn synthesized(txn: &TxnMeta, status: TxnStatus) -> TxnRecord {
    TxnRecord {
        id: txn.id,
        status,
        epoch: txn.epoch,
        write_ts: txn.write_ts,
        last_heartbeat: txn.read_ts,
        lock_spans: Vec::new(),
        ignored: txn.ignored.clone(),
        in_flight: Vec::new(),
    }
}

/// Creates the record or renews its sign of life.
pub fn heartbeat(eval: &mut Evaluation<'_>, anchor: &Key, now: Timestamp) -> Evaluated<Response> {
    check_anchor(eval, anchor)?;
    let txn = eval.txn.clone().ok_or_else(|| Error::Invalid("heartbeat outside a transaction".to_owned()))?;
    let mut record = match record::load(eval.base, anchor, txn.id)? {
        Some(record) if matches!(record.status, TxnStatus::Committed | TxnStatus::Aborted) => {
            return Ok(Response::HeartbeatTxn { record });
        }
        Some(mut record) => {
            // Who goes on above a staged commit knows that it has failed.
            if record.status == TxnStatus::Staging
                && (txn.epoch, txn.write_ts) > (record.epoch, record.write_ts)
            {
                record.status = TxnStatus::Pending;
                record.write_ts = txn.write_ts;
                record.in_flight.clear();
            }
            record
        }
        None if !eval.shared.may_create_record(txn.id, txn.min_ts) => {
            return Ok(Response::HeartbeatTxn { record: synthesized(&txn, TxnStatus::Aborted) });
        }
        None => {
            // Should the coordinator die, the janitor will find the record.
            eval.effects.record = Some((anchor.clone(), txn.id));
            synthesized(&txn, TxnStatus::Pending)
        }
    };
    eval.effects.alive = Some(txn.id);
    record.epoch = record.epoch.max(txn.epoch);
    record.last_heartbeat = record.last_heartbeat.max(now);
    let mut batch = WriteBatch::new();
    record::put(&mut batch, anchor, &record);
    eval.write(batch);
    Ok(Response::HeartbeatTxn { record })
}

pub fn query(eval: &mut Evaluation<'_>, anchor: &Key, id: basalt_base::TxnId) -> Evaluated<Response> {
    check_anchor(eval, anchor)?;
    let dependents = eval.shared.dependents.of(id, eval.shared.since_start);
    Ok(Response::QueryTxn { record: record::load(eval.base, anchor, id)?, dependents })
}

/// A pusher that did not get its way goes on waiting.
pub fn note_waiter(
    eval: &Evaluation<'_>,
    pushee: &TxnMeta,
    push_type: PushType,
    dependents: &[TxnId],
    answer: &Response,
) {
    let is_open = matches!(answer, Response::PushTxn { record, .. } if matches!(record.status, TxnStatus::Pending | TxnStatus::Staging));
    if let (PushType::Abort, true, Some(waiter)) = (push_type, is_open, eval.txn_id()) {
        eval.shared.dependents.add(pushee.id, waiter, dependents, eval.shared.since_start);
    }
}

/// Decides between two transactions. Never waits: a pusher that loses asks again later.
pub fn push(
    eval: &mut Evaluation<'_>,
    pushee: &TxnMeta,
    push_type: PushType,
    push_to: Timestamp,
    force: bool,
) -> Evaluated<Response> {
    check_anchor(eval, &pushee.anchor)?;
    let existing = record::load(eval.base, &pushee.anchor, pushee.id)?;
    let mut record = match &existing {
        Some(record) if matches!(record.status, TxnStatus::Committed | TxnStatus::Aborted) => {
            return Ok(Response::PushTxn { record: record.clone(), known: true });
        }
        Some(record) => record.clone(),
        None if !eval.shared.may_create_record(pushee.id, pushee.min_ts) => {
            let record = synthesized(pushee, TxnStatus::Aborted);
            return Ok(Response::PushTxn { record, known: false });
        }
        None => synthesized(pushee, TxnStatus::Pending),
    };
    let heard_at = eval.shared.markers.heard_at(pushee.id);
    let alive_at = record.last_heartbeat.max(pushee.read_ts).max(pushee.min_ts).max(heard_at);
    let expired = eval.now.physical_ms() > alive_at.physical_ms() + eval.shared.txn_expiry_ms;
    if record.status == TxnStatus::Staging {
        // Only its writes can tell.
        let (anchor, prevent) = (pushee.anchor.clone(), expired || force);
        eval.effects.recovery = Some(Recovery { anchor, record: record.clone(), prevent });
        return Ok(Response::PushTxn { record, known: true });
    }
    let pushed_to = eval.shared.pushed_to(pushee.id);
    let claimed = record.write_ts.max(pushed_to);
    record.write_ts = claimed;
    let priority = eval.txn.as_ref().map_or(Default::default(), |txn| txn.priority);
    let abort = match push_type {
        _ if expired => true,
        PushType::Touch => false,
        PushType::Abort => force || priority > pushee.priority,
        PushType::Timestamp => false,
    };
    if abort {
        record.status = TxnStatus::Aborted;
        eval.effects.entombed = Some((pushee.id, pushee.min_ts));
        // Without a record the tombstone says it all.
        if existing.is_some() {
            let mut batch = WriteBatch::new();
            record::put(&mut batch, &pushee.anchor, &record);
            eval.write(batch);
        }
        eval.effects.finished = Some((pushee.id, None));
        return Ok(Response::PushTxn { record, known: true });
    }
    if push_type == PushType::Timestamp {
        // The lock that the reader met may have been rolled back, or be of an earlier epoch: its timestamp does not keep the
        // commit from being below. The record's does, and what the transaction was pushed to.
        record.write_ts = existing.map_or(Timestamp::ZERO, |record| record.write_ts).max(pushed_to);
        // A reader wins against its equals: else large writers would hold up readers for as long as they run. Who is above
        // already loses nothing.
        let wins = force || priority >= pushee.priority || claimed >= push_to;
        if record.write_ts < push_to && wins {
            eval.shared.markers.push(pushee.id, push_to);
            record.write_ts = push_to;
        }
    }
    Ok(Response::PushTxn { record, known: true })
}
