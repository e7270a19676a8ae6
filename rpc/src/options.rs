//! What can be set, and what can not.

use std::time::Duration;

use basalt_kv_api::Class;

/// The versions of the protocol that this build speaks.
pub const PROTOCOL: (u32, u32) = (1, 1);

/// A message up to this size travels whole, in company; a longer one is cut into pieces of this size.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Queued messages of this size together travel in one frame.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
pub(crate) const BATCH_MESSAGES: usize = 1024;
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;
/// Of the first frame of a connection, when nothing is known of the peer yet.
pub(crate) const HELLO_BYTES_MAX: usize = 16 << 10;
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Records of nodes that travel in one frame: they fit at any size that is allowed.
pub(crate) const RECORDS_PER_FRAME: usize = 64;
/// Nodes that a cluster may have, removed ones included.
pub(crate) const NODES_MAX: usize = 1000;
/// Starts of a node that it remembers: whoever met it longer ago takes it for a copy of itself.
pub(crate) const LIVES_MAX: usize = 256;
pub(crate) const TEXT_BYTES_MAX: usize = 256;
pub(crate) const TIERS_MAX: usize = 16;

/// The bounds of what waits for one peer in one class.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    pub messages: usize,
    /// One message is accepted at any size up to `message_bytes` when nothing else waits.
    pub bytes: usize,
    pub message_bytes: usize,
}

/// How a [`crate::Wire`] works.
#[derive(Clone, Debug)]
pub struct WireOptions {
    pub raft: QueueLimits,
    pub batch: QueueLimits,
    pub snapshot: QueueLimits,
    /// Bytes per second that all snapshots of this node together may send; at least a megabyte.
    pub snapshot_bytes_per_second: u64,
    /// What messages that arrive in pieces may take together.
    pub assembly_bytes: usize,
    /// A peer says every so often that it is alive …
    pub alive_interval: Duration,
    /// … and a connection that has been silent for this long is given up.
    pub silence_max: Duration,
    /// Until TCP has connected. A network that comes back is noticed after this time at the latest.
    pub connect_timeout: Duration,
    /// From dialling, or accepting, to the end of the handshake.
    pub handshake_timeout: Duration,
    /// The pause after the first failure; it doubles with each one.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Nodes tell each other of themselves this often.
    pub gossip_interval: Duration,
    /// Connections that have not finished their handshake.
    pub strangers_max: usize,
    pub connections_max: usize,
    /// The versions of the protocol that this node speaks; for tests of what a newer one is told.
    pub protocol: (u32, u32),
}

impl Default for WireOptions {
    fn default() -> Self {
        let megabytes = |count: usize| count << 20;
        Self {
            raft: QueueLimits { messages: 8192, bytes: megabytes(16), message_bytes: megabytes(64) },
            batch: QueueLimits { messages: 8192, bytes: megabytes(64), message_bytes: megabytes(128) },
            snapshot: QueueLimits { messages: 256, bytes: megabytes(64), message_bytes: megabytes(512) },
            snapshot_bytes_per_second: 128 << 20,
            assembly_bytes: megabytes(1024),
            alive_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            gossip_interval: Duration::from_secs(1),
            strangers_max: 64,
            connections_max: 4096,
            protocol: PROTOCOL,
        }
    }
}

impl WireOptions {
    pub(crate) fn limits(&self, class: Class) -> QueueLimits {
        match class {
            Class::Raft => self.raft,
            Class::Batch => self.batch,
            Class::Snapshot => self.snapshot,
        }
    }
}

/// Place of a class in arrays, and its number on the wire.
pub(crate) fn class_index(class: Class) -> usize {
    match class {
        Class::Raft => 0,
        Class::Batch => 1,
        Class::Snapshot => 2,
    }
}

pub(crate) fn class_of(number: u32) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class_index(*class) == number as usize)
}
