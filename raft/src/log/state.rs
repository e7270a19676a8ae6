//! The log store's memory: all groups, small records, and which segments are still needed.
//!
//! Replay and live appends go through the same [`LogState::apply`], so that a restart sees what the process saw.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{RangeId, ReplicaId, Timestamp};
use basalt_env::File;
use parking_lot::{Mutex, RwLock};
use raft::eraftpb::Entry;

use super::{
    codec::Fields,
    frame::segment_path,
    group::{GroupLog, HardState},
    record::{EntryFields, Location, Record},
};
use crate::{Error, LogIndex, Result, StoreIdent, Term};

/// Entries that lie near each other are read together, up to this many bytes.
const READ_BYTES_MAX: u32 = 1 << 20;

/// The open segment files; shared with readers of entries.
#[derive(Default)]
pub(crate) struct SegmentFiles {
    pub(super) files: RwLock<BTreeMap<u64, Arc<dyn File>>>,
}

impl SegmentFiles {
    /// Reads the entries at `locations`, which have consecutive indexes from `first` on.
    pub fn read(&self, first: LogIndex, locations: &[Location]) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(locations.len());
        let mut rest = locations;
        while let Some(head) = rest.first() {
            let near = |location: &&Location| {
                location.segment == head.segment
                    && location.offset >= head.offset
                    && (location.offset == head.offset
                        || location.offset - head.offset + location.length <= READ_BYTES_MAX)
            };
            let count = rest.iter().take_while(near).count();
            let (run, later) = rest.split_at(count);
            rest = later;
            let tail = run[count - 1];
            let bytes =
                self.read_bytes(head.segment, head.offset, tail.offset - head.offset + tail.length)?;
            for location in run {
                let start = (location.offset - head.offset) as usize;
                let stored = bytes.slice(start..start + location.length as usize);
                let index = first + entries.len() as u64;
                let entry = EntryFields::decode(&mut Fields::new(stored.clone()))
                    .and_then(|fields| fields.into_entry(&stored, index))
                    .map_err(|_| damaged(location.segment, u64::from(location.offset)))?;
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn read_bytes(&self, segment: u64, offset: u32, length: u32) -> Result<bytes::Bytes> {
        let file = self.files.read().get(&segment).cloned();
        let file = file.ok_or_else(|| Error::Corruption(format!("{} is missing", segment_path(segment))))?;
        let mut buffer = vec![0; length as usize];
        let read = file
            .read_at(u64::from(offset), &mut buffer)
            .map_err(|error| Error::io(&segment_path(segment), &error))?;
        if read < buffer.len() {
            return Err(damaged(segment, u64::from(offset)));
        }
        Ok(buffer.into())
    }
}

pub(super) fn damaged(segment: u64, offset: u64) -> Error {
    Error::Corruption(format!("{} at offset {offset}: bad checksum", segment_path(segment)))
}

/// How much of a segment is still needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Liveness {
    pub records: u64,
    pub bytes: u64,
}

/// The segments, and how much of all of them is needed: asked for every turn of the loop.
#[derive(Default)]
pub(super) struct Segments {
    by_number: BTreeMap<u64, Liveness>,
    all: Liveness,
}

impl Segments {
    pub fn add(&mut self, segment: u64) {
        self.by_number.entry(segment).or_default();
    }

    /// Takes out a segment of which nothing is needed.
    pub fn remove(&mut self, segment: u64) {
        self.by_number.remove(&segment);
    }

    pub fn oldest(&self) -> Option<(u64, Liveness)> {
        self.by_number.first_key_value().map(|(segment, live)| (*segment, *live))
    }

    fn retain(&mut self, locations: &[Location]) {
        for location in locations {
            let segment = self.by_number.entry(location.segment).or_default();
            for live in [segment, &mut self.all] {
                live.records += 1;
                live.bytes += u64::from(location.length);
            }
        }
    }

    fn release(&mut self, location: &Location) {
        if let Some(segment) = self.by_number.get_mut(&location.segment) {
            for live in [segment, &mut self.all] {
                live.records -= 1;
                live.bytes -= u64::from(location.length);
            }
        }
    }
}

#[derive(Default)]
pub(super) struct LogState {
    pub groups: BTreeMap<RangeId, Arc<Mutex<GroupLog>>>,
    pub segments: Segments,
    pub clock_bound: Timestamp,
    /// The last bound was written by a clean stop.
    pub clock_exact: bool,
    pub ident: Option<StoreIdent>,
    pub incarnation: u64,
    /// Below which replica ids nothing of a range may exist here. They are kept for ever: a few bytes for each range
    /// that once was here.
    pub tombstones: BTreeMap<RangeId, ReplicaId>,
}

impl LogState {
    pub fn live_bytes(&self) -> u64 {
        self.segments.all.bytes
    }

    pub fn live_entries(&self) -> u64 {
        self.segments.all.records
    }

    /// Adds a group, in the place of an older replica's, or moves the start of one that exists.
    pub fn create_group(
        &mut self,
        range_id: RangeId,
        replica_id: ReplicaId,
        index: LogIndex,
        term: Term,
        state: HardState,
    ) -> Arc<Mutex<GroupLog>> {
        let Self { groups, segments, .. } = self;
        if let Some(group) = groups.get(&range_id).filter(|group| group.lock().replica_id >= replica_id) {
            let mut log = group.lock();
            log.hard_state = state;
            log.truncate(index, term, |location| segments.release(location));
            drop(log);
            return group.clone();
        }
        let new = Arc::new(Mutex::new(GroupLog::new(replica_id, index, term, state)));
        if let Some(older) = groups.insert(range_id, new.clone()) {
            older.lock().release_all(|location| segments.release(location));
        }
        new
    }

    /// A record of an unknown group is an error (replay: a damaged log).
    pub fn apply(&mut self, record: Record) -> Result<()> {
        let Self { groups, segments, .. } = self;
        match record {
            Record::Entries { range_id, first, locations } => {
                let group = find(groups, range_id)?;
                segments.retain(&locations);
                group.lock().append(first, &locations, |location| segments.release(location));
            }
            Record::Moved { range_id, first, locations } => {
                let group = find(groups, range_id)?;
                segments.retain(&locations);
                group.lock().relocate(first, &locations, |location| segments.release(location));
            }
            Record::HardState { range_id, state } => find(groups, range_id)?.lock().hard_state = state,
            Record::Group { range_id, replica_id, index, term, state } => {
                self.create_group(range_id, replica_id, index, term, state);
            }
            Record::Truncate { range_id, index, term } => {
                let group = find(groups, range_id)?;
                group.lock().truncate(index, term, |location| segments.release(location));
            }
            Record::SnapshotPending { range_id, snapshot, location } => {
                let group = find(groups, range_id)?;
                segments.retain(&[location]);
                let mut group = group.lock();
                let older = group.pending_snapshot.take();
                group.restart(snapshot.index, snapshot.term, |location| segments.release(location));
                if let Some((_, location)) = older {
                    segments.release(&location);
                }
                group.pending_snapshot = Some((snapshot, location));
            }
            Record::SnapshotInstalled { range_id } => {
                if let Some((_, location)) = find(groups, range_id)?.lock().pending_snapshot.take() {
                    segments.release(&location);
                }
            }
            Record::ClockBound { bound, exact } => {
                self.clock_bound = if exact { bound } else { self.clock_bound.max(bound) };
                self.clock_exact = exact;
            }
            Record::Tombstone { range_id, next_replica_id } => {
                let next = self.tombstones.entry(range_id).or_insert(next_replica_id);
                *next = next_replica_id.max(*next);
                if groups.get(&range_id).is_some_and(|group| group.lock().replica_id < *next)
                    && let Some(group) = groups.remove(&range_id)
                {
                    group.lock().release_all(|location| segments.release(location));
                }
            }
            Record::Ident(ident) => self.ident = Some(ident),
            Record::Incarnation(incarnation) => self.incarnation = incarnation,
        }
        Ok(())
    }
}

fn find(
    groups: &BTreeMap<RangeId, Arc<Mutex<GroupLog>>>,
    range_id: RangeId,
) -> Result<&Arc<Mutex<GroupLog>>> {
    groups.get(&range_id).ok_or_else(|| {
        Error::Corruption(format!("the log has a record of range {range_id}, which it never created"))
    })
}
