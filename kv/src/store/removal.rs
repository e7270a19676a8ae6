//! Replicas that are members no more.
//!
//! Whoever leaves a group often does not hear of it: nobody sends to him any more. So a replica without a leader asks meta
//! from time to time. Only a descriptor that is not older and does not name it proves that it was removed; ids of
//! replicas are never used again, so that stays true. Then it goes, and a tombstone in the log keeps it from coming back.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{RangeId, ReplicaId, Span, keys};
use basalt_env::Env;
use basalt_kv_api::{BatchHeader, BatchRequest, ReadConsistency, Request, Response, Result, ScanBatch};
use basalt_raft::Role;
use parking_lot::Mutex;

use super::{Store, lease::everything_in, open::alive, proposal::raft_error};
use crate::replica::{RangeDescriptor, Replica};

const INTERVAL: Duration = Duration::from_secs(2);
/// How long the removal of a replica waits for those who read from it.
const READERS_PATIENCE: Duration = Duration::from_secs(1);

/// Ranges whose replica here may have been removed from its group.
#[derive(Default)]
pub struct Suspects {
    ranges: Mutex<BTreeSet<RangeId>>,
    /// Being removed now.
    going: Mutex<BTreeSet<RangeId>>,
}

impl Store {
    pub(super) async fn run_removal(store: Weak<Self>, env: Env) {
        loop {
            env.spawner.sleep(INTERVAL).await;
            let Some(store) = alive(&store) else { return };
            if store.other_nodes().is_empty() {
                continue;
            }
            for replica in store.states.ranges.all() {
                // Twice without a leader, or it would be any election.
                if store.is_leaderless(&replica)
                    && !store.suspects.ranges.lock().insert(replica.range_id)
                    && let Err(error) = store.remove_if_gone(&replica).await
                {
                    tracing::debug!(range = %replica.range_id, %error, "nobody says whether it is a member");
                }
            }
        }
    }

    fn is_leaderless(&self, replica: &Replica) -> bool {
        let status = self.raft().status(replica.range_id);
        let leaderless = status.is_some_and(|status| status.role != Role::Leader && status.leader.is_none());
        if !leaderless {
            self.suspects.ranges.lock().remove(&replica.range_id);
        }
        leaderless
    }

    async fn remove_if_gone(self: &Arc<Self>, replica: &Arc<Replica>) -> Result<()> {
        let own = replica.descriptor();
        let Some(known) = self.descriptor_in_meta(&own.span.start).await? else { return Ok(()) };
        let is_removed = known.range_id == own.range_id
            // The same generation if it has applied its own removal.
            && known.generation >= own.generation
            && known.replica_on(self.ident.node_id) != Some(replica.replica_id);
        // It may have been replaced while meta was asked: what was proven is about this replica and no other.
        let here = self.states.ranges.by_id(own.range_id);
        if is_removed && here.is_some_and(|here| Arc::ptr_eq(&here, replica)) {
            self.remove_replica(own.range_id, ReplicaId(replica.replica_id.0 + 1)).await?;
        }
        Ok(())
    }

    /// What meta says of the range that begins at `start`, not the cache.
    async fn descriptor_in_meta(self: &Arc<Self>, start: &[u8]) -> Result<Option<RangeDescriptor>> {
        let span =
            Span::new(keys::prefix_end(&keys::meta_key(start)), keys::prefix_end(&[keys::META_PREFIX]));
        let header =
            BatchHeader { consistency: ReadConsistency::Inconsistent, rows_max: 1, ..BatchHeader::default() };
        let request = Request::Scan { span, reverse: false, lock: None, program: None };
        let batch = BatchRequest { header, requests: vec![request] };
        let response = Box::pin(self.route(batch)).await?;
        let Some(Response::Scan { batch: ScanBatch::Rows(rows), .. }) = response.responses.into_iter().next()
        else {
            return Ok(None);
        };
        let descriptor = rows.into_iter().next().and_then(|(_, value)| RangeDescriptor::decode(value).ok());
        Ok(descriptor.filter(|descriptor| descriptor.contains(start)))
    }

    /// Removes the replica here, whose id is below `next`, for good.
    pub(super) async fn remove_replica(self: &Arc<Self>, range_id: RangeId, next: ReplicaId) -> Result<()> {
        if !self.suspects.going.lock().insert(range_id) {
            return Ok(());
        }
        let removed = self.remove_now(range_id, next).await;
        self.suspects.going.lock().remove(&range_id);
        removed
    }

    async fn remove_now(self: &Arc<Self>, range_id: RangeId, next: ReplicaId) -> Result<()> {
        let mut guard = None;
        if let Some(replica) = self.states.ranges.by_id(range_id) {
            if replica.replica_id >= next {
                return Ok(());
            }
            replica.revoke(replica.lease().sequence);
            guard = Some(self.latches.acquire(everything_in(&replica.descriptor().span)));
        }
        if let Some(guard) = &mut guard {
            // Nobody reads from it while its keys go. What its own proposals hold they hold until the group is gone, so
            // that is not waited for.
            let patience = self.env.spawner.sleep(READERS_PATIENCE);
            tokio::select! {
                biased;
                () = guard.wait() => {}
                () = patience => {}
            }
        }
        self.raft().remove_group(range_id, next).await.map_err(raft_error)?;
        tracing::info!(range = %range_id, "a replica that was removed from its range is gone");
        Ok(())
    }
}
