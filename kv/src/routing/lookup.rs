//! From a key to its range: the cache, then meta, then the store itself.

use std::sync::Arc;

use basalt_base::{Span, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error, ReadConsistency, Request, Response, Result, ScanBatch,
};

use crate::{
    counts::Counters,
    replica::{RangeDescriptor, Replica},
    store::Store,
};

impl Store {
    /// The range that holds `key`, as far as is known, and its replica.
    pub(crate) async fn locate(self: &Arc<Self>, key: &[u8]) -> Result<(Arc<RangeDescriptor>, Arc<Replica>)> {
        let cached = match self.cache.get(key) {
            Some(descriptor) => Some(descriptor),
            None => self.look_up(key).await?,
        };
        if let Some(descriptor) = cached
            && let Some(replica) = self.states.ranges.by_id(descriptor.range_id)
        {
            return Ok((descriptor, replica));
        }
        self.locate_here(key)
    }

    /// As [`Store::locate`], from the replicas of this store. Corrects the cache.
    pub(crate) fn locate_here(&self, key: &[u8]) -> Result<(Arc<RangeDescriptor>, Arc<Replica>)> {
        Counters::increment(&self.counters.routing_refreshes);
        self.cache.evict(key);
        let replica = self
            .states
            .ranges
            .by_key(key)
            .ok_or_else(|| Error::Unavailable(format!("no range holds key {key:02x?}")))?;
        let descriptor = replica.descriptor();
        self.cache.insert(Arc::clone(&descriptor));
        Ok((descriptor, replica))
    }

    /// Reads meta: the first entry whose range ends above `key`.
    async fn look_up(self: &Arc<Self>, key: &[u8]) -> Result<Option<Arc<RangeDescriptor>>> {
        let above = keys::prefix_end(&keys::meta_key(key));
        let end = keys::prefix_end(&[keys::META_PREFIX]);
        let Some(first) = self.states.ranges.by_key(&keys::KEY_MIN) else { return Ok(None) };
        if *key < *end {
            // Meta itself is never looked up.
            return Ok(None);
        }
        let header =
            BatchHeader { consistency: ReadConsistency::Inconsistent, rows_max: 1, ..BatchHeader::default() };
        let request =
            Request::Scan { span: Span::new(above, end), reverse: false, lock: None, program: None };
        let batch = BatchRequest { header, requests: vec![request] };
        let response = Box::pin(self.execute(&first, &batch)).await?;
        let Some(Response::Scan { batch: ScanBatch::Rows(rows), .. }) = response.responses.into_iter().next()
        else {
            return Ok(None);
        };
        let Some((_, value)) = rows.into_iter().next() else { return Ok(None) };
        let descriptor =
            RangeDescriptor::decode(value).map_err(|error| Error::Corruption(error.to_string()))?;
        if !descriptor.contains(key) {
            return Ok(None);
        }
        let descriptor = Arc::new(descriptor);
        self.cache.insert(Arc::clone(&descriptor));
        Ok(Some(descriptor))
    }
}
