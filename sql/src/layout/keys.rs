//! Prefixes of the SQL key space.

use basalt_base::{Span, codec, keys};
use basalt_types::Oid;
use bytes::{BufMut, Bytes, BytesMut};

/// `10 ‖ table ‖ index`.
pub fn index_prefix(table: Oid, index: u32) -> BytesMut {
    let mut key = BytesMut::with_capacity(64);
    key.put_u8(keys::TABLE_PREFIX);
    codec::encode_u32(&mut key, table.0);
    codec::encode_u32(&mut key, index);
    key
}

/// Every entry of an index.
pub fn index_span(table: Oid, index: u32) -> Span {
    Span::prefix(index_prefix(table, index).freeze())
}

/// Every entry of every index of a table.
pub fn table_span(table: Oid) -> Span {
    let mut key = BytesMut::with_capacity(5);
    key.put_u8(keys::TABLE_PREFIX);
    codec::encode_u32(&mut key, table.0);
    Span::prefix(key.freeze())
}

/// All of SQL's tables.
pub fn database_table_span() -> Span {
    Span::prefix(Bytes::from_static(&[keys::TABLE_PREFIX]))
}
