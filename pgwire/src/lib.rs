//! The PostgreSQL v3 protocol: connections, framing, error recovery, COPY, cancellation and flow control.
//!
//! A database stands behind the traits [`Backend`] and [`BackendSession`]; only this crate knows wire bytes.
//! The messages and their codec are those of the `pgwire` crate; the connection loop is ours.

mod backend;
mod cancel;
mod format;
mod limits;
mod names;
mod sink;

pub use backend::{
    Backend, BackendSession, BindRequest, Field, Notice, Severity, StartupInfo, StatementDescription,
    TransactionStatus,
};
pub use cancel::{CancelHandle, CancelReason};
pub use format::{Format, FormatCodes};
pub use limits::Limits;
pub use names::{NameKind, NameTable};
pub use sink::ResultSink;
