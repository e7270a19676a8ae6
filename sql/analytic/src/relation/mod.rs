//! Operators of our own.

pub mod append;
pub mod cte;
