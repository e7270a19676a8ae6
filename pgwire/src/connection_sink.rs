//! [`ResultSink`] over a connection's buffers.

use std::task::{Context, Poll, ready};

use basalt_types::{Datum, IoSettings, Oid, Result, SqlError, SqlState};
use bytes::{BufMut, Bytes};
use parking_lot::Mutex;
use pgwire::messages::{
    PgWireBackendMessage, PgWireFrontendMessage,
    copy::{CopyDone, CopyInResponse, CopyOutResponse},
    data::{FieldDescription, RowDescription},
    extendedquery::PortalSuspended,
    response::{CommandComplete, EmptyQueryResponse},
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    CancelReason, Field, Format, Limits, Notice, ResultSink,
    frame::{self, BadFrame, FrontendMessage},
    input::Input,
    output::Output,
    row_encoder::RowEncoder,
};

/// Which protocol the results answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Simple,
    Extended,
}

/// How far a COPY from the client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyIn {
    NotStarted,
    Reading,
    Ended,
}

pub(crate) struct ConnectionSink<'a, R, W> {
    pub input: &'a Mutex<Input<R>>,
    pub output: &'a mut Output<W>,
    pub encoder: &'a mut RowEncoder,
    pub limits: &'a Limits,
    mode: Mode,
    copy_in: CopyIn,
    /// Whether the statement was ended by one of the three ending messages.
    ended: bool,
    /// The stream cannot be followed after this; the connection ends with it.
    bad_frame: Option<BadFrame>,
}

/// How an execution left the sink.
pub(crate) struct SinkState {
    pub ended: bool,
    pub bad_frame: Option<BadFrame>,
}

impl<'a, R, W> ConnectionSink<'a, R, W> {
    pub fn new(
        input: &'a Mutex<Input<R>>,
        output: &'a mut Output<W>,
        encoder: &'a mut RowEncoder,
        limits: &'a Limits,
        mode: Mode,
    ) -> Self {
        Self {
            input,
            output,
            encoder,
            limits,
            mode,
            copy_in: CopyIn::NotStarted,
            ended: false,
            bad_frame: None,
        }
    }

    pub fn into_state(self) -> SinkState {
        SinkState { ended: self.ended, bad_frame: self.bad_frame }
    }
}

impl<R, W> ConnectionSink<'_, R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    fn poll_copy_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            let frame = match self.input.lock().next_frame(self.limits) {
                Ok(frame) => frame,
                Err(bad) => return Poll::Ready(Err(self.lose_stream(bad))),
            };
            let Some(frame) = frame else {
                let filled = ready!(self.input.lock().poll_fill_copy(self.limits, cx));
                match filled {
                    Ok(1..) => continue,
                    _ => return Poll::Ready(Err(CancelReason::Disconnected.error())),
                }
            };
            let kind = frame.kind;
            match frame::decode(frame)? {
                FrontendMessage::Known(PgWireFrontendMessage::CopyData(data)) => {
                    return Poll::Ready(Ok(Some(data.data)));
                }
                FrontendMessage::Known(PgWireFrontendMessage::CopyDone(_)) => {
                    self.copy_in = CopyIn::Ended;
                    return Poll::Ready(Ok(None));
                }
                FrontendMessage::Known(PgWireFrontendMessage::CopyFail(fail)) => {
                    self.copy_in = CopyIn::Ended;
                    return Poll::Ready(Err(SqlError::new(
                        SqlState::QUERY_CANCELED,
                        format!("COPY from stdin failed: {}", fail.message),
                    )));
                }
                // A client may have sent them before it knew that COPY would begin.
                FrontendMessage::Known(PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_)) => {}
                _ => {
                    let error = SqlError::new(
                        SqlState::PROTOCOL_VIOLATION,
                        format!("unexpected message type 0x{kind:02X} during COPY from stdin"),
                    );
                    return Poll::Ready(Err(self.lose_stream(BadFrame(error))));
                }
            }
        }
    }

    fn lose_stream(&mut self, bad: BadFrame) -> SqlError {
        self.copy_in = CopyIn::Ended;
        let error = bad.0.clone();
        self.bad_frame = Some(bad);
        error
    }
}

impl<R, W> ResultSink for ConnectionSink<'_, R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    fn row_description(&mut self, fields: &[Field]) -> Result<()> {
        match self.mode {
            Mode::Simple => {
                self.encoder.set_columns(fields, |_| Format::Text);
                let described = describe_fields(fields, |_| Format::Text)?;
                self.output.message(&PgWireBackendMessage::RowDescription(described))
            }
            Mode::Extended => {
                self.encoder.set_columns(fields, |field| field.format);
                Ok(())
            }
        }
    }

    fn set_io_settings(&mut self, settings: &IoSettings) {
        self.encoder.settings = settings.clone();
    }

    fn row(&mut self, row: &[Datum]) -> Result<()> {
        self.encoder.encode(row, &mut self.output.buffer)
    }

    fn command_complete(&mut self, tag: &str) -> Result<()> {
        self.ended = true;
        self.output.message(&PgWireBackendMessage::CommandComplete(CommandComplete::new(tag.to_owned())))
    }

    fn empty_query(&mut self) -> Result<()> {
        self.ended = true;
        self.output.message(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
    }

    fn portal_suspended(&mut self) -> Result<()> {
        self.ended = true;
        self.output.message(&PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))
    }

    fn notice(&mut self, notice: &Notice) {
        self.output.notice(notice);
    }

    fn copy_in_start(&mut self, format: Format, columns: usize) -> Result<()> {
        let (format, columns, formats) = copy_formats(format, columns)?;
        let response = CopyInResponse::new(format, columns, formats);
        self.output.message(&PgWireBackendMessage::CopyInResponse(response))?;
        self.copy_in = CopyIn::Reading;
        Ok(())
    }

    fn poll_copy_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match self.copy_in {
            CopyIn::NotStarted => {
                return Poll::Ready(Err(SqlError::internal("COPY data read before COPY was started")));
            }
            CopyIn::Ended => return Poll::Ready(Ok(None)),
            CopyIn::Reading => {}
        }
        // The client sends nothing before it has seen the response.
        if !self.output.buffer.is_empty() {
            ready!(self.poll_flush(cx))?;
        }
        self.poll_copy_message(cx)
    }

    fn copy_out_start(&mut self, format: Format, columns: usize) -> Result<()> {
        let (format, columns, formats) = copy_formats(format, columns)?;
        let response = CopyOutResponse::new(format, columns, formats);
        self.output.message(&PgWireBackendMessage::CopyOutResponse(response))
    }

    fn copy_out_data(&mut self, data: &[u8]) -> Result<()> {
        let length = i32::try_from(data.len().saturating_add(4))
            .map_err(|_| SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "COPY row is too large"))?;
        self.output.buffer.reserve(5 + data.len());
        self.output.buffer.put_u8(b'd');
        self.output.buffer.put_i32(length);
        self.output.buffer.put_slice(data);
        Ok(())
    }

    fn copy_out_end(&mut self) -> Result<()> {
        self.output.message(&PgWireBackendMessage::CopyDone(CopyDone::new()))
    }

    fn is_full(&self) -> bool {
        self.output.is_full()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.output.poll_flush(cx).map_err(|_| CancelReason::Disconnected.error())
    }
}

/// RowDescription's content.
pub(crate) fn describe_fields(fields: &[Field], format: impl Fn(&Field) -> Format) -> Result<RowDescription> {
    if i16::try_from(fields.len()).is_err() {
        return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, "result has too many columns"));
    }
    let described = fields.iter().map(|field| {
        let size = field.ty.info().map_or(-1, |info| info.length);
        FieldDescription::new(
            field.name.clone(),
            field.table.0 as i32,
            field.column,
            field.ty.oid.0,
            size,
            // A record's modifier says which record it is; nobody outside can read it.
            if field.ty.oid == Oid::RECORD { -1 } else { field.ty.typmod },
            format(field).code(),
        )
    });
    Ok(RowDescription::new(described.collect()))
}

fn copy_formats(format: Format, columns: usize) -> Result<(i8, i16, Vec<i16>)> {
    let count = i16::try_from(columns)
        .map_err(|_| SqlError::new(SqlState::TOO_MANY_COLUMNS, "COPY has too many columns"))?;
    Ok((if format == Format::Binary { 1 } else { 0 }, count, vec![format.code(); columns]))
}
