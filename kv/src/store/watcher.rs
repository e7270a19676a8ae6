//! What a store does when a range changes under it: another lease, other bounds, other members.

use std::sync::{Arc, Weak};

use basalt_env::{Bug, planted};

use super::{Store, open::alive};
use crate::{
    concurrency::ReadSummary,
    counts::Counters,
    replica::{Applies, Lease, Replica},
};

pub(super) struct Watcher {
    store: Weak<Store>,
}

impl Watcher {
    pub fn new(store: Weak<Store>) -> Self {
        Self { store }
    }
}

impl Applies for Watcher {
    fn changed(&self, replica: &Arc<Replica>, new_lease: bool) {
        let Some(store) = alive(&self.store) else { return };
        let (descriptor, lease) = (replica.descriptor(), replica.lease());
        if new_lease {
            // What is in memory of the locks was learnt under another lease. Who waits looks again.
            store.locks.forget_span(&descriptor.span);
        }
        store.cache.insert(Arc::clone(&descriptor), Some(lease.node_id));
        if !lease.is_of(store.ident.node_id, store.incarnation) {
            return;
        }
        let replica = Arc::clone(replica);
        let task = Arc::clone(&store);
        let task = async move { task.adopt(&replica, new_lease).await };
        store.env.spawner.spawn("kv new lease", Box::pin(task));
    }

    fn told_of_reads(&self, lease: &Lease, summary: &ReadSummary) {
        let Some(store) = alive(&self.store) else { return };
        if lease.is_of(store.ident.node_id, store.incarnation) && !planted(Bug::ForgetToldReads) {
            store.reads.adopt(summary);
            store.markers.adopt(summary);
        }
    }

    fn destroyed(&self, replica: &Arc<Replica>) {
        let Some(store) = alive(&self.store) else { return };
        let descriptor = replica.descriptor();
        store.locks.forget_span(&descriptor.span);
        store.cache.evict(&descriptor.span.start);
        Counters::increment(&store.counters.replicas_destroyed);
    }
}

impl Store {
    /// Takes on what a leaseholder has to see to: records left by an earlier one, and the range's meta entry.
    async fn adopt(self: &Arc<Self>, replica: &Arc<Replica>, new_lease: bool) {
        if new_lease && let Err(error) = self.adopt_records(&replica.descriptor().span) {
            tracing::warn!(range = %replica.range_id, %error, "records of transactions could not be read");
        }
        self.tell_meta(replica).await;
    }

    /// Writes the range's meta entry, unless it is known to be there. A failure is made up for in the next round.
    pub(super) async fn tell_meta(self: &Arc<Self>, replica: &Arc<Replica>) {
        let descriptor = replica.descriptor();
        if !replica.owes_meta() {
            return;
        }
        match self.put_meta(&[&descriptor]).await {
            Ok(()) => replica.note_meta(descriptor.generation),
            Err(error) => tracing::debug!(range = %replica.range_id, %error, "meta was not told"),
        }
    }
}
