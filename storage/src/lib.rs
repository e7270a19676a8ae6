//! Storage: the [`Engine`] trait, a memory engine with crash semantics, and MVCC over any engine.
//!
//! Start with [`engine`] for what an engine promises, then [`mvcc`]; the README lists the invariants and the formats.

pub mod batch;
pub mod engine;
pub mod error;
pub mod lock_directory;
pub mod memory;
pub mod mvcc;
pub mod overlay;
pub mod testing;

pub use batch::{Op, WriteBatch};
pub use engine::{EmptyIterator, Engine, EngineCounts, EngineIterator, Family, IterOptions, Reader};
pub use error::{Error, Result};
pub use lock_directory::LockDirectory;
pub use memory::{Fault, MemoryEngine};
pub use overlay::{OpenBatch, Overlay};
