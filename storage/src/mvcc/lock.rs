//! Locks and provisional values of open transactions, in the lock family.
//!
//! Key: `user key ‖ strength (1) ‖ transaction id (16)`. Intents sort before locks, so that a reader, whom only intents
//! concern, finds one at the first entry of a key.
//!
//! Value, format 2 (integers big-endian, `len` is u32):
//!
//! ```text
//! version (1) = 2 ‖ epoch (4) ‖ seq (4) ‖ write_ts (8) ‖ first_ts (8) ‖ min_ts (8) ‖ local_ts (8) ‖ priority (4)
//! ‖ len ‖ anchor ‖ head ‖ count (4) ‖ count × (seq (4) ‖ value)
//!   head   = value
//!   value  = 00 (deletion, or a lock without value) | 01 ‖ len ‖ bytes
//! ```
//!
//! History is ascending by sequence number, all below the head's. Format 1 is without `first_ts`; it is read, and no more
//! written.
//!
//! Why two timestamps: a write that a savepoint has rolled back while it was under way may arrive when the transaction
//! has committed, and be laid above the commit. What commits then is an earlier value, and it does so below `write_ts`. A
//! reader in between must not pass the lock, so readers go by `first_ts`, and by the `local_ts` of the oldest value.

use basalt_base::{Key, Timestamp, TxnId};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::context::{IgnoredSeqs, ignores};
use super::key::TIMESTAMP_LEN;
use crate::{Error, Result};

const FORMAT: u8 = 2;
const FORMAT_1: u8 = 1;
/// What comes before the anchor.
const HEADER_LEN: usize = 45;
const HEADER_LEN_1: usize = 37;
/// Strength and transaction id behind the user key.
pub const SUFFIX_LEN: usize = 17;

/// How a lock conflicts. Only `Intent` has a value and concerns readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Strength {
    /// A provisional value.
    Intent = 1,
    /// A replicated exclusive lock.
    Exclusive = 2,
    /// A replicated shared lock: compatible with other shared locks only.
    Shared = 3,
}

impl Strength {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Intent),
            2 => Some(Self::Exclusive),
            3 => Some(Self::Shared),
            _ => None,
        }
    }

    /// True if two transactions may not hold these on one key at once.
    pub fn conflicts_with(self, other: Self) -> bool {
        !(self == Self::Shared && other == Self::Shared)
    }
}

/// One transaction's hold on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRecord {
    pub txn_id: TxnId,
    pub strength: Strength,
    pub anchor: Key,
    pub epoch: u32,
    /// Of the newest value, or of the acquisition.
    pub seq: u32,
    pub write_ts: Timestamp,
    /// No value in the record commits below this; at most `write_ts`, and less only if there were earlier values.
    pub first_ts: Timestamp,
    pub min_ts: Timestamp,
    /// Of the oldest value.
    pub local_ts: Timestamp,
    pub priority: u32,
    /// The newest provisional value; `None` is a deletion (or no value, for the lock strengths).
    pub value: Option<Bytes>,
    /// Earlier values of the same epoch, for savepoints: ascending by sequence number.
    pub history: Vec<(u32, Option<Bytes>)>,
}

impl LockRecord {
    /// The value a read at `read_seq` sees, if any of this record's is visible to it.
    pub fn visible(&self, read_seq: u32, ignored: IgnoredSeqs<'_>) -> Option<&Option<Bytes>> {
        let seen = |seq: u32| seq <= read_seq && !ignores(ignored, seq);
        if seen(self.seq) {
            return Some(&self.value);
        }
        self.history.iter().rev().find(|(seq, _)| seen(*seq)).map(|(_, value)| value)
    }

    /// See [`provisional_bytes`].
    pub fn provisional_bytes(&self, user_key: &[u8]) -> i64 {
        match self.strength {
            Strength::Intent => version_bytes(user_key.len(), self.value.as_ref().map_or(0, Bytes::len)),
            Strength::Exclusive | Strength::Shared => 0,
        }
    }

    pub fn encode(&self) -> Bytes {
        let values = self.history.iter().map(|(_, value)| 9 + value.as_ref().map_or(0, Bytes::len));
        let size = 58 + self.anchor.len() + self.value.as_ref().map_or(0, Bytes::len) + values.sum::<usize>();
        let mut out = BytesMut::with_capacity(size);
        out.put_u8(FORMAT);
        out.put_u32(self.epoch);
        out.put_u32(self.seq);
        out.put_u64(self.write_ts.0);
        out.put_u64(self.first_ts.0);
        out.put_u64(self.min_ts.0);
        out.put_u64(self.local_ts.0);
        out.put_u32(self.priority);
        put_bytes(&mut out, &self.anchor);
        put_optional(&mut out, self.value.as_deref());
        out.put_u32(length(self.history.len()));
        for (seq, value) in &self.history {
            out.put_u32(*seq);
            put_optional(&mut out, value.as_deref());
        }
        out.freeze()
    }

    /// Decodes all of it.
    pub fn decode(txn_id: TxnId, strength: Strength, bytes: &[u8]) -> Result<Self> {
        let (mut record, mut rest) = Self::decode_header_and_rest(txn_id, strength, bytes)?;
        record.value = take_optional(&mut rest)?;
        let count = take_u32(&mut rest)?;
        for _ in 0..count {
            let seq = take_u32(&mut rest)?;
            record.history.push((seq, take_optional(&mut rest)?));
        }
        if rest.is_empty() { Ok(record) } else { Err(corrupt("trailing bytes")) }
    }

    /// Decodes everything but the values, which stay empty.
    pub fn decode_header(txn_id: TxnId, strength: Strength, bytes: &[u8]) -> Result<Self> {
        Self::decode_header_and_rest(txn_id, strength, bytes).map(|(record, _)| record)
    }

    fn decode_header_and_rest(txn_id: TxnId, strength: Strength, mut bytes: &[u8]) -> Result<(Self, &[u8])> {
        if bytes.len() < header_len(bytes)? {
            return Err(corrupt("header too short"));
        }
        let format = bytes.get_u8();
        let (epoch, seq) = (bytes.get_u32(), bytes.get_u32());
        let write_ts = Timestamp(bytes.get_u64());
        let first_ts = (format != FORMAT_1).then(|| Timestamp(bytes.get_u64()));
        let min_ts = Timestamp(bytes.get_u64());
        let record = Self {
            txn_id,
            strength,
            epoch,
            seq,
            write_ts,
            // The transaction wrote nothing below `min_ts`.
            first_ts: first_ts.unwrap_or_else(|| min_ts.min(write_ts)),
            min_ts,
            local_ts: Timestamp(bytes.get_u64()),
            priority: bytes.get_u32(),
            anchor: take_bytes(&mut bytes)?,
            value: None,
            history: Vec::new(),
        };
        Ok((record, bytes))
    }
}

/// Engine key of a lock.
pub fn encode_lock_key(user_key: &[u8], strength: Strength, txn_id: TxnId) -> Key {
    let mut key = BytesMut::with_capacity(user_key.len() + SUFFIX_LEN);
    key.put_slice(user_key);
    key.put_u8(strength as u8);
    key.put_slice(&txn_id.to_bytes());
    key.freeze()
}

/// A seek target before every lock on `user_key`, as long as a lock's key.
pub(crate) fn encode_before_locks(user_key: &[u8]) -> Key {
    let mut key = BytesMut::with_capacity(user_key.len() + SUFFIX_LEN);
    key.put_slice(user_key);
    key.put_bytes(0, SUFFIX_LEN);
    key.freeze()
}

/// Splits an engine key of the lock family.
pub fn decode_lock_key(engine_key: &[u8]) -> Result<(&[u8], Strength, TxnId)> {
    let (user_key, suffix) =
        engine_key.split_last_chunk::<SUFFIX_LEN>().ok_or_else(|| corrupt("lock key too short"))?;
    let strength = Strength::from_byte(suffix[0]).ok_or_else(|| corrupt("unknown lock strength"))?;
    let mut id = [0; 16];
    id.copy_from_slice(&suffix[1..]);
    Ok((user_key, strength, TxnId(u128::from_be_bytes(id))))
}

/// Bytes of the version that a stored lock becomes if its transaction commits; zero for a lock without a value. So the
/// size of what is open and of what is committed are in one measure.
pub fn provisional_bytes(engine_key: &[u8], value: &[u8]) -> Result<i64> {
    let (user_key, strength, _) = decode_lock_key(engine_key)?;
    if strength != Strength::Intent {
        return Ok(0);
    }
    let mut rest = value.get(header_len(value)?..).ok_or_else(|| corrupt("header too short"))?;
    let anchor_len = take_u32(&mut rest)? as usize;
    rest = rest.get(anchor_len..).ok_or_else(|| corrupt("ends early"))?;
    let payload_len = match rest.try_get_u8() {
        Ok(0) => 0,
        Ok(1) => take_u32(&mut rest)? as usize,
        _ => return Err(corrupt("unknown value tag")),
    };
    Ok(version_bytes(user_key.len(), payload_len))
}

/// Length of what comes before the anchor, by the format that the first byte names.
fn header_len(value: &[u8]) -> Result<usize> {
    match value.first() {
        Some(&FORMAT) => Ok(HEADER_LEN),
        Some(&FORMAT_1) => Ok(HEADER_LEN_1),
        Some(format) => Err(corrupt(&format!("unknown format {format}"))),
        None => Err(corrupt("header too short")),
    }
}

fn version_bytes(user_key: usize, payload: usize) -> i64 {
    // The flags of the version's value are one byte.
    i64::try_from(user_key + TIMESTAMP_LEN + 1 + payload).unwrap_or(i64::MAX)
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("keys and values are bounded far below 4 GiB")
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(length(bytes.len()));
    out.put_slice(bytes);
}

fn put_optional(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => out.put_u8(0),
        Some(bytes) => {
            out.put_u8(1);
            put_bytes(out, bytes);
        }
    }
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32> {
    bytes.try_get_u32().map_err(|_| corrupt("ends early"))
}

fn take_bytes(bytes: &mut &[u8]) -> Result<Bytes> {
    let len = take_u32(bytes)? as usize;
    let (head, tail) = bytes.split_at_checked(len).ok_or_else(|| corrupt("ends early"))?;
    *bytes = tail;
    Ok(Bytes::copy_from_slice(head))
}

fn take_optional(bytes: &mut &[u8]) -> Result<Option<Bytes>> {
    match bytes.try_get_u8() {
        Ok(0) => Ok(None),
        Ok(1) => take_bytes(bytes).map(Some),
        Ok(_) => Err(corrupt("unknown value tag")),
        Err(_) => Err(corrupt("ends early")),
    }
}

fn corrupt(what: &str) -> Error {
    Error::Corruption(format!("malformed lock record: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LockRecord {
        LockRecord {
            txn_id: TxnId(7),
            strength: Strength::Intent,
            anchor: Bytes::from_static(b"an"),
            epoch: 1,
            seq: 5,
            write_ts: Timestamp(10),
            first_ts: Timestamp(9),
            min_ts: Timestamp(8),
            local_ts: Timestamp(9),
            priority: 3,
            value: Some(Bytes::from_static(b"v")),
            history: vec![(2, None), (3, Some(Bytes::from_static(b"old")))],
        }
    }

    #[test]
    fn golden_bytes() {
        let expected = b"\x02\0\0\0\x01\0\0\0\x05\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x08\
            \0\0\0\0\0\0\0\x09\0\0\0\x03\
            \0\0\0\x02an\x01\0\0\0\x01v\0\0\0\x02\0\0\0\x02\0\0\0\0\x03\x01\0\0\0\x03old";
        assert_eq!(&record().encode()[..], &expected[..]);
        let format_1 =
            b"\x01\0\0\0\x01\0\0\0\x05\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x09\0\0\0\x03\
            \0\0\0\x02an\x01\0\0\0\x01v\0\0\0\x02\0\0\0\x02\0\0\0\0\x03\x01\0\0\0\x03old";
        let old = LockRecord { first_ts: Timestamp(8), ..record() };
        assert_eq!(LockRecord::decode(TxnId(7), Strength::Intent, format_1).expect("an old record"), old);
        assert_eq!(
            provisional_bytes(&encode_lock_key(b"key", Strength::Intent, TxnId(7)), format_1).expect("same"),
            record().provisional_bytes(b"key")
        );
        let key = encode_lock_key(b"k", Strength::Shared, TxnId(7));
        assert_eq!(&key[..], b"k\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07");
        assert_eq!(decode_lock_key(&key).expect("own encoding"), (&b"k"[..], Strength::Shared, TxnId(7)));
    }

    #[test]
    fn decoding_reverses_encoding_and_every_prefix_is_refused() {
        let bytes = record().encode();
        assert_eq!(LockRecord::decode(TxnId(7), Strength::Intent, &bytes).expect("own encoding"), record());
        for end in 0..bytes.len() {
            assert!(LockRecord::decode(TxnId(7), Strength::Intent, &bytes[..end]).is_err(), "{end}");
        }
        let size = provisional_bytes(&encode_lock_key(b"key", Strength::Intent, TxnId(7)), &bytes);
        assert_eq!(size.expect("own encoding"), 3 + 8 + 1 + 1);
        assert_eq!(record().provisional_bytes(b"key"), 13);
        let header = LockRecord::decode_header(TxnId(7), Strength::Intent, &bytes).expect("own encoding");
        assert_eq!(header, LockRecord { value: None, history: Vec::new(), ..record() });
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(LockRecord::decode(TxnId(7), Strength::Intent, &longer).is_err());
    }

    #[test]
    fn a_read_sees_the_newest_value_at_its_sequence_number_that_is_not_rolled_back() {
        let old = Some(Bytes::from_static(b"old"));
        let head = Some(Bytes::from_static(b"v"));
        let cases: [(u32, &[(u32, u32)], Option<&Option<Bytes>>); 7] = [
            (9, &[], Some(&head)),
            (5, &[], Some(&head)),
            (4, &[], Some(&old)),
            (2, &[], Some(&None)),
            (1, &[], None),
            (9, &[(3, 5)], Some(&old)),
            (9, &[(1, 5)], None),
        ];
        for (seq, ignored, expected) in cases {
            assert_eq!(record().visible(seq, ignored), expected, "seq {seq} ignoring {ignored:?}");
        }
    }
}
