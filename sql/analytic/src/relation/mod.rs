//! Operators of our own.

pub mod append;
pub mod checkpoint;
pub mod cte;
pub mod gather;
pub mod operator;
pub mod set_operation;
