//! The state engine over RocksDB.
//!
//! An engine promises little: batches are atomic, and after a crash a prefix of them is there, at least up to the last
//! flush, in all families alike. RocksDB gives it with the write-ahead log on and unsynced:
//!
//! * a batch is one log record, whatever families it touches;
//! * recovery replays the log up to the first record that did not make it (point-in-time), so what survives is a
//!   prefix. Memtables of all families are flushed together (`atomic_flush`), so that no family is ahead of the log;
//! * [`flush`](basalt_storage::Engine::flush) syncs the log instead of writing the memtables out: the same promise at
//!   the price of one `fdatasync`, without small files.
//!
//! The crate wraps RocksDB's borrowed handles into owned ones ([`store`]); that is the only unsafe code.

mod engine;
mod error;
mod options;
mod reader;
mod store;

pub use engine::RocksEngine;
pub use options::RocksOptions;
