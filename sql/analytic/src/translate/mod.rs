//! From our plans to DataFusion's operators.
//!
//! Our planner has ordered joins and pushed predicates down, so each node becomes its operator directly. A subtree with
//! no exact vectorised form becomes a leaf that the row executor runs.

mod builder;
mod group;
mod join;
mod layout;
mod sort;
pub mod subquery;
mod window;

pub use builder::{Failure, PlanBuilder};
