//! Intervals and limits of the traffic between nodes.

use std::time::Duration;

use basalt_kv_api::Class;

#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// How often every other node is pinged.
    pub ping_interval: Duration,
    /// A peer that has answered no ping for so long is down.
    pub silence_max: Duration,
    /// A node that has been held up for so long answers no pings, so that the others take it for down, and replace what it
    /// has. Longer than busy disks take.
    pub held_up_max: Duration,
    /// Unanswered calls to one peer, and calls of one peer that are worked on here.
    pub calls_max: usize,
    /// Largest frame in bytes, either way, except of snapshots.
    pub message_bytes_max: usize,
    pub snapshot_bytes_max: usize,
    /// How far clocks of different nodes may differ: the same in the whole cluster.
    pub clock_offset_max: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_millis(500),
            silence_max: Duration::from_secs(2),
            held_up_max: Duration::from_secs(10),
            calls_max: 4_096,
            message_bytes_max: 64 << 20,
            snapshot_bytes_max: 512 << 20,
            clock_offset_max: Duration::from_millis(250),
        }
    }
}

impl PeerConfig {
    pub(super) fn bytes_max(&self, class: Class) -> usize {
        match class {
            Class::Raft | Class::Batch => self.message_bytes_max,
            Class::Snapshot => self.snapshot_bytes_max,
        }
    }
}
