//! The state of a range as one run of bytes, for a replica that has fallen behind the log.
//!
//! Format 1: descriptor record, then for every family `count ‖ (key, value)…` of the range's keys.

use basalt_base::{RangeId, Span, keys};
use basalt_raft::{Error, Result, SnapshotData};
use basalt_storage::{Engine, Family, IterOptions, Reader};
use bytes::{BufMut, BytesMut};

use super::{state::ReplicaState, wire};

const FORMAT: u8 = 1;
/// Larger ranges need a streamed snapshot.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

pub fn take(engine: &dyn Engine, range_id: RangeId) -> Result<SnapshotData> {
    let reader = engine.snapshot();
    let state = ReplicaState::load(&*reader, range_id).map_err(basalt_storage::Error::from)?;
    let mut out = BytesMut::new();
    out.put_u8(FORMAT);
    wire::put_bytes(&mut out, &state.descriptor.encode());
    let span = &state.descriptor.span;
    let local = keys::range_local_span(span);
    for (family, span) in [(Family::Data, span), (Family::Lock, span), (Family::Local, &local)] {
        put_family(&mut out, &*reader, family, span)?;
    }
    Ok(SnapshotData {
        index: state.applied.index,
        term: state.applied.term,
        membership: state.membership,
        bytes: out.freeze(),
    })
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
        count += 1;
        if out.len() > SNAPSHOT_BYTES_MAX {
            return Err(Error::Unavailable("the range is too large for a snapshot".to_owned()));
        }
        iter.next()?;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}
