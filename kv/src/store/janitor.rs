//! Removes the records of finished transactions once their locks are gone.
//!
//! Coordinators resolve their own locks; the janitor comes a moment later, resolves what a dead coordinator has left,
//! and deletes the record. A record goes only after every span in it was resolved: until then, whoever meets a lock
//! must be able to learn its fate.
//!
//! Every commit over several ranges leaves a record, so what one costs is paid by each: the records of a range are
//! seen to together ([`super::tidying`]).

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{Key, Span, TxnId, codec, keys};
use basalt_env::Env;
use basalt_kv_api::{BatchHeader, BatchRequest, Error, Request, Response, Result};
use basalt_storage::{Family, IterOptions};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Store, open::alive};
use crate::{evaluate::storage_error, replica::Replica};

/// What a coordinator gets to do its own cleaning.
const GRACE: Duration = Duration::from_secs(1);
/// Records waiting; further ones wait for the next start.
const QUEUE_MAX: usize = 100_000;
/// Records of one range seen to together.
const RECORDS_TOGETHER_MAX: usize = 64;
/// Groups of records handled at once: their commands share the log's syncs.
const CONCURRENT_MAX: usize = 8;

#[derive(Default)]
pub struct Janitor {
    queue: Mutex<BTreeSet<(Key, TxnId)>>,
    wake: Arc<Notify>,
}

impl Janitor {
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub fn add(&self, anchor: Key, id: TxnId) {
        let mut queue = self.queue.lock();
        if queue.len() < QUEUE_MAX {
            queue.insert((anchor, id));
            self.wake.notify_one();
        }
    }
}

impl Store {
    pub(super) async fn run_janitor(store: Weak<Self>, env: Env) {
        loop {
            let wake = {
                let Some(store) = alive(&store) else { return };
                store.janitor.wake()
            };
            wake.notified().await;
            env.spawner.sleep(GRACE).await;
            let Some(store) = alive(&store) else { return };
            let batch = std::mem::take(&mut *store.janitor.queue.lock());
            futures::stream::iter(store.by_replica(batch))
                .for_each_concurrent(CONCURRENT_MAX, |(replica, records)| {
                    store.tidy_or_requeue(replica, records)
                })
                .await;
        }
    }

    /// The records of each range, so many at once. Those of ranges that this node has no replica of are left out: whoever
    /// has the lease finds them.
    fn by_replica(&self, records: BTreeSet<(Key, TxnId)>) -> Vec<(Arc<Replica>, Vec<(Key, TxnId)>)> {
        let mut groups: Vec<(Arc<Replica>, Vec<(Key, TxnId)>)> = Vec::new();
        for (anchor, id) in records {
            if let Some((replica, group)) = groups.last_mut()
                && group.len() < RECORDS_TOGETHER_MAX
                && replica.descriptor().contains(&anchor)
            {
                group.push((anchor, id));
            } else if let Some(replica) = self.states.ranges.by_key(&anchor) {
                groups.push((replica, vec![(anchor, id)]));
            }
        }
        groups
    }

    /// Sees to what an earlier leaseholder of the ranges led here may have left, whoever has the lease now, since an idle
    /// range is nobody's: records whose news was lost with the answer to their command, and meta entries that lag.
    pub(super) async fn adopt_led(self: &Arc<Self>) {
        for replica in self.states.ranges.all() {
            if !self.leads(&replica) {
                continue;
            }
            if let Err(error) = self.adopt_records(&replica.descriptor().span) {
                tracing::warn!(range = %replica.range_id, %error, "records of transactions could not be read");
            }
            self.tell_meta(&replica).await;
        }
    }

    async fn tidy_or_requeue(self: &Arc<Self>, replica: Arc<Replica>, records: Vec<(Key, TxnId)>) {
        let left = if self.ensure_lease(&replica).await.is_ok() {
            self.tidy(&replica, records).await
        } else {
            // Whoever gets the lease of the records' range adopts them; a question makes sure that somebody does.
            let Some((anchor, id)) = records.first().cloned() else { return };
            let asked = self.ask(Request::QueryTxn { anchor, id }).await;
            if asked.is_ok() && !self.serves(&replica) {
                return;
            }
            records
        };
        for (anchor, id) in left {
            self.janitor.add(anchor, id);
        }
    }

    /// Queues all records anchored in `span`: those that an earlier process or leaseholder has left.
    pub(super) fn adopt_records(&self, span: &Span) -> Result<()> {
        let Span { start: lower, end: upper } = keys::range_local_span(span);
        let options =
            IterOptions { lower: Some(lower.clone()), upper: Some(upper), ..IterOptions::default() };
        let mut iter = self.states.engine.iter(Family::Local, options).map_err(storage_error)?;
        iter.seek(&lower).map_err(storage_error)?;
        while iter.valid() {
            let mut rest = &iter.key()[1..];
            if let Ok(anchor) = codec::decode_bytes(&mut rest)
                && let [b'T', id @ ..] = rest
                && let Ok(id) = <[u8; 16]>::try_from(id)
            {
                self.janitor.add(Key::from(anchor), TxnId::from_bytes(id));
            }
            iter.next().map_err(storage_error)?;
        }
        Ok(())
    }

    pub(super) async fn ask(self: &Arc<Self>, request: Request) -> Result<Response> {
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        let mut response = Box::pin(self.route(batch)).await?;
        response.responses.pop().ok_or_else(|| Error::Internal("an empty answer".to_owned()))
    }
}
