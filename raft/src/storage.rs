//! A group's log as raft-rs reads it.

use std::sync::Arc;

use basalt_base::RangeId;
use basalt_env::Clock;
use parking_lot::Mutex;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, Snapshot},
};

use crate::{
    Error, LogIndex,
    counts::Counters,
    log::{GroupLog, SegmentFiles},
    snapshot_slots::SnapshotSlots,
};

/// Reads go to memory for terms and recent entries, and to the segment files for the rest.
pub(crate) struct GroupStorage {
    pub range_id: RangeId,
    pub log: Arc<Mutex<GroupLog>>,
    pub files: Arc<SegmentFiles>,
    pub counters: Arc<Counters>,
    /// Asked for once, when the group starts.
    pub initial: ConfState,
    /// The index up to which the state machine had applied when the group started.
    pub applied: LogIndex,
    pub slots: Arc<SnapshotSlots>,
    pub clock: Arc<dyn Clock>,
}

impl GroupStorage {
    fn read(&self, low: LogIndex, high: LogIndex, bytes_max: u64) -> crate::Result<Vec<Entry>> {
        let log = self.log.lock();
        let mut bytes = 0;
        let mut entries = Vec::new();
        let mut missing = Vec::new();
        for index in low..high {
            let Some(location) = log.location_of(index) else { break };
            bytes += u64::from(location.length);
            if bytes > bytes_max && index > low {
                break;
            }
            match log.cached(index) {
                Some(entry) => entries.push(entry.clone()),
                None => missing.push(location),
            }
        }
        drop(log);
        if missing.is_empty() {
            return Ok(entries);
        }
        // The cache is a suffix of the log, so that what is missing comes first.
        Counters::add(&self.counters.cache_misses, missing.len() as u64);
        let mut all = self.files.read(low, &missing)?;
        all.append(&mut entries);
        Ok(all)
    }
}

fn other(error: Error) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl Storage for GroupStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let log = self.log.lock();
        let mut hard_state = raft::eraftpb::HardState::default();
        hard_state.term = log.hard_state.term;
        hard_state.vote = log.hard_state.vote;
        // The commit index is written without a sync: it may lag behind what was applied or truncated.
        hard_state.commit =
            log.hard_state.commit.max(self.applied).max(log.truncated_index).min(log.last_index());
        Ok(RaftState { hard_state, conf_state: self.initial.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.log.lock().first_index() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if low >= high {
            return Ok(Vec::new());
        }
        let entries = self.read(low, high, max_size.into().unwrap_or(u64::MAX)).map_err(other)?;
        if entries.is_empty() { Err(raft::Error::Store(StorageError::Unavailable)) } else { Ok(entries) }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let log = self.log.lock();
        if index < log.truncated_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        log.term(index).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.lock().first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.lock().last_index())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let unavailable = raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable);
        // It may be older than the log, which goes on while a snapshot is made.
        let least = request_index.max(self.log.lock().truncated_index);
        let Some(data) = self.slots.take(self.range_id, to, least, self.clock.monotonic()) else {
            return Err(unavailable);
        };
        Counters::add(&self.counters.snapshots_sent, 1);
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = data.index;
        metadata.term = data.term;
        metadata.set_conf_state(data.membership.to_conf_state());
        snapshot.data = data.bytes;
        Ok(snapshot)
    }
}
