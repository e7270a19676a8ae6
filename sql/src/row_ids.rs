//! Keys of tables without a primary key: a hidden 64-bit row id.
//!
//! Ids grow with time, so that inserts stay at one end of the table: microseconds since 2024 in the upper bits, then a
//! per-process counter, and the node below, never from a shared sequence. Two ids of one process differ because the counter
//! only grows, also across a clock that steps back; those of two processes because their nodes differ.

use std::sync::atomic::{AtomicU64, Ordering};

use basalt_base::NodeId;
use basalt_env::Env;

/// 2024-01-01 in microseconds since the Unix epoch.
const EPOCH_UNIX_MICROS: i64 = 1_704_067_200_000_000;
/// Ids per microsecond of wall time that can be given before the counter runs ahead of the clock.
const IDS_PER_MICRO_BITS: u32 = 2;
/// Bits of the node. 71 years of microseconds fit above them and the counter.
const NODE_BITS: u32 = 10;

/// Gives row ids. One per process.
pub struct RowIds {
    next: AtomicU64,
    node: u64,
}

impl RowIds {
    /// Starts at the present, above everything an earlier process gave unless the clock went back between them;
    /// a clash is found when the row is inserted, because row ids are a primary key like any other.
    pub fn new(env: &Env, node: NodeId) -> Self {
        let micros = u64::try_from(env.clock.wall_micros() - EPOCH_UNIX_MICROS).unwrap_or(0);
        let node = node.0 & ((1 << NODE_BITS) - 1);
        Self { next: AtomicU64::new(micros << IDS_PER_MICRO_BITS), node }
    }

    pub fn next(&self) -> i64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        ((count << NODE_BITS | self.node) & (u64::MAX >> 1)) as i64
    }
}
