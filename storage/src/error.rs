//! Errors of the storage layer.

use basalt_base::ErrorKind;
use thiserror::Error;

#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The file system has no room left. Reads go on.
    #[error("no space left on the storage device")]
    DiskFull,
    #[error("storage i/o error: {0}")]
    Io(String),
    /// Stored bytes fail their checksum or their format; names the file or key.
    #[error("corrupted storage: {0}")]
    Corruption(String),
    /// An earlier error left the engine in an unknown state; it must be reopened.
    #[error("storage engine is closed after an earlier error: {0}")]
    Poisoned(String),
    /// Another process holds the store's lock.
    #[error("store is in use by another process: {0}")]
    Locked(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DiskFull | Self::Io(_) | Self::Poisoned(_) | Self::Locked(_) => ErrorKind::Unavailable,
            Self::Corruption(_) => ErrorKind::Corruption,
        }
    }
}
