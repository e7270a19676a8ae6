//! Splits.
//!
//! A split is one command of the range. It latches all writes of the range first, and the transaction records anchored
//! in it: so nothing is in flight when the bounds change, and whoever comes later sees the new ones. Latches, locks, the timestamp cache and transaction markers
//! belong to the store and are addressed by key, so both halves go on with them. Reads are not held up.
//!
//! Meta entries: when the first range splits, its command writes them. For any other range they are written right
//! *after* the split. Until then, a lookup gives the old, wider descriptor; the range itself answers that the key is
//! elsewhere, and says where. A crash in between is repaired by the next leaseholder.
//!
//! Every replica makes the right half when it applies the command. The replicas keep their ids in both halves; the lease
//! is the same, so this process serves both.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, Weak},
};

use basalt_base::{Key, RangeId, Span, Timestamp, keys};
use basalt_env::{Bug, planted};
use basalt_kv_api::{BatchHeader, BatchRequest, BatchResponse, Error, Request, Response, Result};
use basalt_storage::{
    Family, WriteBatch,
    mvcc::{key::encode_key, value::encode_value},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Store,
    latching::whole_range,
    open::{FIRST_RANGE, alive},
    proposal::{Proposed, Tail},
    split_key,
};
use crate::{
    counts::Counters,
    evaluate::{Effects, storage_error},
    replica::{Command, Header, RangeDescriptor, Replica, SplitTrigger, StatsDelta, Trigger},
};

/// The size of a range that is copied to other nodes, at most: copies travel whole.
const COPIED_BYTES_MAX: u64 = 96 << 20;
/// Range ids taken at once.
const IDS_AT_ONCE: u64 = 16;

/// Ranges that have grown too large.
#[derive(Default)]
pub struct Splitter {
    /// Ids for new ranges.
    ids: tokio::sync::Mutex<Range<u64>>,
    queue: Mutex<BTreeSet<RangeId>>,
    wake: Arc<Notify>,
    /// A range that could not be split is not tried again before it has grown to this.
    retry_at: Mutex<std::collections::BTreeMap<RangeId, i64>>,
}

impl Splitter {
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

impl Store {
    /// Called after each write: cheap unless the range is too large.
    pub(super) fn note_growth(&self, replica: &Replica) {
        let bytes = replica.applied().bytes;
        if u64::try_from(bytes).unwrap_or(0) <= self.range_bytes_max() {
            return;
        }
        let retry_at = self.splitter.retry_at.lock().get(&replica.range_id).copied();
        if retry_at.is_none_or(|at| bytes >= at) && self.splitter.queue.lock().insert(replica.range_id) {
            self.splitter.wake.notify_one();
        }
    }

    /// Where ranges split. Those with copies elsewhere stay small enough for a copy to be sent.
    fn range_bytes_max(&self) -> u64 {
        if self.other_nodes().is_empty() {
            self.config.range_bytes_max
        } else {
            self.config.range_bytes_max.min(COPIED_BYTES_MAX)
        }
    }

    pub(super) fn is_too_large(&self, replica: &Replica) -> bool {
        u64::try_from(replica.applied().bytes).unwrap_or(0) > COPIED_BYTES_MAX
    }

    pub(super) async fn run_splitter(store: Weak<Self>, wake: Arc<Notify>) {
        loop {
            let next = {
                let Some(store) = alive(&store) else { return };
                let next = store.splitter.queue.lock().first().copied();
                if let Some(range_id) = next {
                    if let Err(error) = store.split_by_size(range_id).await {
                        tracing::warn!(%range_id, %error, "a range could not be split");
                    }
                    store.splitter.queue.lock().remove(&range_id);
                }
                next
            };
            if next.is_none() {
                wake.notified().await;
            }
        }
    }

    async fn split_by_size(self: &Arc<Self>, range_id: RangeId) -> Result<()> {
        let Some(replica) = self.states.ranges.by_id(range_id) else { return Ok(()) };
        if !self.serves(&replica) {
            return Ok(());
        }
        let bytes = replica.applied().bytes;
        if u64::try_from(bytes).unwrap_or(0) <= self.range_bytes_max() {
            return Ok(());
        }
        let descriptor = replica.descriptor();
        let (found, counted) =
            split_key::find(&*self.states.engine, &descriptor.span).map_err(storage_error)?;
        if counted <= self.range_bytes_max() {
            // The estimate was too high (a span was cleared, values were replaced): put it right.
            let bytes = i64::try_from(counted).unwrap_or(i64::MAX) - bytes;
            return self
                .propose_alone(&replica, Trigger::None, StatsDelta { bytes, ..StatsDelta::default() })
                .await;
        }
        // However it goes, the estimate of the size may be wrong: do not try at every write.
        self.splitter.retry_at.lock().insert(range_id, bytes.saturating_add(bytes / 4));
        let Some(found) = found else { return Ok(()) };
        self.split_at(&replica, &found.key, Some((found.left_bytes, found.right_bytes))).await?;
        for half in [Some(replica), self.states.ranges.by_key(&found.key)].into_iter().flatten() {
            self.splitter.retry_at.lock().remove(&half.range_id);
            self.splitter.queue.lock().remove(&half.range_id);
            self.note_growth(&half);
        }
        Ok(())
    }

    pub(super) async fn admin_split(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        key: &Key,
    ) -> Result<BatchResponse> {
        self.split_at(replica, key, None).await?;
        Ok(BatchResponse {
            responses: vec![Response::AdminSplit],
            txn: None,
            now: self.now().unwrap_or_default(),
        })
    }

    /// `sizes`: bytes of the two halves, if somebody has counted.
    pub(super) async fn split_at(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        key: &Key,
        sizes: Option<(u64, u64)>,
    ) -> Result<()> {
        if **key < [keys::SYSTEM_PREFIX][..] {
            return Err(Error::Invalid("the meta entries stay in one range".to_owned()));
        }
        let mut right_id = None;
        let (left, right) = loop {
            // Before the latches: the counter may be in this range.
            let id = match right_id {
                Some(id) => id,
                None => *right_id.insert(self.new_range_id().await?),
            };
            let mut guard = self.latches.acquire(whole_range(&replica.descriptor()));
            self.patiently(replica, guard.wait(), "requests of the range do not end").await?;
            let view = self.lease_view(replica, Timestamp::ZERO)?;
            let descriptor = view.descriptor;
            if descriptor.span.start == *key {
                return Ok(());
            }
            if !descriptor.contains(key) {
                return Err(Error::RangeMismatch);
            }
            if replica.membership().is_joint() {
                return Err(Error::Unavailable("the range is changing its replicas".to_owned()));
            }
            let split = self.plan(replica, &descriptor, key, id, sizes)?;
            let (left, right) = (split.left.clone(), split.right.clone());
            let mut batch = WriteBatch::new();
            let mut header = Header {
                lease_sequence: view.sequence,
                generation: descriptor.generation,
                closed_ts: self.close(replica),
                ..Header::default()
            };
            if replica.range_id == FIRST_RANGE {
                let now = self.now()?;
                header.write_ts = now;
                for half in [&left, &right] {
                    let value = encode_value(Some(&half.encode()), now, now);
                    batch.put(Family::Data, encode_key(&keys::meta_key(&half.span.end), now), value);
                }
            }
            let command = Command { header, batch, trigger: Trigger::Split(split), ..Command::default() };
            let tail = Tail {
                store: Arc::clone(self),
                replica: Arc::clone(replica),
                future: self.raft().propose(replica.range_id, command.encode()),
                guard,
                effects: Effects::default(),
            };
            match self.decided(tail).await? {
                Proposed::Applied => break (left, right),
                Proposed::Again => {}
            }
        };
        if planted(Bug::ForgetReadsOnSplit) {
            self.reads.forget();
        }
        Counters::increment(&self.counters.splits);
        for half in [&left, &right] {
            self.cache.insert(Arc::new(half.clone()), Some(self.ident.node_id));
        }
        if replica.range_id != FIRST_RANGE {
            self.put_meta(&[&left, &right]).await?;
            replica.note_meta(left.generation);
        }
        Ok(())
    }

    /// An id that no range of the cluster has had. Ids are taken a few at a time; those of a process that ends are lost.
    async fn new_range_id(self: &Arc<Self>) -> Result<RangeId> {
        let mut ids = self.splitter.ids.lock().await;
        loop {
            let next = ids.start;
            if next < ids.end {
                ids.start += 1;
                return Ok(RangeId(next));
            }
            let request = Request::Increment { key: keys::range_id_counter(), by: IDS_AT_ONCE };
            let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
            let response = Box::pin(self.route(batch)).await?;
            let Some(Response::Increment { sum }) = response.responses.into_iter().next() else {
                return Err(Error::Internal("an increment was answered by something else".to_owned()));
            };
            // Stores without peers once numbered their ranges without the counter.
            let highest =
                self.states.ranges.all().iter().map(|replica| replica.range_id.0).max().unwrap_or(0);
            *ids = (sum - IDS_AT_ONCE + 1).max(highest + 1)..sum + 1;
        }
    }

    fn plan(
        &self,
        replica: &Replica,
        descriptor: &RangeDescriptor,
        key: &Key,
        right_id: RangeId,
        sizes: Option<(u64, u64)>,
    ) -> Result<SplitTrigger> {
        let generation = descriptor.generation + 1;
        let left = RangeDescriptor {
            generation,
            span: Span::new(descriptor.span.start.clone(), key.clone()),
            ..descriptor.clone()
        };
        let right = RangeDescriptor {
            range_id: right_id,
            generation,
            span: Span::new(key.clone(), descriptor.span.end.clone()),
            ..descriptor.clone()
        };
        let (left_bytes, right_bytes) = match sizes {
            Some(sizes) => sizes,
            None => {
                let size = |span: &Span| self.states.engine.approximate_bytes(Family::Data, span);
                (size(&left.span).map_err(storage_error)?, size(&right.span).map_err(storage_error)?)
            }
        };
        let share = |total: i64| {
            let (left, right) = (i128::from(left_bytes), i128::from(right_bytes));
            let parts = if left + right == 0 { (1, 2) } else { (right, left + right) };
            i64::try_from(i128::from(total) * parts.0 / parts.1).unwrap_or(total)
        };
        let applied = replica.applied();
        Ok(SplitTrigger {
            left,
            right,
            right_bytes: share(applied.bytes),
            right_garbage: share(applied.garbage),
        })
    }
}
