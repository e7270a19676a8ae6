//! What tests of real processes share: a node in its own folder on a free port.

mod node;

pub use node::{Node, PATIENCE, binary, run};
