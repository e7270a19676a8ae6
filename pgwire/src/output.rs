//! The writing half of a connection: messages are collected and written when there is a reason to.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use basalt_types::{Result, SqlError, SqlState};
use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{Notice, report};

/// The capacity of a fresh buffer.
const BUFFER_BYTES: usize = 4 << 10;
/// An idle connection gives a larger buffer back.
const IDLE_BYTES_MAX: usize = 16 << 10;

pub(crate) struct Output<W> {
    writer: W,
    pub buffer: BytesMut,
    /// How much of the buffer is with the client already.
    written: usize,
    bytes_max: usize,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    /// `bytes_max` is where [`Self::is_full`] begins.
    pub fn new(writer: W, bytes_max: usize) -> Self {
        Self { writer, buffer: BytesMut::with_capacity(BUFFER_BYTES), written: 0, bytes_max }
    }

    pub fn is_full(&self) -> bool {
        self.buffer.len() - self.written >= self.bytes_max
    }

    /// Gives memory back when a connection goes idle.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BYTES_MAX {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
        }
    }

    /// Appends a message. One that the codec refuses (too long for its kind) leaves nothing behind.
    pub fn message(&mut self, message: &PgWireBackendMessage) -> Result<()> {
        let start = self.buffer.len();
        message.encode(&mut self.buffer).map_err(|error| {
            self.buffer.truncate(start);
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("message cannot be sent: {error}"))
        })
    }

    pub fn error(&mut self, severity: &'static str, error: &SqlError) {
        let message = PgWireBackendMessage::ErrorResponse(report::error_response(severity, error));
        self.message(&message).expect("an error's fields are cut to a size that fits");
    }

    pub fn notice(&mut self, notice: &Notice) {
        let message = PgWireBackendMessage::NoticeResponse(report::notice_response(notice));
        self.message(&message).expect("a notice's fields are cut to a size that fits");
    }

    /// Writes everything. Nothing is lost or repeated when the caller stops polling.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            match ready!(Pin::new(&mut self.writer).poll_write(cx, &self.buffer[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.buffer.clear();
        self.written = 0;
        if self.buffer.capacity() > self.bytes_max.saturating_mul(2) {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
        }
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Tells the client that nothing more will come.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }
}
