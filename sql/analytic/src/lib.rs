//! The vectorised executor: Basalt's plans on DataFusion's operators.
//!
//! Results must be those of the row executor, value for value and error for error, so nothing of DataFusion that has
//! semantics of its own is used: neither its SQL front end nor its functions, only the machinery of joins, aggregates
//! and sorts over columns whose equality and order we define. See [`kind`] for the columns.

mod aggregate;
mod builder;
mod error;
mod executor;
mod expression;
mod kind;
mod memory;
mod reader;
mod relation;
mod source;
mod stream;
mod subquery;
mod translate;
mod window;

pub use executor::{AnalyticExecutor, AnalyticOptions};
