//! Text input.

use crate::{Datum, IoSettings, Result, SqlError, SqlType};

/// Reads a value of a type from text, as the type's input function does, and applies the type modifier.
pub fn text_in(sql_type: SqlType, input: &str, settings: &IoSettings) -> Result<Datum> {
    let _ = (input, settings);
    Err(SqlError::not_supported(format!("input of type {sql_type}")))
}
macro_rules! pending { ($($name:ident: $ty:ty;)*) => { $(pub fn $name(input: &str) -> Result<$ty> {
    Err(SqlError::not_supported(format!("input of {input}")))
})* } }
pending! { parse_bool: bool; parse_int2: i16; parse_int4: i32; parse_int8: i64; parse_oid: u32; parse_uuid: [u8; 16]; }
