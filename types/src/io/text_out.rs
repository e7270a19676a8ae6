//! Text output.

use crate::{Datum, IoSettings, SqlType};

/// Appends the text form of a non-NULL value.
pub fn text_out(value: &Datum, sql_type: SqlType, settings: &IoSettings, out: &mut String) {
    let _ = (sql_type, settings);
    out.push_str(&format!("{value:?}"));
}

/// [`text_out`] into a new string.
pub fn to_text(value: &Datum, sql_type: SqlType, settings: &IoSettings) -> String {
    let mut out = String::new();
    text_out(value, sql_type, settings, &mut out);
    out
}

pub fn format_uuid(_uuid: &[u8; 16], _out: &mut String) {}
