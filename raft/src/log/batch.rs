//! What one turn of the loop appends.

use basalt_base::{RangeId, ReplicaId, Timestamp};
use raft::eraftpb::Entry;

use super::{
    frame::BATCH_HEADER,
    group::HardState,
    record::{PendingSnapshot, Record, encode_entries, encode_snapshot},
};
use crate::{LogIndex, StoreIdent, Term};

/// Records of all groups, encoded as they are added.
pub(crate) struct LogBatch {
    /// Begins with room for the frame, so that the batch is written without a copy.
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Record>,
    /// Entries to be cached once written, in the order of the records.
    pub(super) entries: Vec<(RangeId, Vec<Entry>)>,
}

impl Default for LogBatch {
    fn default() -> Self {
        Self { bytes: vec![0; BATCH_HEADER], records: Vec::new(), entries: Vec::new() }
    }
}

impl LogBatch {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// `entries` are consecutive.
    pub fn append_entries(&mut self, range_id: RangeId, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        let locations = encode_entries(&mut self.bytes, range_id, &entries, false);
        self.records.push(Record::Entries { range_id, first, locations });
        self.entries.push((range_id, entries));
    }

    /// Writes entries again, further on.
    pub(super) fn move_entries(&mut self, range_id: RangeId, entries: &[Entry]) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        let locations = encode_entries(&mut self.bytes, range_id, entries, true);
        self.records.push(Record::Moved { range_id, first, locations });
    }

    pub fn hard_state(&mut self, range_id: RangeId, state: HardState) {
        self.push(Record::HardState { range_id, state });
    }

    pub fn create_group(
        &mut self,
        range_id: RangeId,
        replica_id: ReplicaId,
        index: LogIndex,
        term: Term,
        state: HardState,
    ) {
        self.push(Record::Group { range_id, replica_id, index, term, state });
    }

    pub fn tombstone(&mut self, range_id: RangeId, next_replica_id: ReplicaId) {
        self.push(Record::Tombstone { range_id, next_replica_id });
    }

    pub fn truncate(&mut self, range_id: RangeId, index: LogIndex, term: Term) {
        self.push(Record::Truncate { range_id, index, term });
    }

    pub fn snapshot_pending(&mut self, range_id: RangeId, snapshot: PendingSnapshot) {
        let location = encode_snapshot(&mut self.bytes, range_id, &snapshot);
        self.records.push(Record::SnapshotPending { range_id, snapshot, location });
    }

    pub fn snapshot_installed(&mut self, range_id: RangeId) {
        self.push(Record::SnapshotInstalled { range_id });
    }

    pub fn clock_bound(&mut self, bound: Timestamp, exact: bool) {
        self.push(Record::ClockBound { bound, exact });
    }

    pub fn ident(&mut self, ident: StoreIdent) {
        self.push(Record::Ident(ident));
    }

    pub fn incarnation(&mut self, incarnation: u64) {
        self.push(Record::Incarnation(incarnation));
    }

    pub(super) fn push(&mut self, record: Record) {
        record.encode(&mut self.bytes);
        self.records.push(record);
    }
}
