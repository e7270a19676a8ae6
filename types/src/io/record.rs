//! Records: `(1,"a b",)`.

use super::text_in::is_space;
use super::text_out::text_out;
use crate::{Datum, IoSettings, Oid, SqlType};

/// The type under which a value inside an anonymous record is written.
pub fn natural_type(value: &Datum) -> SqlType {
    match value {
        Datum::Null | Datum::Text(_) => SqlType::TEXT,
        Datum::Bool(_) => SqlType::BOOL,
        Datum::Char(_) => SqlType::CHAR,
        Datum::Int2(_) => SqlType::INT2,
        Datum::Int4(_) => SqlType::INT4,
        Datum::Int8(_) => SqlType::INT8,
        Datum::Float4(_) => SqlType::FLOAT4,
        Datum::Float8(_) => SqlType::FLOAT8,
        Datum::Numeric(_) => SqlType::NUMERIC,
        Datum::Bytea(_) => SqlType::BYTEA,
        Datum::Oid(_) => SqlType::OID,
        Datum::Date(_) => SqlType::DATE,
        Datum::Time(_) => SqlType::TIME,
        Datum::Timestamp(_) => SqlType::TIMESTAMP,
        Datum::TimestampTz(_) => SqlType::TIMESTAMPTZ,
        Datum::Interval(_) => SqlType::INTERVAL,
        Datum::Uuid(_) => SqlType::UUID,
        Datum::Jsonb(_) => SqlType::JSONB,
        Datum::Array(array) => {
            SqlType::new(array.element_type, -1).array().unwrap_or(SqlType::new(Oid::ANYARRAY, -1))
        }
        Datum::Record(_) => SqlType::RECORD,
    }
}

pub(super) fn format_record(fields: &[Datum], settings: &IoSettings, out: &mut String) {
    out.push('(');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.is_null() {
            continue;
        }
        let start = out.len();
        text_out(field, natural_type(field), settings, out);
        let text = &out[start..];
        let special = |c| matches!(c, '"' | '\\' | '(' | ')' | ',') || is_space(c);
        if !text.is_empty() && !text.contains(special) {
            continue;
        }
        let text = out.split_off(start);
        out.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                out.push(c);
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push(')');
}
