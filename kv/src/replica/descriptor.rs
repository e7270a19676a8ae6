//! The replicated state of one range outside its data, and its encodings.
//!
//! Space `01 ‖ range id ‖ suffix`, unversioned, each record beginning with a format byte:
//!
//! | suffix | record |
//! |---|---|
//! | `a` | applied index and term, size and garbage estimates: written with every batch |
//! | `d` | descriptor |
//! | `l` | lease |
//! | `g` | garbage-collection threshold |
//! | `m` | Raft membership |

use basalt_base::{Key, NodeId, RangeId, ReplicaId, Span, Timestamp};
use basalt_raft::{LogIndex, Membership, Term};
use bytes::{BufMut, Bytes, BytesMut};

use super::wire::{self, Input, WireError};

const FORMAT: u8 = 1;

pub const APPLIED: u8 = b'a';
pub const DESCRIPTOR: u8 = b'd';
pub const LEASE: u8 = b'l';
pub const GC_THRESHOLD: u8 = b'g';
pub const MEMBERSHIP: u8 = b'm';

/// What a range is. Also the value of its meta entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeDescriptor {
    pub range_id: RangeId,
    /// This store's replica.
    pub replica_id: ReplicaId,
    /// Grows with every change of the span, in both halves of a split.
    pub generation: u64,
    pub span: Span,
}

impl RangeDescriptor {
    pub fn contains(&self, key: &[u8]) -> bool {
        self.span.contains(key)
    }

    pub fn covers(&self, span: &Span) -> bool {
        self.span.start <= span.start && span.end <= self.span.end
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(40 + self.span.start.len() + self.span.end.len());
        out.put_u8(FORMAT);
        out.put_u64(self.range_id.0);
        out.put_u64(self.replica_id.0);
        out.put_u64(self.generation);
        wire::put_span(&mut out, &self.span);
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = open(bytes, "range descriptor")?;
        let descriptor = Self {
            range_id: RangeId(input.u64()?),
            replica_id: ReplicaId(input.u64()?),
            generation: input.u64()?,
            span: input.span()?,
        };
        input.end()?;
        Ok(descriptor)
    }
}

/// The right to serve the range: tied to one incarnation of one node, so that a restarted process never reuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    pub sequence: u64,
    pub node_id: NodeId,
    pub incarnation: u64,
    /// Nothing was read at or above it under an earlier lease.
    pub start: Timestamp,
}

impl Lease {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(33);
        out.put_u8(FORMAT);
        self.put(&mut out);
        out.freeze()
    }

    pub fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.sequence);
        out.put_u64(self.node_id.0);
        out.put_u64(self.incarnation);
        out.put_u64(self.start.0);
    }

    pub fn take(input: &mut Input) -> Result<Self, WireError> {
        Ok(Self {
            sequence: input.u64()?,
            node_id: NodeId(input.u64()?),
            incarnation: input.u64()?,
            start: input.timestamp()?,
        })
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = open(bytes, "lease")?;
        let lease = Self::take(&mut input)?;
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
}

impl AppliedState {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(33);
        out.put_u8(FORMAT);
        out.put_u64(self.index);
        out.put_u64(self.term);
        out.put_i64(self.bytes);
        out.put_i64(self.garbage);
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = open(bytes, "applied state")?;
        let state =
            Self { index: input.u64()?, term: input.u64()?, bytes: input.i64()?, garbage: input.i64()? };
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
        let descriptor = RangeDescriptor {
            range_id: RangeId(7),
            replica_id: ReplicaId(1),
            generation: 3,
            span: Span::new(Bytes::from_static(b"a"), Bytes::from_static(b"m")),
        };
        let bytes = descriptor.encode();
        assert_eq!(RangeDescriptor::decode(bytes.clone()), Ok(descriptor));
        for length in 0..bytes.len() {
            assert!(RangeDescriptor::decode(bytes.slice(..length)).is_err());
        }
        let lease = Lease { sequence: 4, node_id: NodeId(2), incarnation: 9, start: Timestamp(77) };
        assert_eq!(Lease::decode(lease.encode()), Ok(lease));
        let applied = AppliedState { index: 12, term: 5, bytes: -3, garbage: 9 };
        assert_eq!(AppliedState::decode(applied.encode()), Ok(applied));
        let membership = Membership::voters([ReplicaId(1), ReplicaId(2)]);
        assert_eq!(decode_membership(encode_membership(&membership)), Ok(membership));
        assert_eq!(decode_threshold(encode_threshold(Timestamp(6))), Ok(Timestamp(6)));
    }
}
