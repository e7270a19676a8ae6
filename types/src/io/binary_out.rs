//! Binary output.

use bytes::BytesMut;

use crate::{Datum, SqlType};

/// Appends the wire form of a non-NULL value (without the length word).
pub fn binary_out(value: &Datum, sql_type: SqlType, out: &mut BytesMut) {
    let _ = (value, sql_type, out);
}
