//! One client's connection: the loop from message to message.
//!
//! Answers are collected and written when ReadyForQuery ends them, when the client asks (Flush), when a result
//! fills the buffer, or when there is nothing more to work on. Parse, Bind, Describe, Execute, Sync in one
//! packet are answered with one write.

use std::{sync::Arc, time::Duration};

use basalt_env::Env;
use basalt_types::{Oid, Result, SqlError, SqlState};
use parking_lot::Mutex;
use pgwire::messages::{
    PgWireBackendMessage, PgWireFrontendMessage,
    data::{NoData, ParameterDescription},
    extendedquery::{self, BindComplete, CloseComplete, ParseComplete},
    response::{self, ReadyForQuery},
    startup::ParameterStatus,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    BackendSession, BindRequest, CancelReason, Field, FormatCodes, TransactionStatus,
    connection_sink::{ConnectionSink, Mode, SinkState, describe_fields},
    frame::{self, BadFrame, Frame, FrontendMessage},
    input::Input,
    output::Output,
    registry::Registration,
    report::{ERROR, FATAL},
    row_encoder::RowEncoder,
    server::Server,
    supervise::{Stop, Supervisor},
};

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// Terminate, or a client that is gone: nothing to say.
    Closed,
    /// The client is told.
    Fatal(SqlError),
    /// The session cannot be used any more, not even to close it.
    Panicked(String),
}

pub(crate) struct Connection<'a, R, W> {
    pub server: &'a Arc<Server>,
    pub input: Mutex<Input<R>>,
    pub output: Output<W>,
    pub session: Box<dyn BackendSession>,
    pub registration: Registration,
    encoder: RowEncoder,
    /// An error in the extended protocol: everything up to Sync is passed over.
    skip_to_sync: bool,
}

/// Runs `$call` on the session under supervision.
macro_rules! supervised {
    ($self:ident, $call:expr) => {
        Supervisor {
            input: &$self.input,
            cancel: &$self.registration.cancel,
            env: &$self.server.env,
            limits: &$self.server.limits,
        }
        .run($call)
        .await
    };
}

impl<'a, R, W> Connection<'a, R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    pub fn new(
        server: &'a Arc<Server>,
        input: Mutex<Input<R>>,
        output: Output<W>,
        session: Box<dyn BackendSession>,
        registration: Registration,
    ) -> Self {
        let encoder = RowEncoder::default();
        Self { server, input, output, session, registration, encoder, skip_to_sync: false }
    }

    /// Serves the client from its first ReadyForQuery to the end.
    pub async fn serve(&mut self) -> End {
        let Err(end) = self.try_serve().await;
        end
    }

    async fn try_serve(&mut self) -> Result<std::convert::Infallible, End> {
        self.ready_for_query().await?;
        loop {
            match self.input.get_mut().next_frame(&self.server.limits) {
                Ok(Some(frame)) => {
                    self.message(frame).await?;
                    // A client that asks without end and reads nothing must not fill the memory with answers.
                    if self.output.is_full() {
                        self.flush().await?;
                    }
                }
                Ok(None) => self.idle().await?,
                Err(BadFrame(error)) => return Err(End::Fatal(error)),
            }
        }
    }

    /// Writes what there is and waits for more to do.
    async fn idle(&mut self) -> Result<(), End> {
        self.flush().await?;
        self.output.shrink();
        let input = self.input.get_mut();
        input.shrink();
        let timeout = self.session.idle_timeout();
        let status = self.session.transaction_status();
        let cancel = &self.registration.cancel;
        let more = tokio::select! {
            biased;
            more = input.fill(&self.server.limits) => more,
            () = idle_too_long(&self.server.env, timeout) => {
                return Err(End::Fatal(idle_error(status)));
            }
            // A transaction is let finish: a client that knows other servers goes on there without an error.
            () = cancel.draining(), if status == TransactionStatus::Idle => {
                return Err(End::Fatal(CancelReason::Shutdown.error()));
            }
            reason = cancel.ended() => return Err(End::Fatal(reason.error())),
        };
        // A cancel request that found no statement running is spent.
        self.registration.cancel.clear_request();
        if more { Ok(()) } else { Err(End::Closed) }
    }

    async fn flush(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            flushed = self.output.flush() => flushed.map_err(|_| End::Closed),
            _ = self.registration.cancel.ended() => Err(End::Closed),
        }
    }

    async fn message(&mut self, frame: Frame) -> Result<(), End> {
        let kind = frame.kind;
        match kind {
            b'X' => return Err(End::Closed),
            b'S' => {}
            // A client that has not yet seen a COPY fail is still sending.
            b'd' | b'c' | b'f' => return Ok(()),
            _ if self.skip_to_sync => return Ok(()),
            _ => {}
        }
        match frame::decode(frame) {
            Ok(message) => self.dispatch(message).await,
            // The next message is intact, so this is an ordinary error.
            Err(error) if frame::is_extended(kind) => {
                let result = self.own(Err(error));
                self.end_extended(result)
            }
            Err(error) => self.refuse(error).await,
        }
    }

    /// Ends a message that is no part of the extended protocol with an error of this layer.
    async fn refuse(&mut self, error: SqlError) -> Result<(), End> {
        self.session.fail(&error);
        self.output.error(ERROR, &error);
        self.sync().await
    }

    async fn dispatch(&mut self, message: FrontendMessage) -> Result<(), End> {
        let message = match message {
            FrontendMessage::Known(message) => message,
            FrontendMessage::FunctionCall => {
                return self.refuse(SqlError::not_supported("the function call protocol")).await;
            }
        };
        match message {
            PgWireFrontendMessage::Query(query) => self.query(&query.query).await,
            PgWireFrontendMessage::Sync(_) => self.sync().await,
            PgWireFrontendMessage::Flush(_) => self.flush().await,
            PgWireFrontendMessage::Parse(parse) => {
                let result = self.parse(parse).await;
                self.end_extended(result)
            }
            PgWireFrontendMessage::Bind(bind) => {
                let result = self.bind(bind).await;
                self.end_extended(result)
            }
            PgWireFrontendMessage::Describe(describe) => {
                let result = self.describe(describe).await;
                self.end_extended(result)
            }
            PgWireFrontendMessage::Execute(execute) => {
                let result = self.execute(execute).await?;
                self.end_extended(result)
            }
            PgWireFrontendMessage::Close(close) => {
                let result = self.close(close).await;
                self.end_extended(result)
            }
            _ => Err(End::Fatal(SqlError::new(SqlState::PROTOCOL_VIOLATION, "unexpected message"))),
        }
    }

    async fn query(&mut self, sql: &str) -> Result<(), End> {
        let mut sink = ConnectionSink::new(
            &self.input,
            &mut self.output,
            &mut self.encoder,
            &self.server.limits,
            Mode::Simple,
        );
        let result = supervised!(self, self.session.simple_query(sql, &mut sink));
        let SinkState { bad_frame, .. } = sink.into_state();
        if let Some(BadFrame(error)) = bad_frame {
            return Err(End::Fatal(error));
        }
        self.report(result)?;
        self.ready_for_query().await
    }

    async fn sync(&mut self) -> Result<(), End> {
        self.skip_to_sync = false;
        let result = supervised!(self, self.session.sync());
        self.report(result)?;
        self.ready_for_query().await
    }

    async fn parse(&mut self, parse: extendedquery::Parse) -> Result<(), Stop> {
        let types: Vec<Oid> = parse.type_oids.iter().map(|oid| Oid(*oid)).collect();
        let name = parse.name.as_deref().unwrap_or_default();
        supervised!(self, self.session.parse(name, &parse.query, &types))?;
        self.answer(&PgWireBackendMessage::ParseComplete(ParseComplete::new()))
    }

    async fn bind(&mut self, bind: extendedquery::Bind) -> Result<(), Stop> {
        let request = BindRequest {
            portal: bind.portal_name.as_deref().unwrap_or_default(),
            statement: bind.statement_name.as_deref().unwrap_or_default(),
            parameter_formats: self.own(FormatCodes::from_codes(&bind.parameter_format_codes))?,
            result_formats: self.own(FormatCodes::from_codes(&bind.result_column_format_codes))?,
            parameters: bind.parameters,
        };
        if let Some(formats) = request.parameter_formats.count()
            && formats != request.parameters.len()
        {
            let parameters = request.parameters.len();
            let message = format!("bind message has {formats} parameter formats but {parameters} parameters");
            return self.own(Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message)));
        }
        supervised!(self, self.session.bind(request))?;
        self.answer(&PgWireBackendMessage::BindComplete(BindComplete::new()))
    }

    async fn describe(&mut self, describe: extendedquery::Describe) -> Result<(), Stop> {
        let name = describe.name.as_deref().unwrap_or_default();
        match describe.target_type {
            extendedquery::TARGET_TYPE_BYTE_STATEMENT => {
                let description = supervised!(self, self.session.describe_statement(name))?;
                let types = description.parameters.iter().map(|oid| oid.0).collect();
                self.answer(&PgWireBackendMessage::ParameterDescription(ParameterDescription::new(types)))?;
                self.answer_fields(description.fields.as_deref())
            }
            extendedquery::TARGET_TYPE_BYTE_PORTAL => {
                let fields = supervised!(self, self.session.describe_portal(name))?;
                self.answer_fields(fields.as_deref())
            }
            other => self.own(Err(bad_subtype("DESCRIBE", other))),
        }
    }

    async fn execute(&mut self, execute: extendedquery::Execute) -> Result<Result<(), Stop>, End> {
        let portal = execute.name.as_deref().unwrap_or_default();
        // As in PostgreSQL, a negative limit is none.
        let max_rows = u32::try_from(execute.max_rows).unwrap_or(0);
        let last = max_rows == 0 && self.input.get_mut().next_is_sync();
        let mut sink = ConnectionSink::new(
            &self.input,
            &mut self.output,
            &mut self.encoder,
            &self.server.limits,
            Mode::Extended,
        );
        let result = if last {
            supervised!(self, self.session.execute_last(portal, &mut sink))
        } else {
            supervised!(self, self.session.execute(portal, max_rows, &mut sink))
        };
        let SinkState { ended, bad_frame } = sink.into_state();
        match (bad_frame, result) {
            (Some(BadFrame(error)), _) => Err(End::Fatal(error)),
            (None, Ok(())) if !ended => {
                Ok(self.own(Err(SqlError::internal("the execution ended without a completion"))))
            }
            (None, result) => Ok(result),
        }
    }

    async fn close(&mut self, close: extendedquery::Close) -> Result<(), Stop> {
        let name = close.name.as_deref().unwrap_or_default();
        match close.target_type {
            extendedquery::TARGET_TYPE_BYTE_STATEMENT => {
                supervised!(self, self.session.close_statement(name))?;
            }
            extendedquery::TARGET_TYPE_BYTE_PORTAL => supervised!(self, self.session.close_portal(name))?,
            other => return self.own(Err(bad_subtype("CLOSE", other))),
        }
        self.answer(&PgWireBackendMessage::CloseComplete(CloseComplete::new()))
    }

    fn answer_fields(&mut self, fields: Option<&[Field]>) -> Result<(), Stop> {
        match fields {
            Some(fields) => {
                let described = self.own(describe_fields(fields, |field| field.format))?;
                self.answer(&PgWireBackendMessage::RowDescription(described))
            }
            None => self.answer(&PgWireBackendMessage::NoData(NoData::new())),
        }
    }

    fn answer(&mut self, message: &PgWireBackendMessage) -> Result<(), Stop> {
        let sent = self.output.message(message);
        self.own(sent)
    }

    /// An error of this layer, of which the session must learn.
    fn own<T>(&mut self, result: Result<T>) -> Result<T, Stop> {
        result.map_err(|error| {
            self.session.fail(&error);
            Stop::Error(error)
        })
    }

    /// Ends one message of the extended protocol.
    fn end_extended(&mut self, result: Result<(), Stop>) -> Result<(), End> {
        for notice in self.session.take_notices() {
            self.output.notice(&notice);
        }
        self.skip_to_sync = result.is_err();
        self.report(result)
    }

    /// Sends the error, if there is one, and says whether the connection can go on.
    fn report(&mut self, result: Result<(), Stop>) -> Result<(), End> {
        match result {
            Ok(()) => Ok(()),
            Err(Stop::Error(error)) if is_fatal(&error) => Err(End::Fatal(error)),
            Err(Stop::Error(error)) => {
                self.output.error(ERROR, &error);
                Ok(())
            }
            Err(Stop::ClientGone) => Err(End::Closed),
            Err(Stop::Overdue(reason)) => Err(End::Fatal(reason.overdue_error())),
            Err(Stop::Panicked(message)) => Err(End::Panicked(message)),
        }
    }

    async fn ready_for_query(&mut self) -> Result<(), End> {
        for notice in self.session.take_notices() {
            self.output.notice(&notice);
        }
        for (name, value) in self.session.take_parameter_changes() {
            let status = ParameterStatus::new(name, value);
            // A value too long to be sent is not reported; the setting holds all the same.
            let _sent = self.output.message(&PgWireBackendMessage::ParameterStatus(status));
        }
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => response::TransactionStatus::Idle,
            TransactionStatus::InBlock => response::TransactionStatus::Transaction,
            TransactionStatus::Failed => response::TransactionStatus::Error,
        };
        let ready = PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status));
        self.output.message(&ready).expect("the message has a fixed size");
        self.flush().await
    }

    /// Says the last word, closes the session and the stream.
    pub async fn finish(mut self, end: End) {
        let (last_word, usable) = match end {
            End::Closed => (None, true),
            End::Fatal(error) => (Some(error), true),
            End::Panicked(message) => {
                tracing::error!(message, process_id = self.registration.process_id, "a session panicked");
                (Some(SqlError::internal(format!("internal error: {message}"))), false)
            }
        };
        if usable {
            // Whoever waits for this session's locks should not wait for its client.
            self.registration.cancel.clear_request();
            self.server.close_session(self.session).await;
        } else {
            drop(self.session);
        }
        drop(self.registration);
        if let Some(error) = &last_word {
            self.output.error(FATAL, error);
        }
        self.server.say_goodbye(self.input.get_mut(), &mut self.output, last_word.is_some()).await;
    }
}

fn bad_subtype(message: &str, subtype: u8) -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, format!("invalid {message} message subtype {subtype}"))
}

async fn idle_too_long(env: &Env, timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => env.spawner.sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn idle_error(status: TransactionStatus) -> SqlError {
    match status {
        TransactionStatus::Idle => {
            // idle_session_timeout
            SqlError::new(SqlState(*b"57P05"), "terminating connection due to idle-session timeout")
        }
        TransactionStatus::InBlock | TransactionStatus::Failed => SqlError::new(
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            "terminating connection due to idle-in-transaction timeout",
        ),
    }
}

/// Errors after which PostgreSQL ends the connection.
fn is_fatal(error: &SqlError) -> bool {
    matches!(
        error.sqlstate(),
        SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CONNECTION_FAILURE
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
    )
}
