//! What the protocol needs from the database: a factory of sessions, and a session.
//!
//! The protocol layer owns sockets, framing, error recovery and flow control. A session owns everything that
//! SQL can name: prepared statements and portals live in the session, because `PREPARE`, `DEALLOCATE`,
//! `DISCARD ALL` and `DECLARE CURSOR` share their names with the protocol's messages. [`crate::NameTable`]
//! holds them with the limits and the error messages of PostgreSQL.
//!
//! A session is driven by one task, one call at a time. A call may be dropped at any await point, but only when
//! the connection ends; [`BackendSession::close`] is the next and last call then.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use basalt_types::{Oid, Result, SqlError, SqlType};
use bytes::Bytes;

use crate::{CancelHandle, Format, FormatCodes, ResultSink};

/// Makes sessions; shared by all connections of a listener.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Opens a session for an authenticated user. An error ends the connection (`3D000` for an unknown database).
    async fn connect(&self, startup: StartupInfo) -> Result<Box<dyn BackendSession>>;

    /// The process id of a session by its number. The server counts, over the end of the numbers, and passes over ids that
    /// are taken or not positive: few may be that.
    fn process_id(&self, number: u32) -> i32 {
        (number & i32::MAX.cast_unsigned()).cast_signed()
    }

    /// A cancel request for a process id that no connection of this server has: it may belong to another node.
    /// Nothing is ever answered, but the client may wait for the end of the connection, which comes after this.
    async fn cancel(&self, process_id: i32, secret: &[u8]) {
        let _ = (process_id, secret);
    }
}

/// What a client said before its session began.
#[derive(Clone, Debug)]
pub struct StartupInfo {
    pub user: String,
    /// The user's name when the client gave none.
    pub database: String,
    pub application_name: String,
    /// Session defaults in the order to apply: those of `options` (`-c name=value`), then the startup
    /// parameters that name settings (`client_encoding`, `DateStyle`, …). `application_name` is not repeated.
    pub options: Vec<(String, String)>,
    pub peer: Option<SocketAddr>,
    /// What `pg_backend_pid()` returns.
    pub process_id: i32,
    /// Set by cancel requests, by a vanished client and by shutdown; the session polls or awaits it.
    pub cancel: CancelHandle,
}

/// The transaction's state as ReadyForQuery reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InBlock,
    Failed,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// The table a plain column comes from, else 0.
    pub table: Oid,
    /// The column's number in that table, else 0.
    pub column: i16,
    pub ty: SqlType,
    /// Always text in a statement's description and in simple queries; a portal's as Bind asked.
    pub format: Format,
}

impl Field {
    /// A computed column in text format.
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Self { name: name.into(), table: Oid(0), column: 0, ty, format: Format::Text }
    }
}

/// The answer to Describe of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementDescription {
    pub parameters: Vec<Oid>,
    /// `None` when the statement returns no rows.
    pub fields: Option<Vec<Field>>,
}

/// A Bind message. The session checks the number of parameters against the statement.
#[derive(Debug)]
pub struct BindRequest<'a> {
    /// Empty for the unnamed portal, which is replaced.
    pub portal: &'a str,
    pub statement: &'a str,
    /// `None` is NULL. The bytes share the connection's read buffer: decode them, do not keep them.
    pub parameters: Vec<Option<Bytes>>,
    pub parameter_formats: FormatCodes,
    /// Resolve with [`FormatCodes::resolve`] once the number of columns is known.
    pub result_formats: FormatCodes,
}

/// How grave a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Notice,
    Debug,
    Info,
    Log,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Log => "LOG",
        }
    }
}

/// A message that is not an error; `content` has the same fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub severity: Severity,
    pub content: SqlError,
}

/// One client's session.
///
/// After any error of [`parse`](Self::parse), [`bind`](Self::bind), [`execute`](Self::execute) and the describe
/// and close calls, no further call but [`sync`](Self::sync) is made until the client's Sync: the session fails
/// its transaction when it returns the error.
#[async_trait]
pub trait BackendSession: Send {
    /// The settings to report at start, in addition to those the protocol layer knows itself
    /// (`server_encoding`, `integer_datetimes`): `server_version`, `client_encoding`, `DateStyle`, `TimeZone`, ….
    /// A name given here wins over the protocol layer's default.
    fn parameters(&self) -> Vec<(String, String)>;

    /// Runs every statement of `sql`, all in one implicit transaction unless the text says otherwise.
    /// Each statement ends with [`ResultSink::command_complete`] or, for an empty text,
    /// [`ResultSink::empty_query`]. Statements after an error are not run.
    async fn simple_query(&mut self, sql: &str, out: &mut dyn ResultSink) -> Result<()>;

    /// Prepares a statement; the empty name is replaced, any other must be new. 0 is an unspecified type.
    async fn parse(&mut self, name: &str, sql: &str, parameter_types: &[Oid]) -> Result<()>;

    async fn describe_statement(&mut self, name: &str) -> Result<StatementDescription>;

    /// Makes a portal, opening the implicit transaction when there is none.
    async fn bind(&mut self, request: BindRequest<'_>) -> Result<()>;

    /// The portal's columns with the formats Bind asked for, or `None` when it returns no rows.
    async fn describe_portal(&mut self, name: &str) -> Result<Option<Vec<Field>>>;

    /// Runs or resumes a portal and ends with exactly one of [`ResultSink::command_complete`],
    /// [`ResultSink::empty_query`] and, after exactly `max_rows` rows, [`ResultSink::portal_suspended`].
    /// `max_rows` 0 is all rows.
    async fn execute(&mut self, portal: &str, max_rows: u32, out: &mut dyn ResultSink) -> Result<()>;

    /// As [`execute`](Self::execute) of all rows, with Sync as the client's next message, already here: a session may
    /// end the transaction with it, and so run the statement again after a conflict.
    async fn execute_last(&mut self, portal: &str, out: &mut dyn ResultSink) -> Result<()> {
        self.execute(portal, 0, out).await
    }

    /// Closing an unknown name is not an error.
    async fn close_statement(&mut self, name: &str) -> Result<()>;

    /// Closing an unknown name is not an error.
    async fn close_portal(&mut self, name: &str) -> Result<()>;

    /// Ends the implicit transaction of the extended protocol: commits it, or rolls it back when it failed.
    /// An error (of the commit) is reported before ReadyForQuery. Nothing to do inside a transaction block.
    async fn sync(&mut self) -> Result<()>;

    /// The client was told of an error that this session did not raise: a malformed Bind, too long a message.
    /// The transaction fails as if a statement had; [`sync`](Self::sync) is called before any further statement.
    fn fail(&mut self, error: &SqlError);

    fn transaction_status(&self) -> TransactionStatus;

    /// Reported settings that changed since the last call, by SET, RESET or a rollback.
    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// How long the client may stay silent from now on: `idle_in_transaction_session_timeout` inside a transaction,
    /// `idle_session_timeout` outside. Then the connection ends with `25P03` or `57P05`.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// Notices raised outside a call that has a sink, in order.
    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    /// Rolls back and releases locks; the last call, made however the connection ends, except after a panic
    /// (then the session is only dropped, so `Drop` must release what must not leak).
    async fn close(&mut self);
}
