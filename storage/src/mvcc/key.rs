//! Engine keys of the data family: `user key ‖ inverted timestamp` (8 bytes, big-endian).
//!
//! Stored user keys are prefix-free, so bytewise order is (key ascending, timestamp descending), and no comparator of
//! our own is needed. A user key or row-prefix boundary is itself a correct bound of an engine scan.

use basalt_base::{Key, Timestamp};
use bytes::{BufMut, BytesMut};

use crate::{Error, Result};

/// Bytes of the timestamp.
pub const TIMESTAMP_LEN: usize = 8;

pub fn encode_key(user_key: &[u8], ts: Timestamp) -> Key {
    let mut key = BytesMut::with_capacity(user_key.len() + TIMESTAMP_LEN);
    key.put_slice(user_key);
    key.put_u64(!ts.0);
    key.freeze()
}

/// As [`encode_key`], into a buffer that is reused.
pub fn encode_key_into(buffer: &mut Vec<u8>, user_key: &[u8], ts: Timestamp) {
    buffer.clear();
    buffer.extend_from_slice(user_key);
    buffer.extend_from_slice(&(!ts.0).to_be_bytes());
}

/// A seek target behind every version of `user_key` and before the next key.
pub(crate) fn encode_after_into(buffer: &mut Vec<u8>, user_key: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(user_key);
    buffer.extend_from_slice(&[0xff; TIMESTAMP_LEN + 1]);
}

/// Splits an engine key into user key and timestamp.
pub fn decode_key(engine_key: &[u8]) -> Result<(&[u8], Timestamp)> {
    match engine_key.split_last_chunk::<TIMESTAMP_LEN>() {
        Some((user_key, ts)) => Ok((user_key, Timestamp(!u64::from_be_bytes(*ts)))),
        None => Err(Error::Corruption(format!("data key too short: {engine_key:02x?}"))),
    }
}

/// True if `engine_key` is a version of `user_key`.
pub(crate) fn is_version_of(engine_key: &[u8], user_key: &[u8]) -> bool {
    engine_key.len() == user_key.len() + TIMESTAMP_LEN && engine_key.starts_with(user_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_sort_first_and_keys_do_not_interleave() {
        let mut keys = Vec::new();
        for user in [&b"aa"[..], b"ab", b"b\x00\x01"] {
            for ts in [u64::MAX, 9, 8, 1, 0] {
                keys.push(encode_key(user, Timestamp(ts)));
            }
        }
        assert!(keys.is_sorted());
        assert_eq!(decode_key(&keys[1]).expect("long enough"), (&b"aa"[..], Timestamp(9)));
        assert!(decode_key(b"short").is_err());
    }

    #[test]
    fn the_seek_target_behind_a_key_is_behind_all_its_versions() {
        let mut after = Vec::new();
        encode_after_into(&mut after, b"aa");
        assert!(after.as_slice() > &encode_key(b"aa", Timestamp::ZERO)[..]);
        assert!(after.as_slice() < &encode_key(b"ab", Timestamp::MAX)[..]);
    }
}
