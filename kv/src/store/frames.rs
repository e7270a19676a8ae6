//! Messages of Raft as bytes: those of one turn to one node travel together, in frames of bounded size.
//!
//! Raft lets a follower that is behind have some megabytes at a time, and many ranges may be behind at once, as after a
//! restart. In one frame all of that would be refused as soon as it exceeds what a link takes; of small frames those that
//! have room go, and only ranges whose messages did not are told so.

use basalt_base::{RangeId, ReplicaId};
use basalt_kv_api::wire::{Input, WireError, put_bytes};
use basalt_raft::{Envelope, MessageKind};
use bytes::{BufMut, Bytes, BytesMut};

/// A frame takes no more messages from here on. One message may be larger.
const FRAME_BYTES: usize = 1 << 20;
/// What a message takes beside its bytes.
const OVERHEAD: usize = 8 + 8 + 8 + 8 + 1 + 4;

/// The messages of each frame, in order.
pub(super) fn frames(envelopes: &[Envelope]) -> impl Iterator<Item = &[Envelope]> {
    let mut rest = envelopes;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |envelope: &&Envelope| {
            bytes += OVERHEAD + envelope.message.len();
            bytes <= FRAME_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (frame, behind) = rest.split_at(count);
        rest = behind;
        (!frame.is_empty()).then_some(frame)
    })
}

pub(super) fn encode_envelopes(envelopes: &[Envelope]) -> Bytes {
    let bytes: usize = envelopes.iter().map(|envelope| OVERHEAD + envelope.message.len()).sum();
    let mut out = BytesMut::with_capacity(4 + bytes);
    out.put_u32(u32::try_from(envelopes.len()).expect("a turn of the loop is bounded"));
    for envelope in envelopes {
        out.put_u64(envelope.range_id.0);
        out.put_u64(envelope.from.0);
        out.put_u64(envelope.to.0);
        out.put_u64(envelope.term);
        out.put_u8(envelope.kind.number());
        put_bytes(&mut out, &envelope.message);
    }
    out.freeze()
}

/// Fails on bytes that [`encode_envelopes`] does not make.
pub(super) fn decode_envelopes(bytes: Bytes) -> Result<Vec<Envelope>, WireError> {
    let mut input = Input::new(bytes, "messages of Raft");
    let count = input.count(OVERHEAD)?;
    let envelopes = (0..count)
        .map(|_| {
            let (range_id, from, to) =
                (RangeId(input.u64()?), ReplicaId(input.u64()?), ReplicaId(input.u64()?));
            let term = input.u64()?;
            let kind = MessageKind::from_number(input.u8()?).ok_or_else(|| input.error())?;
            let is_snapshot = kind == MessageKind::Snapshot;
            Ok(Envelope { range_id, from, to, term, kind, is_snapshot, message: input.bytes()? })
        })
        .collect::<Result<Vec<_>, _>>()?;
    input.end()?;
    Ok(envelopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(range: u64, bytes: usize) -> Envelope {
        Envelope {
            range_id: RangeId(range),
            from: ReplicaId(1),
            to: ReplicaId(2),
            term: 3,
            kind: MessageKind::Append,
            is_snapshot: false,
            message: Bytes::from(vec![range as u8; bytes]),
        }
    }

    #[test]
    fn a_turn_of_a_hundred_megabytes_travels_in_frames_of_one() {
        // Two hundred ranges that are behind, heartbeats between them, and one command that is larger than a frame.
        let mut sizes = [512 << 10, 20, 20].repeat(200);
        sizes.insert(100, 3 << 20);
        let envelopes: Vec<_> =
            sizes.into_iter().enumerate().map(|(range, bytes)| envelope(range as u64, bytes)).collect();
        let mut arrived = Vec::new();
        for frame in frames(&envelopes) {
            let bytes = encode_envelopes(frame);
            assert!(bytes.len() <= 4 + FRAME_BYTES || frame.len() == 1, "{} in one frame", bytes.len());
            arrived.extend(decode_envelopes(bytes).unwrap());
        }
        assert_eq!(arrived, envelopes);
        assert_eq!(frames(&[]).count(), 0);
    }

    #[test]
    fn small_messages_of_a_turn_travel_together() {
        let envelopes: Vec<_> = (0..1000).map(|range| envelope(range, 40)).collect();
        assert_eq!(frames(&envelopes).count(), 1);
    }
}
