//! From a key to its range: the cache, then what is served here, then meta, then whoever else may know.

use std::sync::Arc;

use basalt_base::{Key, NodeId, Span, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error, ReadConsistency, Request, Response, Result, ScanBatch,
};
use futures::future::join_all;

use super::{
    Located,
    remote::{PeerReply, PeerRequest},
};
use crate::{
    counts::Counters,
    replica::{RangeDescriptor, Replica},
    store::Store,
};

/// Which range: the one with a key, or the one with the keys just below it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim<'a> {
    At(&'a [u8]),
    Before(&'a [u8]),
}

impl Aim<'_> {
    fn is_met_by(self, descriptor: &RangeDescriptor) -> bool {
        match self {
            Self::At(key) => descriptor.contains(key),
            Self::Before(end) => *descriptor.span.start < *end && *end <= *descriptor.span.end,
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::At(key) | Self::Before(key) => key,
        }
    }

    /// Meta is never looked up in meta.
    fn is_meta(&self) -> bool {
        let end = keys::prefix_end(&[keys::META_PREFIX]);
        match self {
            Self::At(key) => **key < *end,
            Self::Before(key) => **key <= *end,
        }
    }
}

impl Store {
    /// The range that holds `key`, as far as is known.
    pub(crate) async fn locate(self: &Arc<Self>, key: &[u8]) -> Result<Located> {
        self.find(Aim::At(key)).await
    }

    pub(crate) async fn find(self: &Arc<Self>, aim: Aim<'_>) -> Result<Located> {
        if let Some(located) = self.cached(aim) {
            return Ok(located);
        }
        if self.find_here(aim, true).is_some()
            && let Some(located) = self.cached(aim)
        {
            return Ok(located);
        }
        Counters::increment(&self.counters.routing_refreshes);
        if !aim.is_meta() {
            match self.look_up(aim).await {
                Ok(Some(located)) => return Ok(located),
                // Somebody who has the range may know more than meta, or meta may be out of reach.
                Ok(None) | Err(Error::Unavailable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(located) = self.find_elsewhere(aim).await {
            return Ok(located);
        }
        self.find_here(aim, false)
            .and_then(|_| self.cached(aim))
            .ok_or_else(|| Error::Unavailable(format!("no range is known for key {:02x?}", aim.key())))
    }

    /// What the cache has. Every route comes from it: its ranges do not overlap, so that routes by a first and by a last
    /// key agree, and a batch that is divided gets smaller.
    fn cached(&self, aim: Aim<'_>) -> Option<Located> {
        match aim {
            Aim::At(key) => self.cache.get(key),
            Aim::Before(end) => self.cache.get_before(end),
        }
    }

    /// From the replicas of this store. Only one that is served here is sure to be up to date.
    pub(crate) fn find_here(&self, aim: Aim<'_>, served_only: bool) -> Option<Located> {
        let replica = match aim {
            Aim::At(key) => self.states.ranges.by_key(key)?,
            Aim::Before(end) => self.states.ranges.before(end)?,
        };
        let holder = self.holder_of(&replica);
        if served_only && holder != Some(self.ident().node_id) {
            return None;
        }
        let descriptor = replica.descriptor();
        if !aim.is_met_by(&descriptor) {
            return None;
        }
        self.cache.insert(Arc::clone(&descriptor), holder);
        Some(Located { descriptor, holder })
    }

    /// Who serves the range, as this replica knows it: the leaseholder, or else the leader, who can become it.
    pub(crate) fn holder_of(&self, replica: &Replica) -> Option<NodeId> {
        let (lease, descriptor) = (replica.lease(), replica.descriptor());
        let in_force = !lease.expires() || self.now().is_ok_and(|now| now < lease.expiration);
        if in_force && lease.sequence > 0 && !replica.is_revoked() {
            return Some(lease.node_id);
        }
        let leader = self.leader_of(replica.range_id)?;
        descriptor.node_of(leader)
    }

    /// Reads meta: the first entry whose range ends above the key.
    async fn look_up(self: &Arc<Self>, aim: Aim<'_>) -> Result<Option<Located>> {
        let start = match aim {
            Aim::At(key) => keys::prefix_end(&keys::meta_key(key)),
            Aim::Before(end) => keys::meta_key(end),
        };
        let end = keys::prefix_end(&[keys::META_PREFIX]);
        let header =
            BatchHeader { consistency: ReadConsistency::Inconsistent, rows_max: 1, ..BatchHeader::default() };
        let request =
            Request::Scan { span: Span::new(start, end), reverse: false, lock: None, program: None };
        let batch = BatchRequest { header, requests: vec![request] };
        let response = Box::pin(self.route(batch)).await?;
        let Some(Response::Scan { batch: ScanBatch::Rows(rows), .. }) = response.responses.into_iter().next()
        else {
            return Ok(None);
        };
        let Some((_, value)) = rows.into_iter().next() else { return Ok(None) };
        let descriptor =
            RangeDescriptor::decode(value).map_err(|error| Error::Corruption(error.to_string()))?;
        if !aim.is_met_by(&descriptor) {
            return Ok(None);
        }
        // Refused if it overlaps what ranges have told since.
        self.cache.insert(Arc::new(descriptor), None);
        Ok(self.cached(aim))
    }

    /// Asks all other nodes for their replicas: where the first range is, or what meta does not say yet.
    async fn find_elsewhere(&self, aim: Aim<'_>) -> Option<Located> {
        let (key, before) = match aim {
            Aim::At(key) => (Key::copy_from_slice(key), false),
            Aim::Before(end) => (Key::copy_from_slice(end), true),
        };
        let request = PeerRequest::Find { key, before }.encode();
        let others = self.other_nodes();
        let calls = others.into_iter().map(|node| self.peers().call(node, request.clone()));
        let mut best: Option<Located> = None;
        for reply in join_all(calls).await.into_iter().flatten() {
            let Ok(reply) = PeerReply::decode(reply) else { continue };
            for hint in reply.hints {
                let newer = best.as_ref().is_none_or(|best| {
                    let known = (best.descriptor.generation, best.holder.is_some());
                    (hint.descriptor.generation, hint.holder.is_some()) > known
                });
                if aim.is_met_by(&hint.descriptor) && newer {
                    best = Some(hint);
                }
            }
        }
        let best = best?;
        self.cache.insert(best.descriptor, best.holder);
        self.cached(aim)
    }
}
