//! Work that goes on when the statement, the client or the node that began it is gone: CREATE INDEX CONCURRENTLY.
//!
//! What must hold: the table is used as ever meanwhile; the index is read by nobody before it has an entry for every row,
//! and no node misses a write to it; whatever ends, and whenever, the index is finished or gone in the end.
//!
//! * **States.** The index becomes part of its table as [`WriteOnly`](basalt_planner::IndexState::WriteOnly): writes keep
//!   it, plans don't see it. Then the rows that were there before are added. Then it is made public. Both changes of state
//!   are schema changes like any other: short, under an exclusive lock of the table on all nodes (see [`crate::cluster`]),
//!   so that no two nodes ever use different states of one index. (With descriptors that may be a version apart a state
//!   between, in which the index is only deleted from, would be needed.) A lock that isn't free within a second is given
//!   up and asked for again, so that nobody waits behind one who waits for a long transaction.
//! * **Filling.** Page by page, a transaction reads rows, writes their entries, and notes how far it has come. It is
//!   serializable and under the table's shared lock like a client's: a row that changes meanwhile makes it start over.
//!   Pages shrink while that happens, and small ones lock the rows they read, so it ends.
//! * **Uniqueness.** While a unique index is not complete, two rows may share a key, of which one has the entry; the other
//!   one must neither remove nor replace it ([`crate::exec::write`]). The page that brings the second entry fails the job.
//! * **Proof.** Before an index becomes public its entries are counted against the rows, as of one moment.
//! * **Jobs.** A stored row says what is to be done and how far it is ([`Job`]). Every step is one transaction that also
//!   changes this row, so a step is done once or not at all. The node that runs it has put its session there; when that
//!   session is gone, another node goes on ([`executor`]). Failure and cancellation lead to `reverting`: the index is taken
//!   out of the table again.

pub mod executor;
mod index_build;
mod job;
mod statement;

pub use executor::Jobs;
pub use job::{Job, JobError, JobState, Progress};
pub(crate) use statement::{PendingJob, all, request_cancel};
