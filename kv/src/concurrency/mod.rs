//! Concurrency control at the leaseholder.
//!
//! [`latch`] orders requests while they are evaluated and applied, [`lock_table`] orders transactions while they hold
//! locks, [`timestamp_cache`] keeps writes above reads, and [`txn_markers`] keeps what was decided about transactions
//! without a record. All are keyed by user key or transaction and belong to the store, so that a split moves nothing.

mod dependents;
mod latch;
mod lock_table;
mod signal;
mod span_map;
mod summary;
mod timestamp_cache;
mod txn_markers;
mod wait_graph;

#[cfg(test)]
mod lock_table_tests;

pub use dependents::{Dependents, must_give_way};
pub use latch::{Access, Extent, LatchGuard, LatchSpan, Latches};
pub use lock_table::{Blocked, HolderInfo, LockTable, QueuePlace, Want};
pub use signal::Signal;
pub use span_map::{ReadMark, SpanMap};
pub use summary::{Marks, ReadSummary};
pub use timestamp_cache::TimestampCache;
pub use txn_markers::{Tombstones, TxnMarkers};
