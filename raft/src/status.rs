//! What a handle shows of the replicas here.

use basalt_base::ReplicaId;

use crate::{LogIndex, Term};

/// The part a replica plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// A replica as of the last turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub replica_id: ReplicaId,
    pub role: Role,
    pub leader: Option<ReplicaId>,
    pub term: Term,
    pub committed: LogIndex,
    pub applied: LogIndex,
    pub last_index: LogIndex,
    /// The first entry still in the log.
    pub first_index: LogIndex,
    /// Does not tick: the group is idle. `RaftHandle::wake` and any message end that.
    pub is_quiescent: bool,
    /// A leader that hands over and takes no proposals meanwhile.
    pub is_transferring: bool,
}

/// A member of a group as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub replica_id: ReplicaId,
    /// The member's log agrees with the leader's up to here, durably.
    pub matched: LogIndex,
    pub is_learner: bool,
    /// It was heard of within an election timeout (of ticks: a quiescent group's members stay as they were).
    pub recently_active: bool,
    /// The index of a snapshot on its way to the member.
    pub pending_snapshot: Option<LogIndex>,
}
