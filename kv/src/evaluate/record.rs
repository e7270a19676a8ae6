//! Transaction records: encoding and access.
//!
//! Key `02 ‖ enc(anchor) ‖ T ‖ txn id` in the local family. Value, big-endian:
//! `format (1) ‖ status (1) ‖ epoch (4) ‖ write_ts (8) ‖ last_heartbeat (8) ‖ ignored ‖ count (4) ‖ count × (start, end)`,
//! and in format 2, of staged records, behind it `count (4) ‖ count × (key, seq (4))`: the writes to be proven.

use basalt_base::{Key, TxnId, keys};
use basalt_kv_api::{TxnRecord, TxnStatus};
use basalt_storage::{Family, Reader, WriteBatch};
use bytes::{BufMut, Bytes, BytesMut};

use crate::concurrency::HolderInfo;
use crate::replica::{
    command::{put_ignored, put_status, take_ignored, take_status},
    wire::{self, Input, WireError},
};

const FORMAT: u8 = 1;
const FORMAT_STAGED: u8 = 2;

pub fn encode(record: &TxnRecord) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + 64 * record.lock_spans.len());
    let staged = !record.in_flight.is_empty();
    out.put_u8(if staged { FORMAT_STAGED } else { FORMAT });
    put_status(&mut out, record.status);
    out.put_u32(record.epoch);
    out.put_u64(record.write_ts.0);
    out.put_u64(record.last_heartbeat.0);
    put_ignored(&mut out, &record.ignored);
    out.put_u32(u32::try_from(record.lock_spans.len()).expect("a footprint is bounded"));
    record.lock_spans.iter().for_each(|span| wire::put_span(&mut out, span));
    if staged {
        out.put_u32(u32::try_from(record.in_flight.len()).expect("the writes of a commit are bounded"));
        for (key, seq) in &record.in_flight {
            wire::put_bytes(&mut out, key);
            out.put_u32(*seq);
        }
    }
    out.freeze()
}

pub fn decode(id: TxnId, bytes: Bytes) -> Result<TxnRecord, WireError> {
    let mut input = Input::new(bytes, "transaction record");
    let format = input.u8()?;
    if ![FORMAT, FORMAT_STAGED].contains(&format) {
        return Err(input.error());
    }
    let status = take_status(&mut input)?;
    let epoch = input.u32()?;
    let write_ts = input.timestamp()?;
    let last_heartbeat = input.timestamp()?;
    let ignored = take_ignored(&mut input)?;
    let count = input.count(8)?;
    let lock_spans = (0..count).map(|_| input.span()).collect::<Result<_, _>>()?;
    let mut in_flight = Vec::new();
    if format == FORMAT_STAGED {
        let count = input.count(8)?;
        in_flight = (0..count).map(|_| Ok((input.bytes()?, input.u32()?))).collect::<Result<_, _>>()?;
    }
    input.end()?;
    Ok(TxnRecord { id, status, epoch, write_ts, last_heartbeat, lock_spans, ignored, in_flight })
}

pub fn load(reader: &dyn Reader, anchor: &Key, id: TxnId) -> basalt_storage::Result<Option<TxnRecord>> {
    let bytes = reader.get(Family::Local, &keys::txn_record_key(anchor, id))?;
    bytes.map(|bytes| decode(id, bytes)).transpose().map_err(|error| {
        basalt_storage::Error::Corruption(format!("{error} of {id} at anchor {anchor:02x?}"))
    })
}

/// Whether the record of a lock's holder says that it has ended. A record that is not here may tell the same elsewhere.
pub fn has_ended(reader: &dyn Reader, holder: &HolderInfo) -> bool {
    let status = status_of(reader, holder);
    matches!(status, Some(TxnStatus::Committed | TxnStatus::Aborted))
}

/// As above, or it is staged: its commit may have been acknowledged, so whoever asks must find out.
pub fn may_have_ended(reader: &dyn Reader, holder: &HolderInfo) -> bool {
    status_of(reader, holder).is_some_and(|status| status != TxnStatus::Pending)
}

fn status_of(reader: &dyn Reader, holder: &HolderInfo) -> Option<TxnStatus> {
    let record = load(reader, &holder.anchor, holder.id).ok().flatten();
    record.map(|record| record.status)
}

pub fn put(batch: &mut WriteBatch, anchor: &Key, record: &TxnRecord) {
    batch.put(Family::Local, keys::txn_record_key(anchor, record.id), encode(record));
}

pub fn delete(batch: &mut WriteBatch, anchor: &Key, id: TxnId) {
    batch.delete(Family::Local, keys::txn_record_key(anchor, id));
}

#[cfg(test)]
mod tests {
    use basalt_base::{Span, Timestamp};
    use basalt_kv_api::{IgnoredSeqs, TxnStatus};

    use super::*;

    #[test]
    fn records_round_trip_and_refuse_truncation() {
        let mut record = TxnRecord {
            id: TxnId(5),
            status: TxnStatus::Staging,
            epoch: 2,
            write_ts: Timestamp(9),
            last_heartbeat: Timestamp(8),
            lock_spans: vec![Span::new(Key::from_static(b"a"), Key::from_static(b"b"))],
            ignored: IgnoredSeqs(vec![(1, 2)]),
            in_flight: Vec::new(),
        };
        for in_flight in [vec![], vec![(Key::from_static(b"a"), 7), (Key::from_static(b"b"), 8)]] {
            record.in_flight = in_flight;
            let bytes = encode(&record);
            assert_eq!(decode(TxnId(5), bytes.clone()), Ok(record.clone()));
            for length in 0..bytes.len() {
                assert!(decode(TxnId(5), bytes.slice(..length)).is_err());
            }
        }
    }
}
