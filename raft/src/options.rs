//! Limits and intervals of a store.

use std::time::Duration;

/// All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment file of the log.
    pub segment_bytes: u64,
    /// The state machine is flushed and the log truncated when live log exceeds this.
    pub log_bytes_max: u64,
    /// Recent entries kept in memory, over all groups.
    pub cache_bytes_max: usize,
    /// Proposals waiting for the loop.
    pub inbox_count_max: usize,
    pub inbox_bytes_max: usize,
    /// The largest command.
    pub command_bytes_max: usize,
    /// The largest snapshot.
    pub snapshot_bytes_max: usize,
    /// Bytes of one append message.
    pub message_bytes_max: u64,
    /// Append messages in flight per follower.
    pub inflight_max: usize,
    /// Proposed but uncommitted bytes per group.
    pub uncommitted_bytes_max: u64,
    /// Committed bytes handed to the state machine at a time, per group.
    pub apply_bytes_max: u64,
    pub tick_interval: Duration,
    /// Ticks without a leader before an election; randomised up to twice this.
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
    /// A group with several members stops ticking after this many ticks without work. Zero: never.
    pub quiesce_after_ticks: u64,
    /// Snapshots on their way to other stores at a time.
    pub snapshots_in_flight_max: usize,
    /// A snapshot of whose fate the transport says nothing for so long is thought to be lost.
    pub snapshot_timeout: Duration,
    /// Commands are refused while the disk has less room than this: a command that is in the log but finds no room in
    /// the state machine leaves its proposer without an answer. Zero does not ask.
    pub free_bytes_min: u64,
    /// How long to wait before trying again on a full disk.
    pub disk_full_retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            log_bytes_max: 256 << 20,
            cache_bytes_max: 32 << 20,
            inbox_count_max: 64 << 10,
            inbox_bytes_max: 64 << 20,
            command_bytes_max: 32 << 20,
            snapshot_bytes_max: 256 << 20,
            message_bytes_max: 128 << 10,
            // Together what a link holds for a peer, so that a range which is behind does not overrun it alone.
            inflight_max: 64,
            uncommitted_bytes_max: 128 << 20,
            apply_bytes_max: 16 << 20,
            tick_interval: Duration::from_millis(100),
            election_ticks: 10,
            heartbeat_ticks: 2,
            quiesce_after_ticks: 20,
            snapshots_in_flight_max: 2,
            snapshot_timeout: Duration::from_secs(60),
            free_bytes_min: 0,
            disk_full_retry: Duration::from_millis(200),
        }
    }
}
