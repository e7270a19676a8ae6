//! What a caller chooses: per node, per transaction and per read.

use std::{sync::Arc, time::Duration};

use basalt_base::{Span, Timestamp, limits};
use basalt_kv_api::{LockStrength, LockWait, ScanBatch, ScanProgram, SeqNum, TxnPriority};

/// Node-wide settings of the coordinator.
#[derive(Clone, Debug)]
pub struct TxnOptions {
    /// Buffered bytes of one transaction before every revision is flushed as locks.
    pub buffer_bytes_max: usize,
    /// Buffered bytes of all transactions of the node, beyond which each of them flushes.
    pub node_buffer_bytes_max: usize,
    /// Largest write batch (one batch becomes at most one command per range).
    pub batch_bytes_max: usize,
    /// Write batches of one transaction in flight.
    pub batches_in_flight_max: usize,
    /// Keys remembered one by one, for reads and for locks; beyond, spans.
    pub footprint_keys_max: usize,
    /// Refresh-and-retry attempts of one batch.
    pub refresh_attempts_max: u32,
    /// Commits over several ranges send their record beside their writes.
    pub staged_commits: bool,
    /// Clean-ups of finished transactions that run in the background at once.
    pub resolutions_max: usize,
    /// A quarter of the time after which others give a transaction up: two beats in a row may be late.
    pub heartbeat_interval: Duration,
}

impl Default for TxnOptions {
    fn default() -> Self {
        Self {
            buffer_bytes_max: limits::TXN_BUFFER_BYTES_MAX,
            node_buffer_bytes_max: 4 * limits::TXN_BUFFER_BYTES_MAX,
            batch_bytes_max: limits::COMMAND_BYTES_TARGET,
            batches_in_flight_max: 4,
            footprint_keys_max: limits::TXN_FOOTPRINT_KEYS_MAX,
            refresh_attempts_max: 5,
            staged_commits: true,
            resolutions_max: 64,
            heartbeat_interval: Duration::from_millis(500),
        }
    }
}

/// Isolation levels that may be asked for. All of them run as SERIALIZABLE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    #[default]
    Serializable,
}

/// Settings of one transaction.
#[derive(Clone, Debug, Default)]
pub struct TxnConfig {
    pub isolation: Isolation,
    pub priority: TxnPriority,
    /// Refuses writes and locks.
    pub read_only: bool,
    /// The commit timestamp may not pass it (leases of the descriptors in use); see [`crate::Txn::set_deadline`].
    pub deadline: Option<Timestamp>,
    /// Reads at this timestamp instead of now (AS OF); implies `read_only`.
    pub as_of: Option<Timestamp>,
}

/// How a point read is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Locks the key (present or absent) before reading it.
    pub lock: Option<LockStrength>,
    pub wait: LockWait,
    /// Sees every write of the transaction so far, not only those of earlier statements (uniqueness checks).
    pub latest: bool,
    /// Sees the transaction's own writes up to here, whatever the current statement is (open cursors).
    pub seq: Option<SeqNum>,
}

impl ReadOptions {
    pub const LATEST: Self = Self { lock: None, wait: LockWait::Block, latest: true, seq: None };

    /// Locks with `strength`, waiting for others as long as it takes.
    pub fn locking(strength: LockStrength) -> Self {
        Self { lock: Some(strength), ..Self::default() }
    }
}

/// One page of a scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    pub span: Span,
    pub reverse: bool,
    /// Most rows (those that the program counts, if there is one); 0 = no limit.
    pub rows_max: u64,
    /// The page ends after this many bytes; 0 = no limit. At least one row is returned if there is one.
    pub bytes_max: u64,
    /// `seq` and `latest` as for point reads; `lock` locks every row that the scan sees.
    pub read: ReadOptions,
    pub program: Option<Arc<dyn ScanProgram>>,
}

impl ScanRequest {
    /// Forward, without limits, lock or program.
    pub fn new(span: Span) -> Self {
        Self { span, reverse: false, rows_max: 0, bytes_max: 0, read: ReadOptions::default(), program: None }
    }
}

/// What a page returned, and where the next one begins.
#[derive(Debug)]
pub struct ScanPage {
    pub batch: ScanBatch,
    /// The part of the span that is still to be scanned; `None` at the end.
    pub resume: Option<Span>,
}

/// A point to which a transaction can be rolled back; see [`crate::Txn::savepoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    pub(crate) seq: SeqNum,
    pub(crate) epoch: u32,
    pub(crate) incarnation: u32,
}
