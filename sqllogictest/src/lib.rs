//! Runs sqllogictest files against any server that speaks PostgreSQL's protocol, and counts every record.
//!
//! The language is that of the crate `sqllogictest`, under the label `postgresql`. Its own runner stops a file at the
//! first failure; here every record counts. Two dialects:
//!
//! * `.slt`: as the crate has it, results in PostgreSQL's text form;
//! * `.test`: the older files of SQLite's corpus, which [`script`] rewrites and [`letters`] formats.

mod client;
mod letters;
mod run;
mod script;

pub use client::{Client, ClientError};
pub use run::{FileResult, files, rewrite_file, run_file};
