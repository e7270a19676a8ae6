//! Stored bytes: index keys ([`key`]) and rows ([`row`], [`row_slice`]).

pub mod key;
pub mod row;
pub mod row_slice;
mod stored_value;

#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use crate::{Datum, Result, SqlError, SqlState, SqlType};

/// Appends a value's bytes as a stored row holds them; nothing for NULL.
pub fn store_value(out: &mut BytesMut, value: &Datum) {
    stored_value::put_value(out, value);
}

/// Reads what [`store_value`] wrote for a value of the type; `bytes` is exactly that.
pub fn load_value(bytes: &Bytes, sql_type: SqlType) -> Result<Datum> {
    stored_value::get_value(bytes, bytes, sql_type, 0)
}

fn corrupted(what: &str) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, what)
}
