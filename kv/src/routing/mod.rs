//! From batches to ranges: the range cache over meta, and the router.

mod cache;
mod divide;
mod lookup;
mod router;
mod sender;

pub use cache::RangeCache;
pub use sender::LocalSender;
