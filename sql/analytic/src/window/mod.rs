//! Window functions.
//!
//! DataFusion sorts (and spills) by the window's keys; one pass over its output holds a partition at a time, or many
//! small ones. The calls are the row executor's own, so frames over our types, exclusions and errors are PostgreSQL's;
//! DataFusion's window operator knows neither EXCLUDE nor distances between our keys, and holds its whole input
//! unaccounted.

mod operation;
mod partitions;

pub use operation::Window;
pub use partitions::{InputColumn, PlacedCall, RangeColumn, WindowShape};
