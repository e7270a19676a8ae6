//! The [`Sender`] of a node: function calls where the range is served here, calls of other nodes where it is not.

use std::{sync::Arc, time::Duration};

use basalt_base::{Key, Span, Timestamp};
use basalt_env::BoxFuture;
use basalt_kv_api::{BatchRequest, BatchResponse, Result, Sender};

use super::resolutions::may_wait_for_others;
use crate::{replica::Replica, store::Store};

/// Timestamps count whole milliseconds, so two clocks seem up to this much farther apart than they are.
const CLOCK_ROUNDING: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub struct LocalSender {
    store: Arc<Store>,
}

impl LocalSender {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Sender for LocalSender {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse>> {
        if may_wait_for_others(&batch) {
            return Box::pin(self.store.resolve_with_others(batch.requests));
        }
        Box::pin(self.store.route(batch))
    }

    fn commits_in_one_phase(&self, hull: &Span, keys: &mut dyn Iterator<Item = &Key>) -> bool {
        let known = self.store.cache.get(&hull.start).map(|located| located.descriptor);
        let first = known
            .or_else(|| self.store.states.ranges.by_key(&hull.start).map(|replica| replica.descriptor()));
        first.is_some_and(|descriptor| descriptor.covers(hull)) || self.store.may_commit_together(keys)
    }

    fn releases_at_once(&self, held: &Span) -> bool {
        // The lock table is the store's, whichever range a lock is in, as long as nobody else has a replica of it.
        self.store.states.ranges.all_in(held, Replica::is_alone_for_good)
    }

    fn uncertainty(&self) -> Duration {
        if self.store.has_peers() {
            self.store.config().clock_offset_max + CLOCK_ROUNDING
        } else {
            Duration::ZERO
        }
    }

    fn now(&self) -> Result<Timestamp> {
        self.store.now()
    }
}
