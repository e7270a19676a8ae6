//! What the router remembers of meta.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use basalt_base::Key;
use parking_lot::RwLock;

use crate::replica::RangeDescriptor;

/// Descriptors by range end. They never overlap; any of them may be stale, which the range itself will say.
#[derive(Default)]
pub struct RangeCache {
    by_end: RwLock<BTreeMap<Key, Arc<RangeDescriptor>>>,
}

impl RangeCache {
    pub fn get(&self, key: &[u8]) -> Option<Arc<RangeDescriptor>> {
        let by_end = self.by_end.read();
        let (_, descriptor) = by_end.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next()?;
        descriptor.contains(key).then(|| Arc::clone(descriptor))
    }

    /// Remembers `descriptor` unless something newer is known of its span.
    pub fn insert(&self, descriptor: Arc<RangeDescriptor>) {
        let mut by_end = self.by_end.write();
        let after = (Bound::Excluded(descriptor.span.start.clone()), Bound::Unbounded);
        let overlapping: Vec<Arc<RangeDescriptor>> = by_end
            .range(after)
            .map(|(_, known)| Arc::clone(known))
            .take_while(|known| known.span.start < descriptor.span.end)
            .collect();
        if overlapping.iter().any(|known| known.generation > descriptor.generation) {
            return;
        }
        for known in overlapping {
            by_end.remove(&known.span.end);
        }
        by_end.insert(descriptor.span.end.clone(), descriptor);
    }

    /// Forgets what is known of `key`.
    pub fn evict(&self, key: &[u8]) {
        let mut by_end = self.by_end.write();
        let found = by_end.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next();
        let Some(end) = found.filter(|(_, known)| known.contains(key)).map(|(end, _)| end.clone()) else {
            return;
        };
        by_end.remove(&end);
    }
}

#[cfg(test)]
mod tests {
    use basalt_base::{RangeId, ReplicaId, Span};

    use super::*;

    fn descriptor(id: u64, generation: u64, from: &'static str, to: &'static str) -> Arc<RangeDescriptor> {
        Arc::new(RangeDescriptor {
            range_id: RangeId(id),
            replica_id: ReplicaId(1),
            generation,
            span: Span::new(Key::from_static(from.as_bytes()), Key::from_static(to.as_bytes())),
        })
    }

    #[test]
    fn newer_descriptors_displace_older_ones() {
        let cache = RangeCache::default();
        cache.insert(descriptor(1, 1, "a", "z"));
        assert_eq!(cache.get(b"m").map(|found| found.range_id), Some(RangeId(1)));
        cache.insert(descriptor(2, 2, "m", "z"));
        assert_eq!(cache.get(b"m").map(|found| found.range_id), Some(RangeId(2)));
        assert!(cache.get(b"b").is_none());
        cache.insert(descriptor(1, 2, "a", "m"));
        cache.insert(descriptor(1, 1, "a", "z"));
        assert_eq!(cache.get(b"b").map(|found| found.generation), Some(2));
        assert_eq!(cache.by_end.read().len(), 2);
        cache.evict(b"b");
        assert!(cache.get(b"b").is_none() && cache.get(b"z").is_none());
        assert!(cache.get(b"y").is_some());
    }
}
