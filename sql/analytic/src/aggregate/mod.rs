//! Aggregate functions as DataFusion's.
//!
//! Every aggregate of the registry runs through its own accumulator ([`rowwise`]); those that analytic queries are made
//! of have column-at-a-time forms ([`totals`], [`count`]) with the same results.

mod any_value;
mod count;
mod factory;
mod rowwise;
mod single;
mod totals;
pub mod udaf;

pub use factory::{aggregate_udf, any_value_udf};
