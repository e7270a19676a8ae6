//! What tests of real processes share: a node in its own folder on a free port; and the faults that are done to one.

pub mod chaos;
pub mod cluster;
mod node;

pub use node::{Node, PATIENCE, binary, run};
