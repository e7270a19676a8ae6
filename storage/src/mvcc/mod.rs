//! Multi-version concurrency control over any [`Reader`](crate::Reader), as pure functions.
//!
//! The guarantee: a read at a timestamp sees, for every key, the newest version committed at or below it, plus what
//! its own transaction wrote, and never misses a commit that might have happened before it began.
//! The mechanism follows from it:
//!
//! * committed versions live in the data family under `key ‖ inverted timestamp`, newest first ([`key`], [`value`]);
//!   nothing uncommitted is ever there, so that garbage collection needs to know about timestamps only;
//! * what is open lives in the lock family under `key ‖ strength ‖ transaction` ([`lock`]). A reader that meets a
//!   foreign provisional value it cannot step over gets it back *as data* ([`FoundLock`]): waiting and pushing are the
//!   caller's business, storage never waits;
//! * a version above the read timestamp but within the uncertainty limits is reported, not hidden.
//!
//! Functions that change something read through a `&dyn Reader` and write into a [`WriteBatch`](crate::WriteBatch).
//! They do not see what they put into the batch: a caller that runs several over the same keys reads through an
//! [`OpenBatch`](crate::OpenBatch) (see the overlay module).
//!
//! None of them is asynchronous, holds a lock, reads a clock, or keeps state between calls.

pub mod context;
mod cursor;
pub mod gc;
pub mod get;
mod intent_cursor;
pub mod key;
pub mod lock;
pub mod refresh;
pub mod resolve;
pub mod scan;
pub mod value;
pub mod write;

#[cfg(test)]
mod lock_walk_tests;
#[cfg(test)]
mod tests;

pub use context::{
    FinishedTxn, FinishedTxns, FoundLock, IgnoredSeqs, OwnTxn, ReadContext, WriteContext, WriteOutcome,
    WriteTxn, ignores,
};
pub use gc::{GcOutcome, gc};
pub use get::{GetOutcome, NewestVersion, Version, get, newest_version, newest_version_ts};
pub use lock::{LockRecord, Strength};
pub use refresh::{ForeignChange, has_foreign_change};
pub use resolve::{RangeResolved, Resolution, ResolveStatus, Resolved, resolve, resolve_range};
pub use scan::{ScanLimits, ScanOutcome, UncertainVersion, scan};
pub use write::{acquire_lock, delete, foreign_locks, intent_of, locks_held, put, put_committed, scan_locks};
