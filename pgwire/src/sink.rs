//! Where a session puts its results.
//!
//! Writing a row is synchronous and goes straight into the connection's output buffer. After each row, or after
//! each small batch, and after each statement of a simple query, the session awaits [`flush_if_full`](trait.ResultSink.html#method.flush_if_full): when
//! the buffer has passed its limit, that waits until the client has taken the bytes. So a slow reader slows the
//! scan down, and the buffer never holds a result.
//!
//! The `poll_` methods keep the trait usable as `dyn ResultSink` without a boxed future per call.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use basalt_types::{Datum, IoSettings, Result};
use bytes::Bytes;

use crate::{Field, Format, Notice};

/// The receiving end of one query or execution.
pub trait ResultSink: Send {
    /// Announces the columns of the rows that follow; their types and formats decide the encoding.
    /// Called before the first row of every result, and again when a suspended portal is resumed.
    /// A simple query's client is sent RowDescription; in the extended protocol Describe has told it already.
    fn row_description(&mut self, fields: &[Field]) -> Result<()>;

    /// How dates, intervals, floats and byte strings are written as text from now on: the session calls it when
    /// a setting differs from what it said last on this connection.
    fn set_io_settings(&mut self, settings: &IoSettings);

    /// Encodes one row. `22021`, `22P03` and the like when a value has no representation.
    fn row(&mut self, row: &[Datum]) -> Result<()>;

    /// Ends a statement: `SELECT 3`, `INSERT 0 1`, `BEGIN`. Only after its effects are durable
    /// when it also ends the transaction.
    fn command_complete(&mut self, tag: &str) -> Result<()>;

    /// Ends an empty query text.
    fn empty_query(&mut self) -> Result<()>;

    /// Ends an execution that stopped at its row limit.
    fn portal_suspended(&mut self) -> Result<()>;

    /// Sends a notice at its place among the results.
    fn notice(&mut self, notice: &Notice);

    /// Asks the client for COPY data of `columns` columns, all in `format`. Then read it with `copy_read`.
    fn copy_in_start(&mut self, format: Format, columns: usize) -> Result<()>;

    /// The poll form of `copy_read`.
    fn poll_copy_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>>;

    /// Announces COPY data to the client.
    fn copy_out_start(&mut self, format: Format, columns: usize) -> Result<()>;

    /// Sends one CopyData message: a line, or a row of the binary format.
    fn copy_out_data(&mut self, data: &[u8]) -> Result<()>;

    /// Ends COPY data; `command_complete` follows.
    fn copy_out_end(&mut self) -> Result<()>;

    /// Whether the buffer has passed its limit, so that `flush_if_full` would wait for the client.
    fn is_full(&self) -> bool;

    /// Drives the output to the client. An error means the client is gone (`08006`).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

impl dyn ResultSink + '_ {
    /// Waits until the client has taken the buffered output, if there is much of it. Safe to drop at any await.
    pub async fn flush_if_full(&mut self) -> Result<()> {
        if self.is_full() { poll_fn(|cx| self.poll_flush(cx)).await } else { Ok(()) }
    }

    /// The next piece of COPY data as the client cut it (not by lines), `None` at its end.
    /// `57014` when the client gives up, `08006` when it is gone. Safe to drop at any await.
    pub async fn copy_read(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_copy_read(cx)).await
    }
}
