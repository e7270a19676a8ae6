//! EXPLAIN in PostgreSQL's look, as text and as JSON.

mod deparse;
mod node;

pub use node::{explain_json, explain_text};
