//! Stored rows.

use bytes::Bytes;

use crate::{Datum, Result, SqlError, SqlType};

/// Writes rows.
pub struct RowEncoder;

impl RowEncoder {
    /// Encodes columns, given in any order, by id.
    pub fn encode(_columns: &[(u32, SqlType, &Datum)]) -> Bytes {
        Bytes::new()
    }
}

/// One stored column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawColumn<'a> {
    Null,
    Value(&'a [u8]),
}

/// A row whose header was checked.
#[derive(Clone, Debug)]
pub struct RowView {
    _bytes: Bytes,
}

impl RowView {
    pub fn new(_bytes: &Bytes) -> Result<Self> {
        Err(SqlError::not_supported("row codec"))
    }

    /// `None` when the row was written before the column existed.
    pub fn get(&self, _column_id: u32) -> Option<RawColumn<'_>> {
        None
    }

    /// The column's value, NULL included; `None` when the row was written before the column existed.
    pub fn decode(&self, _column_id: u32, _sql_type: SqlType) -> Result<Option<Datum>> {
        Ok(None)
    }
}
