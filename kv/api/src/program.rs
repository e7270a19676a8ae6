//! Programs that run beside the data.
//!
//! The key-value layer knows no rows. A scan may carry an opaque program that a layer above supplies (a decoder with
//! projection and filter, say): it sees each visible key and value in order and builds the result batch itself.

use std::{any::Any, fmt};

use bytes::Bytes;

use crate::Error;

/// Made once per statement; shared by the scans of several ranges.
pub trait ScanProgram: Send + Sync + fmt::Debug {
    /// A fresh sink for one request.
    fn start(&self) -> Box<dyn ScanSink>;
}

/// What to do after a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowAction {
    /// Goes on. `counted` says whether the row counts against the request's row limit (it passed the filter).
    Continue { counted: bool },
    /// This row is included, and the batch is full: resume behind it.
    Stop,
}

/// Receives the visible rows of one scan request.
pub trait ScanSink: Send {
    /// Key and value live only for the call.
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<RowAction, Error>;
    /// Bytes of output so far, checked against the request's byte limit.
    fn bytes(&self) -> usize;
    /// The batch, in a type that the program's author knows.
    fn finish(self: Box<Self>) -> Result<Box<dyn Any + Send>, Error>;
}

/// The result of one scan request.
pub enum ScanBatch {
    /// Without a program: keys and values in scan order.
    Rows(Vec<(Bytes, Bytes)>),
    /// What the program's sink made.
    Program(Box<dyn Any + Send>),
}

impl fmt::Debug for ScanBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{} rows", rows.len()),
            Self::Program(_) => f.write_str("program output"),
        }
    }
}
