//! The end of a transaction.
//!
//! The record, or its absence, is looked at before anything else: a transaction that others have aborted must not
//! commit, and one whose commit is only being repeated must not be evaluated again.

use basalt_base::{Key, Span, Timestamp, keys::prefix_end};
use basalt_kv_api::{Error, Request, ResolvedTxn, Response, TxnMeta, TxnRecord, TxnStatus};
use basalt_storage::WriteBatch;

use super::{
    context::{Evaluated, Evaluation, Stop},
    record, resolve,
};

/// A commit with a larger footprint leaves all of its locks to be resolved afterwards.
const RESOLVED_AT_ONCE_MAX: usize = 64;

/// The fields of the request.
pub struct EndTxn<'a> {
    pub commit: bool,
    pub lock_spans: &'a [Span],
    pub deadline: Option<Timestamp>,
}

/// What was known of the transaction before its end.
pub(super) enum Before {
    Open(Option<TxnRecord>),
    Committed(Timestamp),
    Aborted,
}

pub(super) fn txn_of(eval: &Evaluation<'_>) -> Evaluated<TxnMeta> {
    let txn = eval.txn.clone().ok_or_else(|| Error::Invalid("EndTxn outside a transaction".to_owned()))?;
    if !txn.anchor.is_empty() && !eval.descriptor.contains(&txn.anchor) {
        return Err(Error::RangeMismatch.into());
    }
    Ok(txn)
}

pub(super) fn look(eval: &Evaluation<'_>, txn: &TxnMeta) -> Evaluated<Before> {
    let record = if txn.anchor.is_empty() { None } else { record::load(eval.base, &txn.anchor, txn.id)? };
    Ok(match record {
        Some(record) if record.status == TxnStatus::Committed => Before::Committed(record.write_ts),
        Some(record) if record.status == TxnStatus::Aborted => Before::Aborted,
        None if !eval.shared.may_create_record(txn.id, txn.min_ts) => Before::Aborted,
        open => Before::Open(open),
    })
}

/// Prepares a one-phase commit: settles the commit timestamp before the writes are evaluated at it.
/// Returns the timestamp of an earlier, identical commit.
pub fn prepare_one_phase(eval: &mut Evaluation<'_>, requests: &[Request]) -> Evaluated<Option<Timestamp>> {
    let txn = txn_of(eval)?;
    match look(eval, &txn)? {
        Before::Committed(ts) => return Ok(Some(ts)),
        Before::Aborted => return Err(aborted()),
        Before::Open(Some(existing)) => {
            let mut batch = WriteBatch::new();
            record::delete(&mut batch, &txn.anchor, existing.id);
            eval.write(batch);
        }
        Before::Open(None) => {}
    }
    for request in requests {
        if let Request::Put { key, .. } | Request::Delete { key, .. } = request {
            eval.forward_over_reads(key);
        }
    }
    let pushed = eval.shared.pushed_to(txn.id);
    let write_ts = eval.txn.as_ref().map_or(txn.write_ts, |txn| txn.write_ts).max(pushed);
    check_timestamp(eval, write_ts, txn.read_ts)?;
    if let Some(txn) = &mut eval.txn {
        txn.write_ts = write_ts;
    }
    Ok(None)
}

/// A serializable transaction commits where it reads.
pub(super) fn check_timestamp(
    eval: &Evaluation<'_>,
    write_ts: Timestamp,
    read_ts: Timestamp,
) -> Evaluated<()> {
    if write_ts <= read_ts {
        return Ok(());
    }
    if eval.header.can_forward_read_ts {
        return Err(Stop::Forward(write_ts));
    }
    Err(Error::RefreshRequired { write_ts }.into())
}

pub(super) fn check_deadline(deadline: Option<Timestamp>, commit_ts: Timestamp) -> Evaluated<()> {
    match deadline {
        Some(deadline) if commit_ts > deadline => Err(Error::DeadlineExceeded.into()),
        _ => Ok(()),
    }
}

/// Finishes a one-phase commit whose writes are in the batch.
pub fn finish_one_phase(eval: &mut Evaluation<'_>, end: &EndTxn<'_>) -> Evaluated<Response> {
    let txn = txn_of(eval)?;
    check_deadline(end.deadline, txn.write_ts)?;
    eval.effects.finished = Some((txn.id, Some(txn.write_ts)));
    Ok(Response::EndTxn { commit_ts: txn.write_ts, one_phase: true })
}

pub fn evaluate(eval: &mut Evaluation<'_>, end: &EndTxn<'_>) -> Evaluated<Response> {
    let txn = txn_of(eval)?;
    match look(eval, &txn)? {
        Before::Committed(commit_ts) if end.commit => Ok(Response::EndTxn { commit_ts, one_phase: false }),
        Before::Committed(_) => Err(Error::Invalid("the transaction is committed".to_owned()).into()),
        Before::Aborted if end.commit => Err(aborted()),
        Before::Aborted => {
            eval.effects.finished = Some((txn.id, None));
            Ok(Response::EndTxn { commit_ts: Timestamp::ZERO, one_phase: false })
        }
        Before::Open(existing) if end.commit => commit(eval, &txn, existing, end),
        // Its writes decide, unless its owner knows that they have failed: then it has gone on to a later timestamp.
        Before::Open(Some(staged)) if is_staged_at_or_above(&staged, &txn) => {
            Err(Error::Invalid("the transaction is staged".to_owned()).into())
        }
        Before::Open(existing) => {
            abort(eval, &txn, existing, end);
            Ok(Response::EndTxn { commit_ts: Timestamp::ZERO, one_phase: false })
        }
    }
}

fn is_staged_at_or_above(record: &TxnRecord, txn: &TxnMeta) -> bool {
    record.status == TxnStatus::Staging && (record.epoch, record.write_ts) >= (txn.epoch, txn.write_ts)
}

fn commit(
    eval: &mut Evaluation<'_>,
    txn: &TxnMeta,
    existing: Option<TxnRecord>,
    end: &EndTxn<'_>,
) -> Evaluated<Response> {
    // Its owner has proof. Nothing moves the timestamp any more: not what a lease has forgotten, nor a deadline.
    let staged = existing.as_ref().filter(|record| {
        record.status == TxnStatus::Staging && (record.epoch, record.write_ts) == (txn.epoch, txn.write_ts)
    });
    if let Some(staged_at) = staged.map(|record| record.write_ts) {
        return commit_at(eval, txn, existing, end, staged_at);
    }
    let pushed = eval.shared.pushed_to(txn.id);
    let recorded = existing.as_ref().map_or(Timestamp::ZERO, |record| record.write_ts);
    let commit_ts = txn.write_ts.max(pushed).max(recorded);
    check_timestamp(eval, commit_ts, txn.read_ts)?;
    check_deadline(end.deadline, commit_ts)?;
    if let Some(txn) = &mut eval.txn {
        txn.write_ts = commit_ts;
    }
    commit_at(eval, txn, existing, end, commit_ts)
}

fn commit_at(
    eval: &mut Evaluation<'_>,
    txn: &TxnMeta,
    existing: Option<TxnRecord>,
    end: &EndTxn<'_>,
    commit_ts: Timestamp,
) -> Evaluated<Response> {
    finish(eval, txn, existing, end, TxnStatus::Committed, commit_ts);
    let resolved = ResolvedTxn {
        id: txn.id,
        epoch: txn.epoch,
        status: TxnStatus::Committed,
        timestamp: commit_ts,
        ignored: txn.ignored.clone(),
    };
    for key in resolved_at_once(end.lock_spans) {
        if eval.descriptor.contains(key) {
            resolve::one(eval, key, &resolved)?;
        }
    }
    eval.effects.finished = Some((txn.id, Some(commit_ts)));
    Ok(Response::EndTxn { commit_ts, one_phase: false })
}

/// Keys whose locks the commit itself resolves where they are in the range of the record: they cost no command of their
/// own then. It latches them.
pub fn resolved_at_once(lock_spans: &[Span]) -> impl Iterator<Item = &Key> {
    let few = if lock_spans.len() <= RESOLVED_AT_ONCE_MAX { lock_spans } else { &[] };
    few.iter().filter(|span| prefix_end(&span.start) == span.end).map(|span| &span.start)
}

fn abort(eval: &mut Evaluation<'_>, txn: &TxnMeta, existing: Option<TxnRecord>, end: &EndTxn<'_>) {
    finish(eval, txn, existing, end, TxnStatus::Aborted, txn.write_ts);
    eval.effects.finished = Some((txn.id, None));
}

/// Writes the record, or drops it if there is no lock that could ask for it.
pub(super) fn finish(
    eval: &mut Evaluation<'_>,
    txn: &TxnMeta,
    existing: Option<TxnRecord>,
    end: &EndTxn<'_>,
    status: TxnStatus,
    write_ts: Timestamp,
) {
    let mut batch = WriteBatch::new();
    if !end.lock_spans.is_empty() && !txn.anchor.is_empty() {
        let record = TxnRecord {
            id: txn.id,
            status,
            epoch: txn.epoch,
            write_ts,
            last_heartbeat: existing.map_or(Timestamp::ZERO, |record| record.last_heartbeat),
            lock_spans: end.lock_spans.to_vec(),
            ignored: txn.ignored.clone(),
            in_flight: Vec::new(),
        };
        record::put(&mut batch, &txn.anchor, &record);
        eval.effects.record = Some((txn.anchor.clone(), txn.id));
    } else if existing.is_some() {
        record::delete(&mut batch, &txn.anchor, txn.id);
    }
    // Writes of an aborted transaction may still be under way: whoever meets them must not wait for their expiry.
    // A committed one has none, and marking it would only fill the markers.
    if status == TxnStatus::Aborted {
        eval.effects.entombed = Some((txn.id, txn.min_ts));
    }
    eval.write(batch);
}

pub(super) fn aborted() -> Stop {
    Error::TxnAborted { reason: "it was abandoned or lost a conflict".into() }.into()
}
