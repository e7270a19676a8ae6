//! Where a session puts its results. The protocol layer (through an adapter in the server) implements it.

use basalt_env::BoxFuture;
use basalt_planner::Field;
use basalt_types::{Datum, Result, SqlError};
use bytes::Bytes;

/// How grave a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    Notice,
    Warning,
    Info,
}

/// A message beside the results.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub level: NoticeLevel,
    pub content: SqlError,
}

/// The receiving end of one query or execution.
pub trait Output: Send {
    /// Announces the columns of the rows that follow.
    fn fields(&mut self, fields: &[Field]) -> Result<()>;
    fn row(&mut self, row: &[Datum]) -> Result<()>;
    /// Whether [`Output::flush`] should be awaited before more rows.
    fn is_full(&self) -> bool;
    /// Waits until the client has taken the rows written so far.
    fn flush(&mut self) -> BoxFuture<'_, Result<()>>;
    fn complete(&mut self, tag: &str) -> Result<()>;
    fn empty_query(&mut self) -> Result<()>;
    fn suspended(&mut self) -> Result<()>;
    fn notice(&mut self, notice: &Notice);
    fn copy_in_start(&mut self, binary: bool, columns: usize) -> Result<()>;
    fn copy_read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>>;
    fn copy_out_start(&mut self, binary: bool, columns: usize) -> Result<()>;
    fn copy_out_data(&mut self, data: &[u8]) -> Result<()>;
    fn copy_out_end(&mut self) -> Result<()>;
}

/// Why a running statement should stop, if it should.
pub trait Cancel: Send + Sync {
    /// One atomic load when nothing is wrong.
    fn check(&self) -> Result<()>;
    /// Completes with the error when the statement should stop.
    fn cancelled(&self) -> BoxFuture<'_, SqlError>;
    /// Sets the flag that the others look at. Does nothing where nobody but the client may set it.
    fn signal(&self, _signal: Signal) {}
}

/// What one session may do to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its statement fails, and it goes on.
    Cancel,
    /// It ends.
    Terminate,
}

/// Never cancels; for internal work.
pub struct NeverCancel;

impl Cancel for NeverCancel {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        Box::pin(std::future::pending())
    }
}
