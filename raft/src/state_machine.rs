//! What the log drives: the replicated state of the ranges.
//!
//! The state machine owns the engine. It stores each group's applied index, applied term and membership *in the same
//! engine batch* as the effects of the commands up to that index, so that after a crash the three agree and the loop
//! can replay the rest of the log. Its engine need not sync: only [`StateMachine::flush`] makes state durable.

use std::any::Any;

use basalt_base::{RangeId, ReplicaId};
use bytes::Bytes;

use crate::{Membership, Result};

/// A position in a group's log. The first entry of a new group is `INITIAL_LOG_INDEX + 1`.
pub type LogIndex = u64;
/// A leader's term.
pub type Term = u64;

/// Where the log of a group born by bootstrap or split starts, on every replica alike. It is above zero so that a
/// replica without state (index 0) can't be mistaken for one with state.
pub const INITIAL_LOG_INDEX: LogIndex = 10;
/// The term of the (virtual) entry at [`INITIAL_LOG_INDEX`].
pub const INITIAL_LOG_TERM: Term = 5;

/// A replica and its durable (or about to be) applied state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescriptor {
    pub range_id: RangeId,
    pub replica_id: ReplicaId,
    pub membership: Membership,
    pub applied_index: LogIndex,
    pub applied_term: Term,
}

impl GroupDescriptor {
    /// A group as bootstrap or a split makes it: state present, log empty.
    pub fn initial(range_id: RangeId, replica_id: ReplicaId, membership: Membership) -> Self {
        Self {
            range_id,
            replica_id,
            membership,
            applied_index: INITIAL_LOG_INDEX,
            applied_term: INITIAL_LOG_TERM,
        }
    }

    /// A replica without any state, which waits for a leader's snapshot.
    pub fn blank(range_id: RangeId, replica_id: ReplicaId) -> Self {
        Self { range_id, replica_id, membership: Membership::default(), applied_index: 0, applied_term: 0 }
    }

    pub fn is_blank(&self) -> bool {
        self.applied_index == 0
    }
}

/// A committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub index: LogIndex,
    pub term: Term,
    /// The bytes given to `propose` or `change_membership`. Empty for a new leader's first entry and for the leave of
    /// a joint configuration: the applied index moves, nothing else.
    pub command: Bytes,
    /// Set for a change of membership: the configuration in force from this entry on, to be stored with the state.
    pub membership: Option<Membership>,
}

/// What applying one entry gave.
#[derive(Default)]
pub struct Applied {
    /// Handed to the local proposer, if any.
    pub outcome: Option<Box<dyn Any + Send>>,
    pub effects: Vec<Effect>,
}

/// What the store loop must do after an entry was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A split made this group ([`GroupDescriptor::initial`]). Replay may say so again; the log and the vote of a
    /// group that exists are kept.
    NewGroup(GroupDescriptor),
}

/// The state of one group at one index, to bring a replica up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotData {
    pub index: LogIndex,
    pub term: Term,
    pub membership: Membership,
    pub bytes: Bytes,
}

/// The replicated state. All methods are called by the store loop, except `flush` and `snapshot`, which run beside it.
pub trait StateMachine: Send + Sync + 'static {
    /// Every replica that has state in the engine. What a freshly opened engine shows is durable.
    fn groups(&self) -> Result<Vec<GroupDescriptor>>;

    /// Applies `entries` (consecutive, in order, at least one), writing effects, applied index, applied term and
    /// membership atomically. Returns one result per entry.
    ///
    /// [`crate::Error::DiskFull`] means that *nothing* of this call was written: the loop calls again later.
    /// It may have been written up to some entry before an earlier batch was cut; then entries at or below the applied
    /// index must be skipped with an empty result. Any other error stops the store.
    fn apply(&self, range_id: RangeId, entries: &[LogEntry]) -> Result<Vec<Applied>>;

    /// The group's state now: all of it as of one applied index. Reads for long; called from a thread of its own while
    /// the loop goes on applying, to this group too.
    fn snapshot(&self, range_id: RangeId) -> Result<SnapshotData>;

    /// Whether a snapshot that came for this replica may be installed: its range may overlap another one here, or
    /// belong to a split that is still to be applied. A refused one is dropped; the leader sends again later.
    fn accepts_snapshot(&self, _range_id: RangeId, _replica_id: ReplicaId, _snapshot: &SnapshotData) -> bool {
        true
    }

    /// Replaces the group's whole state, of whatever replica it was. Idempotent: the loop keeps the snapshot in its log
    /// until the installation is flushed and repeats it after a crash. [`crate::Error::Unavailable`] and
    /// [`crate::Error::DiskFull`] are tried again later (nothing is applied meanwhile); other errors stop the store.
    fn install_snapshot(
        &self,
        range_id: RangeId,
        replica_id: ReplicaId,
        snapshot: &SnapshotData,
    ) -> Result<()>;

    /// Destroys the group's whole state, of whatever replica it is. Idempotent, and need not be durable: the tombstone
    /// in the log is, and the next start says it again. [`crate::Error::Unavailable`] and [`crate::Error::DiskFull`]
    /// are tried again later; other errors stop the store.
    fn destroy(&self, range_id: RangeId) -> Result<()> {
        Err(crate::Error::StateMachine(format!("range {range_id} can't be destroyed")))
    }

    /// The applied index of the group that survives a crash: as of the last completed flush. The log is kept behind it.
    fn durable_applied(&self, range_id: RangeId) -> LogIndex;

    /// Makes all applied state durable. Blocks; called from a thread of its own while the loop goes on applying.
    fn flush(&self) -> Result<()>;
}
