//! Subqueries in expressions that refer to no outer column: run once, when the first row comes that may need them.
//!
//! Their value is an expression ([`OnceExpr`], [`MembershipExpr`]) that reads a shared cell; an operator below
//! ([`Prepare`]) fills the cell. An error of the subquery is kept and raised only where the value is asked for, as
//! PostgreSQL would not have run it in a CASE branch that is not taken.

mod membership;
mod once;
mod prepare;

pub use membership::MembershipExpr;
pub use once::{OnceExpr, OnceSubquery, Wanted};
pub use prepare::Prepare;
