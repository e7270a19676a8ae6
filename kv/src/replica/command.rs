//! Commands: what the leaseholder proposes and every replica applies.
//!
//! A command carries the *effects* of evaluated requests, not the requests, so that replicas need not agree on how to
//! evaluate. The one logical operation is the resolution of locks, whose values then need not pass through the log
//! twice; it reads the replica's state at apply, which is the same everywhere at that index.
//!
//! Flat encoding, format 2, big-endian; the log checksums it. Format 1, of stores without peers, differs in its leases.

use basalt_base::{Key, Span, Timestamp};
use basalt_kv_api::{IgnoredSeqs, TxnStatus, request::ResolvedTxn};
use basalt_storage::{Family, Op, WriteBatch};
use bytes::{BufMut, Bytes, BytesMut};

use super::{
    descriptor::{Lease, Place, RangeDescriptor, put_places, take_places},
    wire::{self, Input, WireError},
};
use crate::concurrency::{ReadMark, ReadSummary, Tombstones};

const FORMAT: u8 = 2;
const FIRST_FORMAT: u8 = 1;

/// What is checked before a command takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The lease under which it was evaluated.
    pub lease_sequence: u64,
    /// The range's generation at evaluation.
    pub generation: u64,
    /// The lowest timestamp that it writes at; zero if it writes no version.
    pub write_ts: Timestamp,
    /// Once this command is applied, none that follows takes effect if it writes at or below.
    pub closed_ts: Timestamp,
}

/// Changes of the size estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsDelta {
    pub bytes: i64,
    pub garbage: i64,
}

/// Resolution of one lock, or of all locks of a transaction in a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveOp {
    pub extent: ResolveExtent,
    pub txn: ResolvedTxn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveExtent {
    Key(Key),
    Span(Span),
}

/// What a command does besides writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    #[default]
    None,
    /// A new lease, or an extension of the one in force.
    Lease(LeaseTrigger),
    /// Where the replicas are that the entry's change of membership adds. Takes effect whatever the lease, because Raft
    /// has changed the membership already.
    Replicas(Vec<Place>),
    Split(SplitTrigger),
    /// Reads at or below it are refused from now on.
    GcThreshold(Timestamp),
}

/// Compared with the lease in force when it is applied: of two that were proposed in ignorance of each other, the second
/// has no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTrigger {
    pub lease: Lease,
    /// The expiration of the lease in force, as the proposer knew it.
    pub replaces: Timestamp,
    /// The holder gives it away, so it need not have expired.
    pub is_transfer: bool,
    /// What the holder that gives it away knows of transactions without a record. Without that, all that began before the
    /// new lease may have been aborted.
    pub tombstones: Option<Tombstones>,
    /// What it knows of reads and of pushed transactions. Without that, everything may have been read, and everybody pushed,
    /// up to the start of the new lease.
    pub reads: Option<ReadSummary>,
}

/// Both halves as they will be. The right one inherits the lease and the threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitTrigger {
    pub left: RangeDescriptor,
    pub right: RangeDescriptor,
    /// The right half's share of the size estimates.
    pub right_bytes: i64,
    pub right_garbage: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub header: Header,
    pub stats: StatsDelta,
    pub batch: WriteBatch,
    pub resolves: Vec<ResolveOp>,
    pub trigger: Trigger,
}

impl Command {
    /// Must be applied in an engine batch of its own.
    pub fn must_cut_batch(&self) -> bool {
        !self.resolves.is_empty() || self.trigger != Trigger::None
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(96 + self.batch.bytes() + 16 * self.batch.ops.len());
        out.put_u8(FORMAT);
        out.put_u64(self.header.lease_sequence);
        out.put_u64(self.header.generation);
        out.put_u64(self.header.write_ts.0);
        out.put_u64(self.header.closed_ts.0);
        out.put_i64(self.stats.bytes);
        out.put_i64(self.stats.garbage);
        put_count(&mut out, self.batch.ops.len());
        self.batch.ops.iter().for_each(|op| put_op(&mut out, op));
        put_count(&mut out, self.resolves.len());
        self.resolves.iter().for_each(|resolve| put_resolve(&mut out, resolve));
        put_trigger(&mut out, &self.trigger);
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "command");
        let format = input.u8()?;
        if !matches!(format, FORMAT | FIRST_FORMAT) {
            return Err(input.error());
        }
        let header = Header {
            lease_sequence: input.u64()?,
            generation: input.u64()?,
            write_ts: input.timestamp()?,
            closed_ts: input.timestamp()?,
        };
        let stats = StatsDelta { bytes: input.i64()?, garbage: input.i64()? };
        let ops = (0..input.count(6)?).map(|_| take_op(&mut input)).collect::<Result<_, _>>()?;
        let resolves = (0..input.count(30)?).map(|_| take_resolve(&mut input)).collect::<Result<_, _>>()?;
        let trigger = take_trigger(&mut input, format)?;
        input.end()?;
        Ok(Self { header, stats, batch: WriteBatch { ops, ..WriteBatch::default() }, resolves, trigger })
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).expect("a command is bounded far below 4 Gi items"));
}

fn family_tag(family: Family) -> u8 {
    match family {
        Family::Data => 0,
        Family::Lock => 1,
        Family::Local => 2,
    }
}

fn put_op(out: &mut BytesMut, op: &Op) {
    match op {
        Op::Put { family, key, value } => {
            out.put_u8(family_tag(*family));
            wire::put_bytes(out, key);
            wire::put_bytes(out, value);
        }
        Op::Delete { family, key } => {
            out.put_u8(0x10 | family_tag(*family));
            wire::put_bytes(out, key);
        }
        Op::DeleteRange { family, span } => {
            out.put_u8(0x20 | family_tag(*family));
            wire::put_span(out, span);
        }
    }
}

fn take_op(input: &mut Input) -> Result<Op, WireError> {
    let tag = input.u8()?;
    let family = match tag & 0x0f {
        0 => Family::Data,
        1 => Family::Lock,
        2 => Family::Local,
        _ => return Err(input.error()),
    };
    match tag >> 4 {
        0 => Ok(Op::Put { family, key: input.bytes()?, value: input.bytes()? }),
        1 => Ok(Op::Delete { family, key: input.bytes()? }),
        2 => Ok(Op::DeleteRange { family, span: input.span()? }),
        _ => Err(input.error()),
    }
}

pub fn put_status(out: &mut BytesMut, status: TxnStatus) {
    out.put_u8(match status {
        TxnStatus::Pending => 0,
        TxnStatus::Staging => 1,
        TxnStatus::Committed => 2,
        TxnStatus::Aborted => 3,
    });
}

pub fn take_status(input: &mut Input) -> Result<TxnStatus, WireError> {
    match input.u8()? {
        0 => Ok(TxnStatus::Pending),
        1 => Ok(TxnStatus::Staging),
        2 => Ok(TxnStatus::Committed),
        3 => Ok(TxnStatus::Aborted),
        _ => Err(input.error()),
    }
}

pub fn put_ignored(out: &mut BytesMut, ignored: &IgnoredSeqs) {
    put_count(out, ignored.0.len());
    for (from, to) in &ignored.0 {
        out.put_u32(*from);
        out.put_u32(*to);
    }
}

pub fn take_ignored(input: &mut Input) -> Result<IgnoredSeqs, WireError> {
    let count = input.count(8)?;
    Ok(IgnoredSeqs((0..count).map(|_| Ok((input.u32()?, input.u32()?))).collect::<Result<_, _>>()?))
}

fn put_resolve(out: &mut BytesMut, resolve: &ResolveOp) {
    match &resolve.extent {
        ResolveExtent::Key(key) => {
            out.put_u8(0);
            wire::put_bytes(out, key);
        }
        ResolveExtent::Span(span) => {
            out.put_u8(1);
            wire::put_span(out, span);
        }
    }
    out.put_u128(resolve.txn.id.0);
    out.put_u32(resolve.txn.epoch);
    put_status(out, resolve.txn.status);
    out.put_u64(resolve.txn.timestamp.0);
    put_ignored(out, &resolve.txn.ignored);
}

fn take_resolve(input: &mut Input) -> Result<ResolveOp, WireError> {
    let extent = match input.u8()? {
        0 => ResolveExtent::Key(input.bytes()?),
        1 => ResolveExtent::Span(input.span()?),
        _ => return Err(input.error()),
    };
    let txn = ResolvedTxn {
        id: input.txn_id()?,
        epoch: input.u32()?,
        status: take_status(input)?,
        timestamp: input.timestamp()?,
        ignored: take_ignored(input)?,
    };
    Ok(ResolveOp { extent, txn })
}

fn put_trigger(out: &mut BytesMut, trigger: &Trigger) {
    match trigger {
        Trigger::None => out.put_u8(0),
        Trigger::Lease(trigger) => {
            out.put_u8(match (&trigger.tombstones, &trigger.reads) {
                (Some(_), Some(_)) => 6,
                (Some(_), None) => 5,
                _ => 1,
            });
            trigger.lease.put(out);
            out.put_u64(trigger.replaces.0);
            out.put_u8(u8::from(trigger.is_transfer));
            if let Some(tombstones) = &trigger.tombstones {
                put_tombstones(out, tombstones);
                trigger.reads.iter().for_each(|reads| put_reads(out, reads));
            }
        }
        Trigger::Split(split) => {
            out.put_u8(2);
            wire::put_bytes(out, &split.left.encode());
            wire::put_bytes(out, &split.right.encode());
            out.put_i64(split.right_bytes);
            out.put_i64(split.right_garbage);
        }
        Trigger::GcThreshold(threshold) => {
            out.put_u8(3);
            out.put_u64(threshold.0);
        }
        Trigger::Replicas(places) => {
            out.put_u8(4);
            put_places(out, places);
        }
    }
}

fn put_tombstones(out: &mut BytesMut, tombstones: &Tombstones) {
    out.put_u64(tombstones.low_water.0);
    put_count(out, tombstones.entries.len());
    for (id, min_ts) in &tombstones.entries {
        out.put_u128(id.0);
        out.put_u64(min_ts.0);
    }
}

fn take_tombstones(input: &mut Input) -> Result<Tombstones, WireError> {
    let low_water = input.timestamp()?;
    let entries = (0..input.count(24)?).map(|_| Ok((input.txn_id()?, input.timestamp()?)));
    Ok(Tombstones { low_water, entries: entries.collect::<Result<_, WireError>>()? })
}

fn put_reads(out: &mut BytesMut, reads: &ReadSummary) {
    out.put_u64(reads.low_water.0);
    put_count(out, reads.points.len());
    for (hash, mark) in &reads.points {
        out.put_u64(*hash);
        put_mark(out, mark);
    }
    put_count(out, reads.spans.len());
    for (span, mark) in &reads.spans {
        wire::put_span(out, span);
        put_mark(out, mark);
    }
    out.put_u64(reads.pushes_low_water.0);
    put_count(out, reads.pushes.len());
    for (id, to) in &reads.pushes {
        out.put_u128(id.0);
        out.put_u64(to.0);
    }
}

fn take_reads(input: &mut Input) -> Result<ReadSummary, WireError> {
    let low_water = input.timestamp()?;
    let points = (0..input.count(17)?).map(|_| Ok((input.u64()?, take_mark(input)?)));
    let points = points.collect::<Result<_, WireError>>()?;
    let spans = (0..input.count(17)?).map(|_| Ok((input.span()?, take_mark(input)?)));
    let spans = spans.collect::<Result<_, WireError>>()?;
    let pushes_low_water = input.timestamp()?;
    let pushes = (0..input.count(24)?).map(|_| Ok((input.txn_id()?, input.timestamp()?)));
    let pushes = pushes.collect::<Result<_, WireError>>()?;
    Ok(ReadSummary { low_water, points, spans, pushes_low_water, pushes })
}

fn put_mark(out: &mut BytesMut, mark: &ReadMark) {
    out.put_u64(mark.timestamp.0);
    out.put_u8(u8::from(mark.owner.is_some()));
    mark.owner.iter().for_each(|owner| out.put_u128(owner.0));
}

fn take_mark(input: &mut Input) -> Result<ReadMark, WireError> {
    let timestamp = input.timestamp()?;
    let owner = match input.u8()? {
        0 => None,
        1 => Some(input.txn_id()?),
        _ => return Err(input.error()),
    };
    Ok(ReadMark { timestamp, owner })
}

fn take_trigger(input: &mut Input, format: u8) -> Result<Trigger, WireError> {
    match input.u8()? {
        0 => Ok(Trigger::None),
        1 if format == FIRST_FORMAT => {
            let lease = Lease::take_first_format(input)?;
            Ok(Trigger::Lease(LeaseTrigger { lease, ..LeaseTrigger::default() }))
        }
        tag @ (1 | 5 | 6) => Ok(Trigger::Lease(LeaseTrigger {
            lease: Lease::take(input)?,
            replaces: input.timestamp()?,
            is_transfer: input.u8()? != 0,
            tombstones: (tag >= 5).then(|| take_tombstones(input)).transpose()?,
            reads: (tag == 6).then(|| take_reads(input)).transpose()?,
        })),
        2 => Ok(Trigger::Split(SplitTrigger {
            left: RangeDescriptor::decode(input.bytes()?)?,
            right: RangeDescriptor::decode(input.bytes()?)?,
            right_bytes: input.i64()?,
            right_garbage: input.i64()?,
        })),
        3 => input.timestamp().map(Trigger::GcThreshold),
        4 => take_places(input).map(Trigger::Replicas),
        _ => Err(input.error()),
    }
}

#[cfg(test)]
mod tests {
    use basalt_base::{NodeId, RangeId, ReplicaId, TxnId};

    use super::*;

    fn descriptor(id: u64, from: &'static [u8], to: &'static [u8]) -> RangeDescriptor {
        RangeDescriptor {
            range_id: RangeId(id),
            generation: 2,
            span: Span::new(Bytes::from_static(from), Bytes::from_static(to)),
            replicas: vec![Place { node_id: NodeId(1), replica_id: ReplicaId(1) }],
            next_replica_id: ReplicaId(2),
        }
    }

    fn commands() -> Vec<Command> {
        let mut batch = WriteBatch::new();
        batch.put(Family::Data, &b"k"[..], &b"v"[..]);
        batch.delete(Family::Lock, &b"k"[..]);
        batch.delete_range(Family::Local, Span::new(Bytes::from_static(b"a"), Bytes::from_static(b"b")));
        let header =
            Header { lease_sequence: 1, generation: 2, write_ts: Timestamp(3), closed_ts: Timestamp(4) };
        let stats = StatsDelta { bytes: 10, garbage: -4 };
        let resolve = ResolveOp {
            extent: ResolveExtent::Key(Bytes::from_static(b"k")),
            txn: ResolvedTxn {
                id: TxnId(9),
                epoch: 1,
                status: TxnStatus::Committed,
                timestamp: Timestamp(8),
                ignored: IgnoredSeqs(vec![(1, 3)]),
            },
        };
        let triggers = [
            Trigger::None,
            Trigger::GcThreshold(Timestamp(6)),
            Trigger::Lease(LeaseTrigger {
                lease: Lease {
                    sequence: 2,
                    node_id: NodeId(1),
                    incarnation: 3,
                    start: Timestamp(5),
                    expiration: Timestamp(9),
                },
                replaces: Timestamp(4),
                is_transfer: true,
                tombstones: None,
                reads: None,
            }),
            Trigger::Lease(LeaseTrigger {
                tombstones: Some(Tombstones::default()),
                reads: Some(ReadSummary {
                    low_water: Timestamp(3),
                    points: vec![(77, ReadMark { timestamp: Timestamp(8), owner: None })],
                    spans: vec![(
                        Span::new(Bytes::from_static(b"a"), Bytes::from_static(b"b")),
                        ReadMark { timestamp: Timestamp(9), owner: Some(TxnId(4)) },
                    )],
                    pushes_low_water: Timestamp(2),
                    pushes: [(TxnId(4), Timestamp(5))].into(),
                }),
                ..LeaseTrigger::default()
            }),
            Trigger::Lease(LeaseTrigger {
                tombstones: Some(Tombstones {
                    low_water: Timestamp(3),
                    entries: [(TxnId(4), Timestamp(5)), (TxnId(6), Timestamp(7))].into(),
                }),
                ..LeaseTrigger::default()
            }),
            Trigger::Replicas(vec![Place { node_id: NodeId(3), replica_id: ReplicaId(7) }]),
            Trigger::Split(SplitTrigger {
                left: descriptor(1, b"a", b"m"),
                right: descriptor(2, b"m", b"z"),
                right_bytes: 5,
                right_garbage: 1,
            }),
        ];
        triggers
            .map(|trigger| Command {
                header,
                stats,
                batch: batch.clone(),
                resolves: vec![resolve.clone()],
                trigger,
            })
            .into()
    }

    #[test]
    fn commands_round_trip() {
        for command in commands() {
            assert_eq!(Command::decode(command.encode()), Ok(command));
        }
    }

    #[test]
    fn damaged_commands_are_errors() {
        for command in commands() {
            let bytes = command.encode();
            for length in 0..bytes.len() {
                assert!(Command::decode(bytes.slice(..length)).is_err());
            }
            for index in 0..bytes.len() {
                let mut damaged = bytes.to_vec();
                damaged[index] ^= 0x55;
                // Must not panic; the log's checksum is what tells damage from data.
                let _ = Command::decode(Bytes::from(damaged));
            }
        }
    }
}
