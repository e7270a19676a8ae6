//! The way from a coordinator to the leaseholders.

use basalt_base::{Span, Timestamp};
use basalt_env::BoxFuture;

use crate::{BatchRequest, BatchResponse, Result};

/// Routes batches to leaseholders and gathers their answers.
///
/// A batch may touch several ranges: it is then split, and only batches without EndTxn and without limits are sent in
/// parallel. A redirect (stale routing) is handled inside; an ambiguous outcome of a commit surfaces as
/// [`crate::Error::Ambiguous`] and is never retried.
pub trait Sender: Send + Sync {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse>>;

    /// Whether all of `spans` lie in one range now (a hint: the leaseholder decides).
    fn in_one_range(&self, spans: &[Span]) -> bool;

    /// A reading of this node's hybrid logical clock.
    fn now(&self) -> Result<Timestamp>;
}
