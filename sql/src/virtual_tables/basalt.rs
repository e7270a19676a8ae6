//! Basalt's own system tables.

use basalt_types::Datum;
use bytes::Bytes;

use super::{
    definitions::Definition,
    row::{Rows, text},
};
use crate::session::SessionShared;

pub(super) static DEFINITIONS: &[Definition] = &[
    ("basalt_metrics", 15_001, "name text,value int8"),
    ("basalt_ranges", 15_002, "range_id int8,start_key bytea,end_key bytea,bytes int8"),
];

/// Counters of every layer since the node started.
pub(super) fn metrics(out: &mut Rows, session: &SessionShared) {
    let Some(store) = &session.services.store else { return };
    for (name, value) in store.metrics() {
        out.push(vec![("name", text(name)), ("value", Datum::Int8(value))]);
    }
}

pub(super) fn ranges(out: &mut Rows, session: &SessionShared) {
    let Some(store) = &session.services.store else { return };
    let bytes = |key: Bytes| Datum::Bytea(key);
    for range in store.ranges() {
        out.push(vec![
            ("range_id", Datum::Int8(range.range_id as i64)),
            ("start_key", bytes(range.start)),
            ("end_key", bytes(range.end)),
            ("bytes", Datum::Int8(range.bytes as i64)),
        ]);
    }
}
