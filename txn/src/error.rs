//! Errors of the transaction layer.

use basalt_base::ErrorKind;
use basalt_kv_api as api;
use thiserror::Error;

/// What a retry of the transaction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The same transaction in a new epoch: its locks stay.
    Epoch,
    /// A new transaction: this one was aborted, and its locks are gone.
    NewTransaction,
}

#[derive(Debug, Clone, Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] api::Error),
    /// The transaction has ended, or its outcome is unknown, or it waits for [`crate::Txn::restart`].
    #[error("transaction is {0}")]
    Ended(&'static str),
    /// A write or a lock in a read-only transaction.
    #[error("transaction is read-only")]
    ReadOnly,
    /// The savepoint belongs to an attempt that was given up.
    #[error("savepoint is no longer valid")]
    SavepointGone,
    #[error("transaction exceeds a limit: {0}")]
    LimitExceeded(&'static str),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Ended(_) | Self::ReadOnly | Self::SavepointGone | Self::LimitExceeded(_) => {
                ErrorKind::Invalid
            }
        }
    }

    /// Whether running the transaction again may succeed, and in what form. Call [`crate::Txn::restart`] first.
    pub fn restart(&self) -> Option<Restart> {
        match self {
            Self::Store(api::Error::TxnAborted { .. } | api::Error::Deadlock { .. }) => {
                Some(Restart::NewTransaction)
            }
            Self::Store(error) if error.kind() == ErrorKind::Retry => Some(Restart::Epoch),
            _ => None,
        }
    }

    /// The store's error, if it is one.
    pub fn store(&self) -> Option<&api::Error> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
