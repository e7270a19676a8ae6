//! The ranges of a store: which replica serves which key. They never overlap; other stores may have what is between them.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, RangeId, Span};
use basalt_storage::{Family, IterOptions, Reader};
use parking_lot::RwLock;

use super::{
    descriptor::{DESCRIPTOR, RangeDescriptor},
    state::{Replica, ReplicaState},
};

#[derive(Default)]
struct Index {
    by_id: BTreeMap<RangeId, Arc<Replica>>,
    /// By exclusive end, with the start: the range of `k` is the first whose end is above `k`.
    by_end: BTreeMap<Key, (Key, Arc<Replica>)>,
}

#[derive(Default)]
pub struct RangeSet {
    index: RwLock<Index>,
}

impl RangeSet {
    /// Reads all ranges that the engine knows.
    pub fn load(reader: &dyn Reader) -> basalt_storage::Result<Self> {
        let lower = basalt_base::keys::range_id_key(RangeId(0), 0);
        let upper = basalt_base::keys::prefix_end(&[basalt_base::keys::RANGE_ID_LOCAL_PREFIX]);
        let mut iter = reader.iter(
            Family::Local,
            IterOptions { lower: Some(lower.clone()), upper: Some(upper), ..IterOptions::default() },
        )?;
        iter.seek(&lower)?;
        let mut ids = Vec::new();
        while iter.valid() {
            if let [_, id @ .., DESCRIPTOR] = iter.key()
                && let Ok(id) = <[u8; 8]>::try_from(id)
            {
                ids.push(RangeId(u64::from_be_bytes(id)));
            }
            iter.next()?;
        }
        let set = Self::default();
        for id in ids {
            set.insert(Arc::new(Replica::new(ReplicaState::load(reader, id)?)));
        }
        Ok(set)
    }

    pub fn by_id(&self, range_id: RangeId) -> Option<Arc<Replica>> {
        self.index.read().by_id.get(&range_id).cloned()
    }

    pub fn by_key(&self, key: &[u8]) -> Option<Arc<Replica>> {
        let index = self.index.read();
        let above = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
        let (_, (start, replica)) = index.by_end.range::<[u8], _>(above).next()?;
        (**start <= *key).then(|| Arc::clone(replica))
    }

    /// The replica whose range has the keys just below `end`.
    pub fn before(&self, end: &[u8]) -> Option<Arc<Replica>> {
        let index = self.index.read();
        let at = (std::ops::Bound::Included(end), std::ops::Bound::Unbounded);
        let (_, (start, replica)) = index.by_end.range::<[u8], _>(at).next()?;
        (**start < *end).then(|| Arc::clone(replica))
    }

    /// Whether the whole span is in ranges for which `holds` is true.
    pub fn all_in(&self, span: &Span, holds: impl Fn(&Replica) -> bool) -> bool {
        let index = self.index.read();
        let above = (std::ops::Bound::Excluded(&span.start[..]), std::ops::Bound::Unbounded);
        let mut covered = &span.start;
        for (end, (start, replica)) in index.by_end.range::<[u8], _>(above) {
            if *covered >= span.end || start > covered || !holds(replica) {
                break;
            }
            covered = end;
        }
        *covered >= span.end
    }

    /// All replicas in key order.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.index.read().by_end.values().map(|(_, replica)| Arc::clone(replica)).collect()
    }

    pub fn len(&self) -> usize {
        self.index.read().by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn insert(&self, replica: Arc<Replica>) {
        let descriptor = replica.descriptor();
        let mut index = self.index.write();
        index.by_id.insert(replica.range_id, Arc::clone(&replica));
        index.by_end.insert(descriptor.span.end.clone(), (descriptor.span.start.clone(), replica));
    }

    /// Takes a replica out, if it is the one that is known.
    pub fn remove(&self, replica: &Arc<Replica>) {
        let mut index = self.index.write();
        if index.by_id.get(&replica.range_id).is_some_and(|known| Arc::ptr_eq(known, replica)) {
            index.by_id.remove(&replica.range_id);
        }
        index.by_end.retain(|_, (_, known)| !Arc::ptr_eq(known, replica));
    }

    /// Puts `new` in the place of `old`, in one step.
    pub fn replace(&self, old: &Arc<Replica>, new: Arc<Replica>) {
        let descriptor = new.descriptor();
        let mut index = self.index.write();
        index.by_end.retain(|_, (_, known)| !Arc::ptr_eq(known, old));
        index.by_id.insert(new.range_id, Arc::clone(&new));
        index.by_end.insert(descriptor.span.end.clone(), (descriptor.span.start.clone(), new));
    }

    /// The replicas whose ranges have keys in `span`.
    pub fn overlapping(&self, span: &Span) -> Vec<Arc<Replica>> {
        let index = self.index.read();
        let above = (std::ops::Bound::Excluded(&span.start[..]), std::ops::Bound::Unbounded);
        let ranges = index.by_end.range::<[u8], _>(above);
        let ranges = ranges.take_while(|(_, (start, _))| *start < span.end);
        ranges.map(|(_, (_, replica))| Arc::clone(replica)).collect()
    }

    /// Puts `right` in the place that the `left` half gave up, in one step, so that the ranges always tile.
    pub fn split(&self, left: &Arc<Replica>, narrowed: &RangeDescriptor, right: Arc<Replica>) {
        let descriptor = right.descriptor();
        let mut index = self.index.write();
        index.by_id.insert(right.range_id, Arc::clone(&right));
        index.by_end.insert(descriptor.span.end.clone(), (descriptor.span.start.clone(), right));
        index.by_end.insert(narrowed.span.end.clone(), (narrowed.span.start.clone(), Arc::clone(left)));
    }
}
