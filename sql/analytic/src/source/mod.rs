//! Where batches come from: stored tables, and rows of the row executor.

pub mod program;
pub mod properties;
pub mod row_leaf;
pub mod scan;
pub mod split;
