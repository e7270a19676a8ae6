//! The way from a coordinator to the leaseholders.

use std::time::Duration;

use basalt_base::{Key, Span, Timestamp};
use basalt_env::BoxFuture;

use crate::{BatchRequest, BatchResponse, Result};

/// Routes batches to leaseholders and gathers their answers.
///
/// A batch may touch several ranges: it is then split, and only batches without EndTxn and without limits are sent in
/// parallel. A redirect (stale routing) is handled inside; an ambiguous outcome of a commit surfaces as
/// [`crate::Error::Ambiguous`] and is never retried.
pub trait Sender: Send + Sync {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse>>;

    /// Whether writes of `keys`, which lie in `hull`, could be committed by one batch now: they are in one range, or in
    /// ranges that one store has to itself. A hint: the leaseholder decides.
    fn commits_in_one_phase(&self, hull: &Span, keys: &mut dyn Iterator<Item = &Key>) -> bool;

    /// Whether a one-phase commit releases the transaction's unreplicated locks in `held`, too.
    fn releases_at_once(&self, held: &Span) -> bool;

    /// How far the clock of another node that serves requests may be ahead of this node's: a value in the future by less
    /// may be older than a transaction that begins now. Zero while there is no other node.
    fn uncertainty(&self) -> Duration;

    /// A reading of this node's hybrid logical clock.
    fn now(&self) -> Result<Timestamp>;
}
