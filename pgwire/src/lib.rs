//! The PostgreSQL v3 protocol: connections, framing, error recovery, COPY, cancellation and flow control.
//!
//! A database stands behind the traits [`Backend`] and [`BackendSession`]; only this crate knows wire bytes.
//! The messages and their codec are those of the `pgwire` crate; the connection loop is ours, because what a
//! client may make the server hold, when answers are written, and what happens while a statement runs are
//! decided there.
//!
//! The way of a message: [`Server`] accepts, `handshake` agrees and opens a session, `connection` loops.
//! `input` reads bytes, `frame` cuts and checks a message, the codec decodes it, `supervise` runs the session's
//! answer to it while it watches the socket, `connection_sink` and `row_encoder` put results into `output`,
//! which writes them.

mod backend;
mod cancel;
mod connection;
mod connection_sink;
mod decimal;
mod encoding;
mod format;
mod frame;
mod handshake;
mod input;
mod limits;
mod names;
mod output;
mod parameters;
mod registry;
mod report;
mod row_encoder;
mod server;
mod sink;
mod socket;
mod start_line;
mod startup_packet;
mod supervise;

pub use backend::{
    Backend, BackendSession, BindRequest, Field, Notice, Severity, StartupInfo, StatementDescription,
    TransactionStatus,
};
pub use cancel::{CancelHandle, CancelReason};
pub use encoding::decode_utf8;
pub use format::{Format, FormatCodes};
pub use handshake::Authenticator;
pub use limits::Limits;
pub use names::{NameKind, NameTable};
pub use parameters::SERVER_VERSION;
pub use server::{Server, listen};
pub use sink::ResultSink;
