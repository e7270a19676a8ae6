//! From SQL text to an executable plan: parse, bind by PostgreSQL's rules, rewrite, choose access paths.
//!
//! Pure: no I/O, no clock. What must be known of the database comes through the [`catalog::Catalog`] trait.

pub mod catalog;
pub mod expr;
pub mod plan;
pub mod statement;

pub use catalog::{Catalog, Column, Index, IndexColumn, Table, TableKind};
pub use expr::{ColumnId, Expr};
pub use plan::{Plan, PlanNode};
pub use statement::{Field, Planned, PlannedBody};
