//! Finding out what became of a staged transaction.
//!
//! Its record is here, its writes are anywhere. All of them done: it is committed, whoever says so. One of them not done
//! and prevented: it never will be, and the record can say that it is aborted. One at a time looks into a transaction;
//! others wait for the outcome.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::TxnId;
use basalt_kv_api::{BatchHeader, BatchRequest, Error, Request, Response, Result, TxnStatus};
use parking_lot::Mutex;

use super::Store;
use crate::{concurrency::Signal, counts::Counters, evaluate::Recovery};

/// Those under way.
#[derive(Default)]
pub struct Recoveries {
    under_way: Mutex<BTreeMap<TxnId, Arc<Signal>>>,
}

/// Ends a recovery, also one that was given up.
struct Ending<'a> {
    recoveries: &'a Recoveries,
    id: TxnId,
    done: Arc<Signal>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.recoveries.under_way.lock().remove(&self.id);
        self.done.fire();
    }
}

impl Store {
    /// Looks into the transaction, or waits for whoever does. What came of it the record says. No latches may be held.
    pub(super) async fn recover(self: &Arc<Self>, recovery: &Recovery) -> Result<()> {
        let id = recovery.record.id;
        let (done, is_first) = {
            let mut under_way = self.recoveries.under_way.lock();
            match under_way.get(&id) {
                Some(done) => (Arc::clone(done), false),
                None => {
                    let done = Arc::new(Signal::default());
                    under_way.insert(id, Arc::clone(&done));
                    (done, true)
                }
            }
        };
        if !is_first {
            done.wait().await;
            return Ok(());
        }
        let _ending = Ending { recoveries: &self.recoveries, id, done };
        self.ask_writes(recovery).await
    }

    async fn ask_writes(self: &Arc<Self>, Recovery { anchor, record, prevent }: &Recovery) -> Result<()> {
        let query = |(key, seq): &(basalt_base::Key, u32)| Request::QueryWrite {
            key: key.clone(),
            id: record.id,
            epoch: record.epoch,
            seq: *seq,
            at: record.write_ts,
            prevent: *prevent,
        };
        let requests: Vec<Request> = record.in_flight.iter().map(query).collect();
        let asked = requests.len();
        let batch = BatchRequest { header: BatchHeader::default(), requests };
        let answers = Box::pin(self.route(batch)).await?.responses;
        let is_done = |answer: &Response| matches!(answer, Response::QueryWrite { done: true });
        let committed = asked > 0 && answers.len() == asked && answers.iter().all(is_done);
        if !committed && !prevent {
            return Ok(());
        }
        let request = Request::RecoverTxn {
            anchor: anchor.clone(),
            id: record.id,
            epoch: record.epoch,
            staged_at: record.write_ts,
            committed,
        };
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        let answer = Box::pin(self.route(batch)).await?.responses.pop();
        let Some(Response::RecoverTxn { record: decided }) = answer else {
            return Err(Error::Internal("a recovery was answered by something else".to_owned()));
        };
        match decided.map(|decided| decided.status) {
            Some(TxnStatus::Committed) => Counters::increment(&self.counters.recovered_commits),
            Some(TxnStatus::Aborted) => Counters::increment(&self.counters.recovered_aborts),
            _ => {}
        }
        Ok(())
    }
}
