//! What a batch is made of.

use basalt_base::{NodeId, RangeId, ReplicaId, StoreId, Timestamp};
use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::{
    codec::{Decoded, Fields, Malformed, put_bytes, put_u32, put_u64, put_u128},
    group::HardState,
};
use crate::{LogIndex, Membership, SnapshotData, StoreIdent, Term};

/// Where the bytes of an entry (or of a snapshot) are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub segment: u64,
    pub offset: u32,
    pub length: u32,
    /// Of the entry; kept here so that terms are answered from memory.
    pub term: Term,
}

/// A snapshot that must be installed in the state machine: written before the installation, so that a crash in its
/// middle is repaired by repeating it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingSnapshot {
    pub index: LogIndex,
    pub term: Term,
    pub membership: Membership,
    pub bytes: Bytes,
}

impl PendingSnapshot {
    pub fn into_data(self) -> SnapshotData {
        SnapshotData { index: self.index, term: self.term, membership: self.membership, bytes: self.bytes }
    }
}

/// A change of the log store's state. Locations are relative to the payload until the batch has a place.
#[derive(Clone, Debug)]
pub(super) enum Record {
    /// Entries from `first` on; they replace whatever the group has there and beyond.
    Entries {
        range_id: RangeId,
        first: LogIndex,
        locations: Vec<Location>,
    },
    /// The same entries at another place: nothing beyond them is replaced.
    Moved {
        range_id: RangeId,
        first: LogIndex,
        locations: Vec<Location>,
    },
    HardState {
        range_id: RangeId,
        state: HardState,
    },
    /// A group exists, with this state; its log starts behind (`index`, `term`). A checkpoint, a creation, or the
    /// state that a blank replica got. A replica with a lower id that was here is gone.
    Group {
        range_id: RangeId,
        replica_id: ReplicaId,
        index: LogIndex,
        term: Term,
        state: HardState,
    },
    /// Entries up to `index` are no longer needed.
    Truncate {
        range_id: RangeId,
        index: LogIndex,
        term: Term,
    },
    /// The log restarts behind the snapshot, which is being installed.
    SnapshotPending {
        range_id: RangeId,
        snapshot: PendingSnapshot,
        location: Location,
    },
    SnapshotInstalled {
        range_id: RangeId,
    },
    /// `exact`: a clean stop, which may lower the bound.
    ClockBound {
        bound: Timestamp,
        exact: bool,
    },
    Ident(StoreIdent),
    Incarnation(u64),
    /// Replicas of the range with lower ids were removed here, their logs with them, and never come back.
    Tombstone {
        range_id: RangeId,
        next_replica_id: ReplicaId,
    },
}

const ENTRIES: u8 = 1;
const MOVED: u8 = 2;
const HARD_STATE: u8 = 3;
const GROUP: u8 = 4;
const TRUNCATE: u8 = 5;
const SNAPSHOT_PENDING: u8 = 6;
const SNAPSHOT_INSTALLED: u8 = 7;
const CLOCK_BOUND: u8 = 8;
const IDENT: u8 = 9;
const INCARNATION: u8 = 10;
const TOMBSTONE: u8 = 11;

impl Record {
    /// Encodes everything but entries, whose bytes are written by [`encode_entries`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entries { .. } | Self::Moved { .. } | Self::SnapshotPending { .. } => {
                unreachable!("records with locations are encoded where the locations are made")
            }
            Self::HardState { range_id, state } => {
                out.push(HARD_STATE);
                put_u64(out, range_id.0);
                encode_hard_state(out, state);
            }
            Self::Group { range_id, replica_id, index, term, state } => {
                out.push(GROUP);
                put_u64(out, range_id.0);
                put_u64(out, replica_id.0);
                put_u64(out, *index);
                put_u64(out, *term);
                encode_hard_state(out, state);
            }
            Self::Truncate { range_id, index, term } => {
                out.push(TRUNCATE);
                put_u64(out, range_id.0);
                put_u64(out, *index);
                put_u64(out, *term);
            }
            Self::SnapshotInstalled { range_id } => {
                out.push(SNAPSHOT_INSTALLED);
                put_u64(out, range_id.0);
            }
            Self::ClockBound { bound, exact } => {
                out.push(CLOCK_BOUND);
                put_u64(out, bound.0);
                out.push(u8::from(*exact));
            }
            Self::Ident(ident) => {
                out.push(IDENT);
                put_u128(out, ident.cluster_id);
                put_u64(out, ident.node_id.0);
                put_u64(out, ident.store_id.0);
            }
            Self::Incarnation(incarnation) => {
                out.push(INCARNATION);
                put_u64(out, *incarnation);
            }
            Self::Tombstone { range_id, next_replica_id } => {
                out.push(TOMBSTONE);
                put_u64(out, range_id.0);
                put_u64(out, next_replica_id.0);
            }
        }
    }

    /// Reads one record; `segment` and `base` (the payload's offset in it) make locations absolute.
    pub fn decode(fields: &mut Fields, segment: u64, base: u64) -> Decoded<Self> {
        let kind = fields.u8()?;
        Ok(match kind {
            ENTRIES | MOVED => {
                let range_id = RangeId(fields.u64()?);
                let first = fields.u64()?;
                let count = fields.u32()?;
                let mut locations = Vec::new();
                for _ in 0..count {
                    let start = fields.position();
                    let entry = EntryFields::decode(fields)?;
                    let offset = u32::try_from(base + start as u64).map_err(|_| Malformed)?;
                    let length = u32::try_from(fields.position() - start).map_err(|_| Malformed)?;
                    locations.push(Location { segment, offset, length, term: entry.term });
                }
                if kind == ENTRIES {
                    Self::Entries { range_id, first, locations }
                } else {
                    Self::Moved { range_id, first, locations }
                }
            }
            HARD_STATE => {
                Self::HardState { range_id: RangeId(fields.u64()?), state: decode_hard_state(fields)? }
            }
            GROUP => Self::Group {
                range_id: RangeId(fields.u64()?),
                replica_id: ReplicaId(fields.u64()?),
                index: fields.u64()?,
                term: fields.u64()?,
                state: decode_hard_state(fields)?,
            },
            TRUNCATE => {
                Self::Truncate { range_id: RangeId(fields.u64()?), index: fields.u64()?, term: fields.u64()? }
            }
            SNAPSHOT_PENDING => {
                let range_id = RangeId(fields.u64()?);
                let start = fields.position();
                let snapshot = PendingSnapshot {
                    index: fields.u64()?,
                    term: fields.u64()?,
                    membership: decode_membership(fields)?,
                    bytes: fields.bytes()?,
                };
                let location = Location {
                    segment,
                    offset: u32::try_from(base + start as u64).map_err(|_| Malformed)?,
                    length: u32::try_from(fields.position() - start).map_err(|_| Malformed)?,
                    term: snapshot.term,
                };
                Self::SnapshotPending { range_id, snapshot, location }
            }
            SNAPSHOT_INSTALLED => Self::SnapshotInstalled { range_id: RangeId(fields.u64()?) },
            CLOCK_BOUND => Self::ClockBound { bound: Timestamp(fields.u64()?), exact: fields.u8()? != 0 },
            IDENT => Self::Ident(StoreIdent {
                cluster_id: fields.u128()?,
                node_id: NodeId(fields.u64()?),
                store_id: StoreId(fields.u64()?),
            }),
            INCARNATION => Self::Incarnation(fields.u64()?),
            TOMBSTONE => Self::Tombstone {
                range_id: RangeId(fields.u64()?),
                next_replica_id: ReplicaId(fields.u64()?),
            },
            _ => return Err(Malformed),
        })
    }
}

/// Appends the entries (not empty) and gives their locations, relative to the start of `out`.
pub(super) fn encode_entries(
    out: &mut Vec<u8>,
    range_id: RangeId,
    entries: &[Entry],
    moved: bool,
) -> Vec<Location> {
    out.push(if moved { MOVED } else { ENTRIES });
    put_u64(out, range_id.0);
    put_u64(out, entries[0].index);
    put_u32(out, super::codec::length_u32(entries.len()));
    entries
        .iter()
        .map(|entry| {
            let start = out.len();
            put_u32(out, 0);
            put_u64(out, entry.term);
            out.push(entry.entry_type as u8);
            put_bytes(out, &entry.context);
            put_bytes(out, &entry.data);
            // Each entry has a checksum of its own, because it is read alone later.
            let crc = crc32fast::hash(&out[start + 4..]);
            out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
            let offset = super::codec::length_u32(start);
            Location {
                segment: 0,
                offset,
                length: super::codec::length_u32(out.len()) - offset,
                term: entry.term,
            }
        })
        .collect()
}

/// Appends the snapshot and gives its location, relative to the start of `out`.
pub(super) fn encode_snapshot(out: &mut Vec<u8>, range_id: RangeId, snapshot: &PendingSnapshot) -> Location {
    out.push(SNAPSHOT_PENDING);
    put_u64(out, range_id.0);
    let offset = super::codec::length_u32(out.len());
    put_u64(out, snapshot.index);
    put_u64(out, snapshot.term);
    encode_membership(out, &snapshot.membership);
    put_bytes(out, &snapshot.bytes);
    Location { segment: 0, offset, length: super::codec::length_u32(out.len()) - offset, term: snapshot.term }
}

/// An entry as stored.
pub(super) struct EntryFields {
    crc: u32,
    term: Term,
    kind: u8,
    context: Bytes,
    data: Bytes,
}

impl EntryFields {
    pub fn decode(fields: &mut Fields) -> Decoded<Self> {
        Ok(Self {
            crc: fields.u32()?,
            term: fields.u64()?,
            kind: fields.u8()?,
            context: fields.bytes()?,
            data: fields.bytes()?,
        })
    }

    /// Checks the stored `bytes`, which this was decoded from, and builds the entry.
    pub fn into_entry(self, bytes: &[u8], index: LogIndex) -> Decoded<Entry> {
        if crc32fast::hash(bytes.get(4..).ok_or(Malformed)?) != self.crc {
            return Err(Malformed);
        }
        let kind = match self.kind {
            0 => EntryType::EntryNormal,
            1 => EntryType::EntryConfChange,
            2 => EntryType::EntryConfChangeV2,
            _ => return Err(Malformed),
        };
        let mut entry = Entry::default();
        entry.set_entry_type(kind);
        entry.term = self.term;
        entry.index = index;
        entry.context = self.context;
        entry.data = self.data;
        Ok(entry)
    }
}

fn encode_hard_state(out: &mut Vec<u8>, state: &HardState) {
    put_u64(out, state.term);
    put_u64(out, state.vote);
    put_u64(out, state.commit);
}

fn decode_hard_state(fields: &mut Fields) -> Decoded<HardState> {
    Ok(HardState { term: fields.u64()?, vote: fields.u64()?, commit: fields.u64()? })
}

fn encode_membership(out: &mut Vec<u8>, membership: &Membership) {
    for ids in
        [&membership.voters, &membership.learners, &membership.voters_outgoing, &membership.learners_next]
    {
        put_u32(out, super::codec::length_u32(ids.len()));
        for id in ids {
            put_u64(out, id.0);
        }
    }
    out.push(u8::from(membership.auto_leave));
}

fn decode_membership(fields: &mut Fields) -> Decoded<Membership> {
    let mut lists = [const { Vec::new() }; 4];
    for list in &mut lists {
        for _ in 0..fields.u32()? {
            list.push(ReplicaId(fields.u64()?));
        }
    }
    let [voters, learners, voters_outgoing, learners_next] = lists;
    Ok(Membership { voters, learners, voters_outgoing, learners_next, auto_leave: fields.u8()? != 0 })
}
