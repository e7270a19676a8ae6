//! The [`Sender`] of a node whose ranges are all here: function calls, nothing serialised.

use std::sync::Arc;

use basalt_base::{Span, Timestamp};
use basalt_env::BoxFuture;
use basalt_kv_api::{BatchRequest, BatchResponse, Result, Sender};

use crate::store::Store;

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
        Box::pin(self.store.route(batch))
    }

    fn in_one_range(&self, spans: &[Span]) -> bool {
        let Some(first) = spans.first() else { return true };
        let descriptor =
            self.store.cache.get(&first.start).or_else(|| {
                self.store.states.ranges.by_key(&first.start).map(|replica| replica.descriptor())
            });
        descriptor.is_some_and(|descriptor| spans.iter().all(|span| descriptor.covers(span)))
    }

    fn now(&self) -> Result<Timestamp> {
        self.store.now()
    }
}
