//! Limits that several crates share. Everything is bounded; a limit that is hit gives a proper error.

/// Largest key in bytes, all columns of an index together.
pub const KEY_BYTES_MAX: usize = 16 << 10;
/// Largest value (one stored row) in bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Largest replicated command in bytes, except one that holds a single larger value.
pub const COMMAND_BYTES_TARGET: usize = 1 << 20;
/// Default size at which a range splits.
pub const RANGE_BYTES_MAX: u64 = 512 << 20;
/// Buffered writes of one transaction before they are flushed as locks.
pub const TXN_BUFFER_BYTES_MAX: usize = 32 << 20;
/// Keys that a transaction remembers one by one; beyond, spans.
pub const TXN_FOOTPRINT_KEYS_MAX: usize = 10_000;
