//! The state of a range as one run of bytes, for a replica that has fallen behind the log.
//!
//! Format 2: the records of the range (descriptor, lease, threshold, applied state), then for every family
//! `count ‖ (key, value)…` of the range's keys.

use std::sync::Arc;

use basalt_base::{RangeId, ReplicaId, Span, keys};
use basalt_env::{Bug, planted};
use basalt_raft::{Error, Result, SnapshotData};
use basalt_storage::{Engine, Family, IterOptions, Reader, WriteBatch};
use bytes::{BufMut, Bytes, BytesMut};

use super::{
    descriptor::{self, AppliedState, Lease, RangeDescriptor, state_key},
    state::ReplicaState,
    wire::{self, Input, WireError},
};

const FORMAT: u8 = 2;
/// Larger ranges need a streamed snapshot.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

pub fn take(engine: &dyn Engine, range_id: RangeId) -> Result<SnapshotData> {
    let reader = engine.snapshot();
    let state = ReplicaState::load(&*reader, range_id).map_err(basalt_storage::Error::from)?;
    let mut out = BytesMut::new();
    out.put_u8(FORMAT);
    wire::put_bytes(&mut out, &state.descriptor.encode());
    wire::put_bytes(&mut out, &state.lease.encode());
    wire::put_bytes(&mut out, &descriptor::encode_threshold(state.gc_threshold));
    wire::put_bytes(&mut out, &state.applied.encode());
    for (family, span) in families(&state.descriptor.span) {
        put_family(&mut out, &*reader, family, &span)?;
    }
    Ok(SnapshotData {
        index: state.applied.index,
        term: state.applied.term,
        membership: state.membership,
        bytes: out.freeze(),
    })
}

/// What a range has in each family.
pub fn families(span: &Span) -> [(Family, Span); 3] {
    [
        (Family::Data, span.clone()),
        (Family::Lock, span.clone()),
        (Family::Local, keys::range_local_span(span)),
    ]
}

fn put_family(out: &mut BytesMut, reader: &dyn Reader, family: Family, span: &Span) -> Result<()> {
    let options = IterOptions::within(span);
    let mut iter = reader.iter(family, options)?;
    iter.seek(&span.start)?;
    let count_at = out.len();
    out.put_u32(0);
    let mut count = 0_u32;
    while iter.valid() {
        wire::put_bytes(out, iter.key());
        wire::put_bytes(out, iter.value());
        if family == Family::Lock && planted(Bug::SnapshotWithoutLocks) {
            out.truncate(count_at + 4);
            break;
        }
        count += 1;
        if out.len() > SNAPSHOT_BYTES_MAX {
            return Err(Error::Unavailable("the range is too large for a snapshot".to_owned()));
        }
        iter.next()?;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// What a snapshot says of the range, without its keys.
pub struct Head {
    pub descriptor: RangeDescriptor,
    lease: Lease,
    gc_threshold: basalt_base::Timestamp,
    applied: AppliedState,
    families: Input,
}

impl Head {
    pub fn read(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "snapshot");
        if input.u8()? != FORMAT {
            return Err(input.error());
        }
        Ok(Self {
            descriptor: RangeDescriptor::decode(input.bytes()?)?,
            lease: Lease::decode(input.bytes()?)?,
            gc_threshold: descriptor::decode_threshold(input.bytes()?)?,
            applied: AppliedState::decode(input.bytes()?)?,
            families: input,
        })
    }

    /// The state of the replica, and the batch that makes the engine hold it; `before`: what it held until now.
    pub fn install(
        mut self,
        replica_id: ReplicaId,
        snapshot: &SnapshotData,
        before: Option<&Span>,
    ) -> Result<(ReplicaState, WriteBatch), WireError> {
        let state = ReplicaState {
            replica_id,
            descriptor: Arc::new(self.descriptor.clone()),
            lease: self.lease,
            gc_threshold: self.gc_threshold,
            applied: AppliedState { index: snapshot.index, term: snapshot.term, ..self.applied },
            membership: snapshot.membership.clone(),
        };
        let mut batch = WriteBatch::new();
        for span in before.into_iter().chain([&self.descriptor.span]) {
            clear(&mut batch, span);
        }
        for (family, span) in families(&self.descriptor.span) {
            for _ in 0..self.families.count(8)? {
                let (key, value) = (self.families.bytes()?, self.families.bytes()?);
                if !span.contains(&key) {
                    return Err(self.families.error());
                }
                batch.put(family, key, value);
            }
        }
        self.families.end()?;
        state.put_all(&mut batch);
        Ok((state, batch))
    }
}

/// Removes everything of a range but its records.
pub fn clear(batch: &mut WriteBatch, span: &Span) {
    for (family, span) in families(span) {
        batch.delete_range(family, span);
    }
}

/// Removes the records of a range.
pub fn clear_records(batch: &mut WriteBatch, range_id: RangeId) {
    let start = state_key(range_id, 0);
    let end = keys::prefix_end(&start[..start.len() - 1]);
    batch.delete_range(Family::Local, Span::new(start, end));
}
