//! EXPLAIN in PostgreSQL's look, as text and as JSON.

mod deparse;
mod node;

pub use deparse::{expression_text, literal};
pub use node::{explain_json, explain_text};
