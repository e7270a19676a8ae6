//! The map of the key space, in bytewise order.
//!
//! | prefix | what | versioned |
//! |---|---|---|
//! | `01 ‖ range id` | replicated state of one range: applied index, lease, thresholds, statistics | no |
//! | `02 ‖ enc(key) ‖ suffix` | range-local, addressed by a user key: descriptor `D`, transaction records `T ‖ txn id` | descriptor yes, records no |
//! | `04 ‖ enc(range end key)` | meta: the descriptor of the range that ends there | yes |
//! | `05 …` | system tables that SQL does not own | yes |
//! | `10 …` | SQL: table, index, columns | yes |
//!
//! Keys embedded in spaces 02 and 04 are encoded self-delimiting ([`crate::codec::encode_bytes`]), so that the set of
//! stored keys is prefix-free and `engine key = key ‖ inverted timestamp` sorts by key, then newest first.
//! Consequence: the successor of a key is the end of its prefix ([`prefix_end`]), never `key ‖ 00`, and bounds of scans
//! and ranges are row-prefix boundaries.
//!
//! One level of meta is enough for the range counts of today; prefix `03` is left free for a level above it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{NodeId, RangeId, TxnId, codec};

/// A key or a bound of the key space.
pub type Key = Bytes;

pub const RANGE_ID_LOCAL_PREFIX: u8 = 0x01;
pub const RANGE_LOCAL_PREFIX: u8 = 0x02;
pub const META_PREFIX: u8 = 0x04;
pub const SYSTEM_PREFIX: u8 = 0x05;
pub const TABLE_PREFIX: u8 = 0x10;

/// The lowest addressable key: everything from meta upwards belongs to some range.
pub const KEY_MIN: Bytes = Bytes::from_static(&[META_PREFIX]);
/// Above every key.
pub const KEY_MAX: Bytes = Bytes::from_static(&[0xff, 0xff]);

/// A half-open interval of keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: Key,
    /// Exclusive.
    pub end: Key,
}

impl Span {
    pub fn new(start: Key, end: Key) -> Self {
        Self { start, end }
    }

    /// The span that holds `key` and every key that begins with it.
    pub fn prefix(key: Key) -> Self {
        let end = prefix_end(&key);
        Self { start: key, end }
    }

    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The common part, if any.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let start = self.start.clone().max(other.start.clone());
        let end = self.end.clone().min(other.end.clone());
        (start < end).then_some(Self { start, end })
    }
}

/// The smallest key greater than every key that begins with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    KEY_MAX
}

/// `04 ‖ enc(end)`: where the descriptor of the range ending at `range_end` is found by routing.
pub fn meta_key(range_end: &[u8]) -> Key {
    let mut key = BytesMut::with_capacity(range_end.len() + 3);
    key.put_u8(META_PREFIX);
    codec::encode_bytes(&mut key, range_end);
    key.freeze()
}

/// `02 ‖ enc(start) ‖ D`: the range's own copy of its descriptor.
pub fn range_descriptor_key(range_start: &[u8]) -> Key {
    let mut key = range_local_prefix(range_start);
    key.put_u8(b'D');
    key.freeze()
}

/// `02 ‖ enc(anchor) ‖ T ‖ txn id`.
pub fn txn_record_key(anchor: &[u8], txn_id: TxnId) -> Key {
    let mut key = range_local_prefix(anchor);
    key.put_u8(b'T');
    key.put_slice(&txn_id.to_bytes());
    key.freeze()
}

/// The part of space 02 that belongs to the user keys in `span`.
pub fn range_local_span(span: &Span) -> Span {
    Span::new(range_local_prefix(&span.start).freeze(), range_local_prefix(&span.end).freeze())
}

/// `01 ‖ range id ‖ suffix`.
pub fn range_id_key(range_id: RangeId, suffix: u8) -> Key {
    let mut key = BytesMut::with_capacity(10);
    key.put_u8(RANGE_ID_LOCAL_PREFIX);
    key.put_u64(range_id.0);
    key.put_u8(suffix);
    key.freeze()
}

/// The counter of range ids.
pub fn range_id_counter() -> Key {
    Bytes::from_static(&[SYSTEM_PREFIX, b'#', b'r'])
}

/// The counter of node ids.
pub fn node_id_counter() -> Key {
    Bytes::from_static(&[SYSTEM_PREFIX, b'#', b'n'])
}

/// `05 ‖ j ‖ joiner`: the id that was given to a node that asked for one under this number.
pub fn joiner_key(joiner: u128) -> Key {
    let mut key = BytesMut::with_capacity(18);
    key.put_slice(&[SYSTEM_PREFIX, b'j']);
    key.put_u128(joiner);
    key.freeze()
}

/// The ids of all that asked for one.
pub fn joiners_span() -> Span {
    Span::prefix(Bytes::from_static(&[SYSTEM_PREFIX, b'j']))
}

/// `05 ‖ n ‖ node id ‖ d`: whether the node is to give up its replicas.
pub fn node_leaving_key(node_id: NodeId) -> Key {
    node_key(node_id, b'd')
}

/// `05 ‖ n ‖ node id ‖ r`: there if the node was taken out of the cluster, which is for ever.
pub fn node_removed_key(node_id: NodeId) -> Key {
    node_key(node_id, b'r')
}

/// What is kept of all nodes. The letter is lower case: the capital ones belong to the catalog of SQL.
pub fn nodes_span() -> Span {
    Span::prefix(Bytes::from_static(&[SYSTEM_PREFIX, b'n']))
}

/// The node and the suffix of a key in [`nodes_span`].
pub fn decode_node_key(key: &[u8]) -> Option<(NodeId, u8)> {
    let (id, suffix) = key.strip_prefix(&[SYSTEM_PREFIX, b'n'])?.split_last_chunk::<1>()?;
    Some((NodeId(u64::from_be_bytes(id.try_into().ok()?)), suffix[0]))
}

fn node_key(node_id: NodeId, suffix: u8) -> Key {
    let mut key = BytesMut::with_capacity(11);
    key.put_slice(&[SYSTEM_PREFIX, b'n']);
    key.put_u64(node_id.0);
    key.put_u8(suffix);
    key.freeze()
}

fn range_local_prefix(user_key: &[u8]) -> BytesMut {
    let mut key = BytesMut::with_capacity(user_key.len() + 20);
    key.put_u8(RANGE_LOCAL_PREFIX);
    codec::encode_bytes(&mut key, user_key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_skips_trailing_ff() {
        assert_eq!(prefix_end(b"a"), Bytes::from_static(b"b"));
        assert_eq!(prefix_end(&[0x61, 0xff, 0xff]), Bytes::from_static(b"b"));
        assert_eq!(prefix_end(&[0xff]), KEY_MAX);
    }

    #[test]
    fn keys_of_nodes_are_told_apart() {
        for (key, suffix) in [(node_leaving_key(NodeId(7)), b'd'), (node_removed_key(NodeId(7)), b'r')] {
            assert!(nodes_span().contains(&key));
            assert_eq!(decode_node_key(&key), Some((NodeId(7), suffix)));
        }
        for wrong in [&[][..], &[SYSTEM_PREFIX, b'n'], &joiner_key(7), &node_id_counter()] {
            assert_eq!(decode_node_key(wrong), None);
        }
        assert!(!nodes_span().contains(&joiner_key(u128::MAX)) && !nodes_span().contains(&node_id_counter()));
    }

    #[test]
    fn local_spans_follow_the_user_keys_they_address() {
        let span = Span::new(Bytes::from_static(b"\x10b"), Bytes::from_static(b"\x10d"));
        let local = range_local_span(&span);
        assert!(local.contains(&txn_record_key(b"\x10b", TxnId(1))));
        assert!(local.contains(&txn_record_key(b"\x10c\x00z", TxnId(u128::MAX))));
        assert!(!local.contains(&txn_record_key(b"\x10d", TxnId(0))));
        assert!(!local.contains(&txn_record_key(b"\x10a", TxnId(u128::MAX))));
    }
}
