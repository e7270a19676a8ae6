//! From SQL text to an executable plan: parse, bind by PostgreSQL's rules, rewrite, choose access paths.
//!
//! Pure: no I/O, no clock. What must be known of the database comes through the [`catalog::Catalog`] trait.

pub mod bind;
pub mod catalog;
mod display;
mod entry;
pub mod expr;
mod optimize;
pub mod parse;
pub mod plan;
pub mod statement;
#[cfg(test)]
mod tests;

pub use bind::{PlanSettings, required_tables};
pub use catalog::{Catalog, Column, Index, IndexColumn, IndexState, Table, TableKind};
pub use display::{explain_json, explain_text, expression_text, literal};
pub use entry::analyze_and_plan;
pub use expr::{ColumnId, Expr};
pub use optimize::{
    any_expr, children, children_mut, exprs, free_columns, has_volatile, inputs, is_volatile, reads_cte, same,
};
pub use parse::{ParsedBody, ParsedStatement, parse};
pub use plan::{Plan, PlanNode};
pub use statement::{Dependency, Field, Planned, PlannedBody};
