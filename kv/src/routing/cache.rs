//! What the router remembers of meta.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use basalt_base::{Key, NodeId};
use parking_lot::RwLock;

use crate::replica::RangeDescriptor;

/// A range, and who served it last as far as is known.
#[derive(Clone, Debug)]
pub struct Located {
    pub descriptor: Arc<RangeDescriptor>,
    pub holder: Option<NodeId>,
}

/// Descriptors by range end. They never overlap; any of them may be stale, which the range itself will say.
#[derive(Default)]
pub struct RangeCache {
    by_end: RwLock<BTreeMap<Key, Located>>,
}

impl RangeCache {
    pub fn get(&self, key: &[u8]) -> Option<Located> {
        let by_end = self.by_end.read();
        let (_, located) = by_end.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next()?;
        located.descriptor.contains(key).then(|| located.clone())
    }

    /// The range that holds the keys just below `end`.
    pub fn get_before(&self, end: &[u8]) -> Option<Located> {
        let by_end = self.by_end.read();
        let (_, located) = by_end.range::<[u8], _>((Bound::Included(end), Bound::Unbounded)).next()?;
        (*located.descriptor.span.start < *end).then(|| located.clone())
    }

    /// Remembers `descriptor` unless something newer is known of its span; and its leaseholder, if one is named.
    pub fn insert(&self, descriptor: Arc<RangeDescriptor>, holder: Option<NodeId>) {
        let mut by_end = self.by_end.write();
        let after = (Bound::Excluded(descriptor.span.start.clone()), Bound::Unbounded);
        let overlapping: Vec<Located> = by_end
            .range(after)
            .map(|(_, known)| known.clone())
            .take_while(|known| known.descriptor.span.start < descriptor.span.end)
            .collect();
        if overlapping.iter().any(|known| known.descriptor.generation > descriptor.generation) {
            return;
        }
        let mut known_holder = None;
        for known in overlapping {
            if known.descriptor.range_id == descriptor.range_id {
                known_holder = known.holder;
            }
            by_end.remove(&known.descriptor.span.end);
        }
        let holder = holder.or(known_holder);
        by_end.insert(descriptor.span.end.clone(), Located { descriptor, holder });
    }

    /// Notes who serves the range, or that nobody known does.
    pub fn set_holder(&self, descriptor: &RangeDescriptor, holder: Option<NodeId>) {
        if let Some(known) = self.by_end.write().get_mut(&descriptor.span.end)
            && known.descriptor.range_id == descriptor.range_id
        {
            known.holder = holder;
        }
    }

    /// Forgets what is known of `key`.
    pub fn evict(&self, key: &[u8]) {
        let mut by_end = self.by_end.write();
        let found = by_end.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next();
        let found = found.filter(|(_, known)| known.descriptor.contains(key)).map(|(end, _)| end.clone());
        if let Some(end) = found {
            by_end.remove(&end);
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_base::{RangeId, ReplicaId, Span};

    use super::*;

    fn descriptor(id: u64, generation: u64, from: &'static str, to: &'static str) -> Arc<RangeDescriptor> {
        Arc::new(RangeDescriptor {
            range_id: RangeId(id),
            generation,
            span: Span::new(Key::from_static(from.as_bytes()), Key::from_static(to.as_bytes())),
            replicas: Vec::new(),
            next_replica_id: ReplicaId(1),
        })
    }

    #[test]
    fn newer_descriptors_displace_older_ones() {
        let cache = RangeCache::default();
        let id_of = |key: &[u8]| cache.get(key).map(|found| found.descriptor.range_id.0);
        cache.insert(descriptor(1, 1, "a", "z"), None);
        assert_eq!(id_of(b"m"), Some(1));
        cache.insert(descriptor(2, 2, "m", "z"), None);
        assert_eq!(id_of(b"m"), Some(2));
        assert!(cache.get(b"b").is_none());
        cache.insert(descriptor(1, 2, "a", "m"), None);
        cache.insert(descriptor(1, 1, "a", "z"), None);
        assert_eq!(cache.get(b"b").map(|found| found.descriptor.generation), Some(2));
        assert_eq!(cache.by_end.read().len(), 2);
        assert_eq!(cache.get_before(b"m").map(|found| found.descriptor.range_id.0), Some(1));
        assert_eq!(cache.get_before(b"n").map(|found| found.descriptor.range_id.0), Some(2));
        cache.evict(b"b");
        assert!(cache.get(b"b").is_none() && cache.get(b"z").is_none());
        assert!(cache.get(b"y").is_some());
    }

    #[test]
    fn a_leaseholder_is_remembered_over_changes_of_the_range() {
        let cache = RangeCache::default();
        cache.insert(descriptor(1, 1, "a", "z"), Some(NodeId(3)));
        cache.insert(descriptor(1, 2, "a", "z"), None);
        assert_eq!(cache.get(b"b").and_then(|found| found.holder), Some(NodeId(3)));
        cache.set_holder(&descriptor(1, 2, "a", "z"), None);
        assert_eq!(cache.get(b"b").and_then(|found| found.holder), None);
        cache.set_holder(&descriptor(9, 2, "a", "z"), Some(NodeId(4)));
        assert_eq!(cache.get(b"b").and_then(|found| found.holder), None);
    }
}
