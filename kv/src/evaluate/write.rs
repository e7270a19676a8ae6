//! Put and Delete.

use basalt_base::Key;
use basalt_storage::{WriteBatch, mvcc};
use bytes::Bytes;

use super::context::{Evaluated, Evaluation};

/// `None` deletes. In a transaction that does not commit with this batch the value is provisional; otherwise it is a
/// committed version at the transaction's (or the request's) write timestamp.
pub fn evaluate(
    eval: &mut Evaluation<'_>,
    key: &Key,
    value: Option<&Bytes>,
    seq: u32,
    if_absent: bool,
) -> Evaluated<()> {
    let mut batch = WriteBatch::new();
    let written = match &eval.txn {
        Some(txn) if !eval.one_phase => {
            let mut txn = txn.clone();
            txn.write_ts = eval.shared.forward(key, txn.write_ts, Some(txn.id));
            let context = Evaluation::write_context(&txn, seq, eval.local_ts, if_absent);
            let outcome = eval.over_base(|reader| match value {
                Some(value) => mvcc::put(reader, &mut batch, key, value.clone(), &context),
                None => mvcc::delete(reader, &mut batch, key, &context),
            })?;
            eval.written(key, outcome)?
        }
        txn => {
            let own = txn.as_ref().map(|txn| txn.id);
            let (commit_ts, read_ts) = match txn {
                Some(txn) => (txn.write_ts, txn.read_ts),
                None => (eval.header.timestamp, eval.header.timestamp),
            };
            // One-phase commits were forwarded as a whole before; others may still have to move.
            if txn.is_none() {
                let forwarded = eval.shared.forward(key, commit_ts, None);
                if forwarded > commit_ts {
                    return Err(super::Stop::Forward(forwarded));
                }
            }
            // The clock may not have reached the commit timestamp yet: then the version says when it was written.
            let local_ts = eval.local_ts;
            let value = value.map(|value| &value[..]);
            let outcome = mvcc::put_committed(
                eval.base, &mut batch, key, value, own, commit_ts, read_ts, local_ts, if_absent,
            )?;
            eval.written(key, outcome)?
        }
    };
    // A write that comes again writes nothing.
    if !batch.is_empty() {
        eval.note_write_at(written);
    }
    if let Some(txn) = &mut eval.txn {
        txn.write_ts = txn.write_ts.max(written);
    }
    eval.write(batch);
    Ok(())
}
