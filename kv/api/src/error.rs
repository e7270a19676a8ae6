//! Errors between the key-value layer and its clients.

use std::borrow::Cow;

use basalt_base::{ErrorKind, Key, Timestamp, TxnId};
use thiserror::Error;

#[derive(Debug, Clone, Error)]
pub enum Error {
    /// A newer committed version exists at `existing`; retry with timestamps above it.
    #[error("write too old: a version exists at {existing}")]
    WriteTooOld { existing: Timestamp },
    /// A value may or may not precede the transaction's start.
    #[error("value at {existing} is within the uncertainty interval")]
    Uncertain { existing: Timestamp, retry_at: Timestamp },
    /// The read timestamp can't be moved up: something read has changed.
    #[error("read refresh failed: {reason}")]
    RefreshFailed { reason: Cow<'static, str> },
    /// SERIALIZABLE commit above the read timestamp needs a refresh first.
    #[error("transaction must refresh to {write_ts}")]
    RefreshRequired { write_ts: Timestamp },
    #[error("transaction was aborted: {reason}")]
    TxnAborted { reason: Cow<'static, str> },
    #[error("deadlock detected")]
    Deadlock { holder: TxnId },
    /// NOWAIT or lock_timeout.
    #[error("could not obtain lock")]
    LockNotAvailable { holder: Option<TxnId> },
    #[error("commit deadline exceeded")]
    DeadlineExceeded,
    #[error("read timestamp {read_ts} is below the garbage-collection threshold {threshold}")]
    BelowGcThreshold { read_ts: Timestamp, threshold: Timestamp },
    /// A put that was to happen only if there is no value.
    #[error("the key exists already")]
    KeyExists { key: Key },
    /// The key is no longer in the addressed range.
    #[error("range mismatch")]
    RangeMismatch,
    #[error("not the leaseholder")]
    NotLeaseholder,
    /// The node has no replica of the addressed range.
    #[error("no replica of the range")]
    RangeNotFound,
    /// A commit was staged, but a write that it depends on was refused: it is certain not to be committed at `staged_at`
    /// or below, and must go on above.
    #[error("a staged commit failed: {cause}")]
    Unproven { staged_at: Timestamp, cause: Box<Error> },
    /// A commit whose outcome is unknown. Never retried.
    #[error("commit outcome is unknown: {reason}")]
    Ambiguous { reason: String },
    #[error("no space left on the storage device")]
    DiskFull,
    #[error("unavailable: {0}")]
    Unavailable(String),
    #[error("request exceeds a limit: {0}")]
    LimitExceeded(String),
    #[error("invalid request: {0}")]
    Invalid(String),
    #[error("corrupted data: {0}")]
    Corruption(String),
    /// An error of a pushed-down program, to be read by the layer that wrote the program.
    #[error("scan program failed: {0}")]
    Program(std::sync::Arc<dyn std::error::Error + Send + Sync>),
    #[error("internal error: {0}")]
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether a batch that wrote, or staged a commit, has certainly done nothing of it and never will. Not said of errors
    /// that may come after the batch was handed on.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::WriteTooOld { .. }
            | Self::Uncertain { .. }
            | Self::RefreshFailed { .. }
            | Self::RefreshRequired { .. }
            | Self::TxnAborted { .. }
            | Self::Deadlock { .. }
            | Self::LockNotAvailable { .. }
            | Self::DeadlineExceeded
            | Self::BelowGcThreshold { .. }
            | Self::KeyExists { .. }
            | Self::LimitExceeded(_)
            | Self::Invalid(_)
            | Self::Unproven { .. } => true,
            Self::RangeMismatch
            | Self::NotLeaseholder
            | Self::RangeNotFound
            | Self::Ambiguous { .. }
            | Self::DiskFull
            | Self::Unavailable(_)
            | Self::Corruption(_)
            | Self::Program(_)
            | Self::Internal(_) => false,
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WriteTooOld { .. }
            | Self::Uncertain { .. }
            | Self::RefreshFailed { .. }
            | Self::RefreshRequired { .. }
            | Self::TxnAborted { .. }
            | Self::Deadlock { .. }
            | Self::DeadlineExceeded => ErrorKind::Retry,
            Self::Unproven { cause, .. } => cause.kind(),
            Self::RangeMismatch | Self::NotLeaseholder | Self::RangeNotFound => ErrorKind::Redirect,
            Self::Ambiguous { .. } => ErrorKind::Ambiguous,
            Self::LockNotAvailable { .. } | Self::DiskFull | Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::BelowGcThreshold { .. }
            | Self::LimitExceeded(_)
            | Self::Invalid(_)
            | Self::KeyExists { .. }
            | Self::Program(_) => ErrorKind::Invalid,
            Self::Corruption(_) => ErrorKind::Corruption,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}
