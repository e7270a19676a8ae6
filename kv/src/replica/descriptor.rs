//! The replicated state of one range outside its data, and its encodings.
//!
//! Space `01 ‖ range id ‖ suffix`, unversioned, each record beginning with a format byte:
//!
//! | suffix | record |
//! |---|---|
//! | `a` | applied index and term, size and garbage estimates, closed timestamp: written with every batch |
//! | `d` | descriptor |
//! | `l` | lease |
//! | `g` | garbage-collection threshold |
//! | `m` | Raft membership |
//! | `r` | this store's replica id: the one record that replicas do not share |

use basalt_base::{Key, NodeId, RangeId, ReplicaId, Span, Timestamp};
use basalt_env::{Bug, planted};
use basalt_raft::{LogIndex, Membership, Term};
use bytes::{BufMut, Bytes, BytesMut};

use super::wire::{self, Input, WireError};

const FORMAT: u8 = 1;
/// Of records that have changed since the first version.
const FORMAT_2: u8 = 2;

pub const APPLIED: u8 = b'a';
pub const DESCRIPTOR: u8 = b'd';
pub const LEASE: u8 = b'l';
pub const GC_THRESHOLD: u8 = b'g';
pub const MEMBERSHIP: u8 = b'm';
pub const REPLICA_ID: u8 = b'r';

/// Where a replica of a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub node_id: NodeId,
    pub replica_id: ReplicaId,
}

/// What a range is, and where. Also the value of its meta entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeDescriptor {
    pub range_id: RangeId,
    /// Grows with every change of the span, in both halves of a split, and of the replicas.
    pub generation: u64,
    pub span: Span,
    /// All members of the group, learners and leaving ones too, by replica id.
    pub replicas: Vec<Place>,
    /// The next one to be given out: ids are never used again.
    pub next_replica_id: ReplicaId,
}

impl RangeDescriptor {
    pub fn contains(&self, key: &[u8]) -> bool {
        self.span.contains(key)
    }

    pub fn covers(&self, span: &Span) -> bool {
        self.span.start <= span.start && span.end <= self.span.end
    }

    /// This node's replica, if it has one.
    pub fn replica_on(&self, node_id: NodeId) -> Option<ReplicaId> {
        self.replicas.iter().find(|place| place.node_id == node_id).map(|place| place.replica_id)
    }

    pub fn node_of(&self, replica_id: ReplicaId) -> Option<NodeId> {
        self.replicas.iter().find(|place| place.replica_id == replica_id).map(|place| place.node_id)
    }

    /// As after a change of membership: `added` come in, and who is no member goes. Equal on every replica.
    #[must_use]
    pub fn with_members(&self, membership: &Membership, added: &[Place]) -> Self {
        let mut changed = self.clone();
        changed.replicas.extend(added);
        changed.replicas.retain(|place| membership.contains(place.replica_id));
        changed.replicas.sort_unstable_by_key(|place| place.replica_id);
        changed.replicas.dedup_by_key(|place| place.replica_id);
        let highest = added.iter().map(|place| place.replica_id.0 + 1).max().unwrap_or(0);
        changed.next_replica_id = ReplicaId(self.next_replica_id.0.max(highest));
        changed.generation += 1;
        changed
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(
            40 + self.span.start.len() + self.span.end.len() + 16 * self.replicas.len(),
        );
        out.put_u8(FORMAT_2);
        out.put_u64(self.range_id.0);
        out.put_u64(self.generation);
        wire::put_span(&mut out, &self.span);
        put_places(&mut out, &self.replicas);
        out.put_u64(self.next_replica_id.0);
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "range descriptor");
        let descriptor = match input.u8()? {
            FORMAT => Self::take_first_format(&mut input)?,
            FORMAT_2 => Self {
                range_id: RangeId(input.u64()?),
                generation: input.u64()?,
                span: input.span()?,
                replicas: take_places(&mut input)?,
                next_replica_id: ReplicaId(input.u64()?),
            },
            _ => return Err(input.error()),
        };
        input.end()?;
        Ok(descriptor)
    }

    /// Format 1 is of stores that had no peers: their only node was the first.
    fn take_first_format(input: &mut Input) -> Result<Self, WireError> {
        let range_id = RangeId(input.u64()?);
        let replica_id = ReplicaId(input.u64()?);
        Ok(Self {
            range_id,
            generation: input.u64()?,
            span: input.span()?,
            replicas: vec![Place { node_id: NodeId(1), replica_id }],
            next_replica_id: ReplicaId(replica_id.0.saturating_add(1)),
        })
    }
}

pub fn put_places(out: &mut BytesMut, places: &[Place]) {
    out.put_u32(u32::try_from(places.len()).expect("a group has few members"));
    for place in places {
        out.put_u64(place.node_id.0);
        out.put_u64(place.replica_id.0);
    }
}

pub fn take_places(input: &mut Input) -> Result<Vec<Place>, WireError> {
    let count = input.count(16)?;
    let take = |_| Ok(Place { node_id: NodeId(input.u64()?), replica_id: ReplicaId(input.u64()?) });
    (0..count).map(take).collect()
}

/// The right to serve the range: tied to one incarnation of one node, so that a restarted process never reuses it.
///
/// A lease covers the timestamps from `start` to `expiration`. Nobody else gets one before the expiration has passed on
/// the clock of whoever takes it, and then above it: so whatever was read under an earlier lease was read below the
/// start of this one, whatever the clocks say. The lease of a range without any other member does not expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    pub sequence: u64,
    pub node_id: NodeId,
    pub incarnation: u64,
    /// Nothing was read at or above it under an earlier lease.
    pub start: Timestamp,
    /// Exclusive; zero for never.
    pub expiration: Timestamp,
}

impl Lease {
    pub fn expires(&self) -> bool {
        !self.expiration.is_zero()
    }

    /// Whether it covers `at`, with `stasis_ms` left.
    pub fn covers(&self, at: Timestamp, stasis_ms: u64) -> bool {
        !self.expires() || at.add_ms(stasis_ms) < self.expiration
    }

    pub fn is_of(&self, node_id: NodeId, incarnation: u64) -> bool {
        self.node_id == node_id && (self.incarnation == incarnation || planted(Bug::ReuseLease))
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(41);
        out.put_u8(FORMAT_2);
        self.put(&mut out);
        out.freeze()
    }

    pub fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.sequence);
        out.put_u64(self.node_id.0);
        out.put_u64(self.incarnation);
        out.put_u64(self.start.0);
        out.put_u64(self.expiration.0);
    }

    pub fn take(input: &mut Input) -> Result<Self, WireError> {
        let mut lease = Self::take_first_format(input)?;
        lease.expiration = input.timestamp()?;
        Ok(lease)
    }

    /// Without an expiration.
    pub fn take_first_format(input: &mut Input) -> Result<Self, WireError> {
        Ok(Self {
            sequence: input.u64()?,
            node_id: NodeId(input.u64()?),
            incarnation: input.u64()?,
            start: input.timestamp()?,
            expiration: Timestamp::ZERO,
        })
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "lease");
        let lease = match input.u8()? {
            FORMAT => Self::take_first_format(&mut input)?,
            FORMAT_2 => Self::take(&mut input)?,
            _ => return Err(input.error()),
        };
        input.end()?;
        Ok(lease)
    }
}

/// How far the log was applied, and what that left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    pub index: LogIndex,
    pub term: Term,
    /// Keys and values of all versions, estimated.
    pub bytes: i64,
    /// The part of it that newer versions or deletions hide, estimated.
    pub garbage: i64,
    /// No later command writes at or below it: what is read here at such a timestamp is read for ever.
    pub closed_ts: Timestamp,
}

impl AppliedState {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(41);
        out.put_u8(FORMAT_2);
        out.put_u64(self.index);
        out.put_u64(self.term);
        out.put_i64(self.bytes);
        out.put_i64(self.garbage);
        out.put_u64(self.closed_ts.0);
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "applied state");
        let format = input.u8()?;
        let mut state = Self {
            index: input.u64()?,
            term: input.u64()?,
            bytes: input.i64()?,
            garbage: input.i64()?,
            closed_ts: Timestamp::ZERO,
        };
        match format {
            // Of stores whose ranges were never closed.
            FORMAT => {}
            FORMAT_2 => state.closed_ts = input.timestamp()?,
            _ => return Err(input.error()),
        }
        input.end()?;
        Ok(state)
    }
}

pub fn encode_threshold(threshold: Timestamp) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(FORMAT);
    out.put_u64(threshold.0);
    out.freeze()
}

pub fn decode_threshold(bytes: Bytes) -> Result<Timestamp, WireError> {
    let mut input = open(bytes, "garbage-collection threshold")?;
    let threshold = input.timestamp()?;
    input.end()?;
    Ok(threshold)
}

pub fn encode_replica_id(replica_id: ReplicaId) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(FORMAT);
    out.put_u64(replica_id.0);
    out.freeze()
}

pub fn decode_replica_id(bytes: Bytes) -> Result<ReplicaId, WireError> {
    let mut input = open(bytes, "replica id")?;
    let replica_id = ReplicaId(input.u64()?);
    input.end()?;
    Ok(replica_id)
}

pub fn encode_membership(membership: &Membership) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(FORMAT);
    let lists =
        [&membership.voters, &membership.learners, &membership.voters_outgoing, &membership.learners_next];
    for list in lists {
        out.put_u32(u32::try_from(list.len()).expect("a group has few members"));
        list.iter().for_each(|member| out.put_u64(member.0));
    }
    out.put_u8(u8::from(membership.auto_leave));
    out.freeze()
}

pub fn decode_membership(bytes: Bytes) -> Result<Membership, WireError> {
    let mut input = open(bytes, "membership")?;
    let mut lists: [Vec<ReplicaId>; 4] = Default::default();
    for list in &mut lists {
        for _ in 0..input.count(8)? {
            list.push(ReplicaId(input.u64()?));
        }
    }
    let [voters, learners, voters_outgoing, learners_next] = lists;
    let auto_leave = input.u8()? != 0;
    input.end()?;
    Ok(Membership { voters, learners, voters_outgoing, learners_next, auto_leave })
}

/// Where a record of the range lives.
pub fn state_key(range_id: RangeId, suffix: u8) -> Key {
    basalt_base::keys::range_id_key(range_id, suffix)
}

fn open(bytes: Bytes, what: &'static str) -> Result<Input, WireError> {
    let mut input = Input::new(bytes, what);
    if input.u8()? == FORMAT { Ok(input) } else { Err(WireError(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_round_trip_and_refuse_truncation() {
        let place = |id| Place { node_id: NodeId(id), replica_id: ReplicaId(10 * id) };
        let descriptor = RangeDescriptor {
            range_id: RangeId(7),
            generation: 3,
            span: Span::new(Bytes::from_static(b"a"), Bytes::from_static(b"m")),
            replicas: vec![place(1), place(2)],
            next_replica_id: ReplicaId(21),
        };
        let bytes = descriptor.encode();
        assert_eq!(RangeDescriptor::decode(bytes.clone()), Ok(descriptor));
        for length in 0..bytes.len() {
            assert!(RangeDescriptor::decode(bytes.slice(..length)).is_err());
        }
        let lease = Lease {
            sequence: 4,
            node_id: NodeId(2),
            incarnation: 9,
            start: Timestamp(77),
            expiration: Timestamp(99),
        };
        assert_eq!(Lease::decode(lease.encode()), Ok(lease));
        let applied = AppliedState { index: 12, term: 5, bytes: -3, garbage: 9, closed_ts: Timestamp(8) };
        assert_eq!(AppliedState::decode(applied.encode()), Ok(applied));
        let membership = Membership::voters([ReplicaId(1), ReplicaId(2)]);
        assert_eq!(decode_membership(encode_membership(&membership)), Ok(membership));
        assert_eq!(decode_threshold(encode_threshold(Timestamp(6))), Ok(Timestamp(6)));
    }

    #[test]
    fn records_of_stores_without_peers_are_understood() {
        let mut out = BytesMut::new();
        out.put_u8(1);
        for number in [7, 1, 3] {
            out.put_u64(number);
        }
        wire::put_span(&mut out, &Span::new(Bytes::from_static(b"a"), Bytes::from_static(b"m")));
        let descriptor = RangeDescriptor::decode(out.freeze()).unwrap();
        assert_eq!(descriptor.replicas, [Place { node_id: NodeId(1), replica_id: ReplicaId(1) }]);
        assert_eq!((descriptor.generation, descriptor.next_replica_id), (3, ReplicaId(2)));
        let mut out = BytesMut::new();
        out.put_u8(1);
        for number in [12_u64, 5, 3, 9] {
            out.put_u64(number);
        }
        let applied = AppliedState::decode(out.freeze()).unwrap();
        assert_eq!((applied.index, applied.garbage, applied.closed_ts), (12, 9, Timestamp::ZERO));
        let mut out = BytesMut::new();
        out.put_u8(1);
        for number in [4, 1, 9, 77] {
            out.put_u64(number);
        }
        let lease = Lease::decode(out.freeze()).unwrap();
        assert_eq!((lease.sequence, lease.start, lease.expires()), (4, Timestamp(77), false));
    }

    #[test]
    fn a_lease_ends_before_its_expiration_by_the_stasis() {
        let lease = Lease { expiration: Timestamp::from_parts(1_000, 0), ..Lease::default() };
        assert!(lease.covers(Timestamp::from_parts(749, 0), 250));
        assert!(!lease.covers(Timestamp::from_parts(750, 0), 250));
        assert!(Lease::default().covers(Timestamp::MAX.prev(), 250));
    }

    #[test]
    fn places_follow_the_membership() {
        let place = |id| Place { node_id: NodeId(id), replica_id: ReplicaId(id) };
        let descriptor = RangeDescriptor {
            range_id: RangeId(7),
            generation: 3,
            span: Span::new(Bytes::from_static(b"a"), Bytes::from_static(b"m")),
            replicas: vec![place(1), place(2)],
            next_replica_id: ReplicaId(3),
        };
        let members = Membership { learners: vec![ReplicaId(3)], ..Membership::voters([ReplicaId(1)]) };
        let changed = descriptor.with_members(&members, &[place(3)]);
        assert_eq!(changed.replicas, [place(1), place(3)]);
        assert_eq!((changed.generation, changed.next_replica_id), (4, ReplicaId(4)));
    }
}
