//! Binary input.

use crate::{Datum, Result, SqlError, SqlType};

/// Reads a value from its wire form, as the type's receive function does, and applies the type modifier.
pub fn binary_in(sql_type: SqlType, input: &[u8]) -> Result<Datum> {
    let _ = input;
    Err(SqlError::not_supported(format!("binary input of type {sql_type}")))
}
