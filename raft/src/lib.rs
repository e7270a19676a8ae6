//! Replication: many Raft groups over one log.
//!
//! See `README.md` for the numbered invariants.

mod counts;
mod driver;
mod envelope;
mod error;
mod handle;
mod ident;
mod inbox;
mod log;
mod logger;
mod membership;
mod options;
mod snapshot_slots;
mod state_machine;
mod status;
mod storage;
mod store;
mod transport;

#[cfg(test)]
mod tests;

pub use counts::RaftCounts;
pub use envelope::{Envelope, MessageKind};
pub use error::{Error, Result};
pub use handle::{ProposalFuture, RaftHandle};
pub use ident::StoreIdent;
pub use inbox::Outcome;
pub use log::proven_batches;
pub use membership::{Membership, MembershipChange};
pub use options::Options;
pub use state_machine::{
    Applied, Effect, GroupDescriptor, INITIAL_LOG_INDEX, INITIAL_LOG_TERM, LogEntry, LogIndex, SnapshotData,
    StateMachine, Term,
};
pub use status::{Progress, Role, Status};
pub use store::RaftStore;
pub use transport::{NoTransport, Observer, Transport};
