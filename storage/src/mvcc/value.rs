//! Values of the data family, format 0:
//!
//! ```text
//! flags (1 byte) ‖ [local timestamp, 8 bytes big-endian, if HAS_LOCAL_TS] ‖ payload
//!   bit 0  TOMBSTONE     the key was deleted; no payload
//!   bit 1  HAS_LOCAL_TS  the store's clock stood lower than the version's timestamp when it was written
//!   bits 2..7            zero; a reader refuses what it does not know
//! ```
//!
//! Without a local timestamp it equals the version's own, which is the common case and costs nothing.

use basalt_base::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};

use crate::{Error, Result};

const TOMBSTONE: u8 = 1;
const HAS_LOCAL_TS: u8 = 2;

/// A decoded value, borrowing the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRef<'a> {
    /// `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// `None`: equals the version's timestamp.
    pub local_ts: Option<Timestamp>,
}

/// `local_ts` is written only if it is below `ts`.
pub fn encode_value(payload: Option<&[u8]>, ts: Timestamp, local_ts: Timestamp) -> Bytes {
    let mut flags = 0;
    if payload.is_none() {
        flags |= TOMBSTONE;
    }
    if local_ts < ts {
        flags |= HAS_LOCAL_TS;
    }
    let mut out = BytesMut::with_capacity(9 + payload.map_or(0, <[u8]>::len));
    out.put_u8(flags);
    if local_ts < ts {
        out.put_u64(local_ts.0);
    }
    out.put_slice(payload.unwrap_or_default());
    out.freeze()
}

pub fn decode_value(bytes: &[u8]) -> Result<ValueRef<'_>> {
    let corrupt =
        || Error::Corruption(format!("malformed version header: {:02x?}", &bytes[..bytes.len().min(9)]));
    let (&flags, mut rest) = bytes.split_first().ok_or_else(corrupt)?;
    if flags & !(TOMBSTONE | HAS_LOCAL_TS) != 0 {
        return Err(corrupt());
    }
    let mut local_ts = None;
    if flags & HAS_LOCAL_TS != 0 {
        let (ts, tail) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
        local_ts = Some(Timestamp(u64::from_be_bytes(*ts)));
        rest = tail;
    }
    if flags & TOMBSTONE == 0 {
        return Ok(ValueRef { payload: Some(rest), local_ts });
    }
    if rest.is_empty() { Ok(ValueRef { payload: None, local_ts }) } else { Err(corrupt()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_format_0() {
        let ten = Timestamp(10);
        assert_eq!(&encode_value(Some(b"x"), ten, ten)[..], b"\x00x");
        assert_eq!(&encode_value(Some(b""), ten, ten)[..], b"\x00");
        assert_eq!(&encode_value(None, ten, ten)[..], b"\x01");
        assert_eq!(&encode_value(Some(b"x"), ten, Timestamp(9))[..], b"\x02\0\0\0\0\0\0\0\x09x");
        assert_eq!(&encode_value(None, ten, Timestamp(9))[..], b"\x03\0\0\0\0\0\0\0\x09");
    }

    #[test]
    fn decoding_reverses_encoding_and_refuses_garbage() {
        for payload in [None, Some(&b""[..]), Some(b"payload")] {
            for local in [3, 10] {
                let bytes = encode_value(payload, Timestamp(10), Timestamp(local));
                let back = decode_value(&bytes).expect("own encoding");
                assert_eq!(back.payload, payload);
                assert_eq!(back.local_ts, (local < 10).then_some(Timestamp(local)));
            }
        }
        for bad in [&b""[..], b"\x04", b"\x02short", b"\x01junk", b"\xff"] {
            assert!(matches!(decode_value(bad), Err(Error::Corruption(_))), "{bad:02x?}");
        }
    }
}
