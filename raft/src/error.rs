//! Errors of replication.

use std::io;

use basalt_base::{ErrorKind, RangeId, ReplicaId};
use thiserror::Error;

/// What went wrong, said so that a proposer knows whether its command may take effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// This replica does not lead the group. The command was not proposed and never will be.
    #[error("not the leader of the range")]
    NotLeader { leader: Option<ReplicaId> },
    /// Another command took the proposal's place in the log: it is definitely lost.
    #[error("proposal was dropped")]
    Dropped,
    /// The command may or may not take effect. Never propose a second copy.
    #[error("proposal outcome is unknown: {0}")]
    Ambiguous(String),
    /// Refused for now (queue full, group busy). The command was not proposed.
    #[error("replication is unavailable: {0}")]
    Unavailable(String),
    /// The file system has no room for the log. The command was not proposed.
    #[error("no space left on the storage device")]
    DiskFull,
    #[error("range {0} has no replica here")]
    RangeNotFound(RangeId),
    /// The replica, or a later one, was removed here: it can never exist again.
    #[error("replicas of range {range_id} below {next_replica_id} can't exist here any more")]
    ReplicaTooOld { range_id: RangeId, next_replica_id: ReplicaId },
    /// The command or the request itself is wrong (too large, an impossible change of membership).
    #[error("invalid replication request: {0}")]
    Invalid(String),
    /// Stored bytes fail their checksum or contradict each other; names the file and offset or the range.
    #[error("damaged data: {0}")]
    Corruption(String),
    #[error("log i/o error: {0}")]
    Io(String),
    /// An earlier failed write or sync left the log in an unknown state; it must be reopened.
    #[error("replication stopped after an earlier error: {0}")]
    Poisoned(String),
    #[error("store is in use by another process")]
    Locked,
    /// The store was shut down. The command was not proposed.
    #[error("store is shut down")]
    Stopped,
    /// The state machine failed to apply or to read its state.
    #[error("state machine: {0}")]
    StateMachine(String),
    /// Something that the design rules out. The node ends rather than go on from there.
    #[error("broken invariant: {0}")]
    Invariant(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLeader { .. } | Self::RangeNotFound(_) => ErrorKind::Redirect,
            Self::Dropped => ErrorKind::Retry,
            Self::Ambiguous(_) => ErrorKind::Ambiguous,
            Self::Unavailable(_)
            | Self::DiskFull
            | Self::Io(_)
            | Self::Poisoned(_)
            | Self::Locked
            | Self::Stopped => ErrorKind::Unavailable,
            Self::Invalid(_) | Self::ReplicaTooOld { .. } => ErrorKind::Invalid,
            Self::Corruption(_) => ErrorKind::Corruption,
            Self::StateMachine(_) | Self::Invariant(_) => ErrorKind::Internal,
        }
    }

    /// Maps an I/O error of `file`, telling a full disk from a broken one.
    pub(crate) fn io(file: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull
            }
            _ => Self::Io(format!("{file}: {error}")),
        }
    }
}

impl From<basalt_storage::Error> for Error {
    fn from(error: basalt_storage::Error) -> Self {
        match error {
            basalt_storage::Error::DiskFull => Self::DiskFull,
            basalt_storage::Error::Corruption(what) => Self::Corruption(what),
            other => Self::StateMachine(other.to_string()),
        }
    }
}
