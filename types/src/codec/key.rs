//! Index keys.

use bytes::BytesMut;

use crate::{Datum, Result, SqlError, SqlType};

/// Appends one column of an index key.
pub fn encode_key_datum(_out: &mut BytesMut, _value: &Datum, _descending: bool) {}

/// Reads one column of an index key and advances past it.
pub fn decode_key_datum(_input: &mut &[u8], _sql_type: SqlType, _descending: bool) -> Result<Datum> {
    Err(SqlError::not_supported("key codec"))
}

/// Advances past one column of an index key.
pub fn skip_key_datum(_input: &mut &[u8], _descending: bool) -> Result<()> {
    Err(SqlError::not_supported("key codec"))
}

/// Whether the value displays differently from what its key decodes to.
pub fn key_is_lossy(_value: &Datum) -> bool {
    false
}

/// Whether values of the type can be equal and yet display differently.
pub fn needs_payload(_sql_type: SqlType) -> bool {
    false
}
