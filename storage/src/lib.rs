//! Storage: the [`Engine`] trait, a memory engine with crash semantics, and MVCC over any engine.

pub mod batch;
pub mod engine;
pub mod error;
pub mod mvcc;

pub use batch::{Op, WriteBatch};
pub use engine::{Engine, EngineCounts, EngineIterator, Family, IterOptions, Reader};
pub use error::{Error, Result};
