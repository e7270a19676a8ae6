//! The log store: one append-only stream of checksummed batches for all groups of the store.
//!
//! Guarantee: what was appended before a completed [`LogStore::sync`] is there after any crash, and nothing that was
//! not appended ever is. It follows from three rules.
//!
//! * A *batch* (everything of one turn of the loop) is the unit of writing and of checksums, so a half-written batch
//!   is not seen at all. Each batch names its predecessor's checksum: leftovers of an abandoned tail never continue a
//!   chain.
//! * Each batch says up to which batch the log was synced when it was written. An unreadable batch is a *torn tail*
//!   (it was never synced; drop it) unless a later header proves that it was synced: then the file is *damaged*, and
//!   the store refuses to open and names file and offset.
//! * Space is allocated before it is used. A full disk therefore shows when a segment is added, before anything
//!   of the new batch is written, and never between two halves of a batch.
//!
//! Segments are removed from the oldest on, when no group has live entries in them; every segment begins with a
//! checkpoint of all small state, so that nothing else is needed from those before it.
//!
//! What was synced last has no later header behind it. So a log that rests a moment gets an empty batch, a *mark*, which is
//! not synced and costs a short write. `README.md` says what remains.

mod batch;
mod codec;
mod frame;
mod group;
mod reclaim;
mod record;
mod recovery;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use batch::LogBatch;
pub(crate) use group::{GroupLog, HardState};
pub(crate) use record::PendingSnapshot;
pub use recovery::proven_batches;
pub(crate) use state::SegmentFiles;
pub(crate) use store::LogStore;
