//! RocksDB reports errors as text; this is the one place that reads it.

use basalt_storage::Error;
use rocksdb::ErrorKind;

pub(crate) fn map_error(error: rocksdb::Error) -> Error {
    let kind = error.kind();
    let text = error.into_string();
    if text.contains("No space left on device") || text.contains("Max allowed space was reached") {
        return Error::DiskFull;
    }
    match kind {
        // The text names the file and the offset.
        ErrorKind::Corruption => Error::Corruption(text),
        ErrorKind::IOError
            if text.contains("lock hold by current process") || text.contains("While lock file") =>
        {
            Error::Locked(text)
        }
        _ => Error::Io(text),
    }
}

/// True if the engine's state is unknown after this error of a write. RocksDB recovers by itself when the disk was
/// full: it looks for room every few seconds and goes on.
pub(crate) fn poisons(error: &Error) -> bool {
    !matches!(error, Error::DiskFull)
}
