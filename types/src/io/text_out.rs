//! Text output.

use std::fmt::Write;

use super::{array, bytea, float, record};
use crate::datetime;
use crate::json::push_json_text;
use crate::{Datum, IoSettings, Oid, SqlType};

/// Appends the text form of a non-NULL value (nothing for NULL).
pub fn text_out(value: &Datum, sql_type: SqlType, settings: &IoSettings, out: &mut String) {
    match value {
        Datum::Null => {}
        Datum::Bool(value) => out.push(if *value { 't' } else { 'f' }),
        Datum::Int2(value) => push_integer(i64::from(*value), out),
        Datum::Int4(value) => push_integer(i64::from(*value), out),
        Datum::Int8(value) => push_integer(*value, out),
        Datum::Float4(value) => float::format_float4(*value, settings.extra_float_digits, out),
        Datum::Float8(value) => float::format_float8(*value, settings.extra_float_digits, out),
        Datum::Numeric(value) => write!(out, "{value}").expect("writing to a string cannot fail"),
        Datum::Text(value) => out.push_str(value),
        Datum::Bytea(value) => bytea::format_bytea(value, settings.bytea_output, out),
        Datum::Char(0) => {}
        Datum::Char(value) if value.is_ascii() => out.push(char::from(*value)),
        // Not valid UTF-8 alone, so as octal.
        Datum::Char(value) => write!(out, "\\{value:03o}").expect("writing to a string cannot fail"),
        Datum::Oid(value) => format_oid(*value, sql_type, out),
        Datum::Date(value) => datetime::format_date_in(*value, settings, out),
        Datum::Time(value) => datetime::format_time(*value, out),
        Datum::Timestamp(value) => datetime::format_timestamp_in(*value, settings, out),
        Datum::TimestampTz(value) => datetime::format_timestamptz_in(*value, settings, out),
        Datum::Interval(value) => datetime::format_interval_in(value, settings.interval_style, out),
        Datum::Uuid(value) => format_uuid(value, out),
        Datum::Jsonb(value) => push_json_text(value, out),
        Datum::Array(value) => array::format_array(value, sql_type, settings, out),
        Datum::Record(fields) => record::format_record(fields, settings, out),
    }
}

/// [`text_out`] into a new string.
pub fn to_text(value: &Datum, sql_type: SqlType, settings: &IoSettings) -> String {
    let mut out = String::new();
    text_out(value, sql_type, settings, &mut out);
    out
}

fn push_integer(value: i64, out: &mut String) {
    let mut buffer = [0u8; 20];
    let mut position = buffer.len();
    let mut magnitude = value.unsigned_abs();
    loop {
        position -= 1;
        buffer[position] = b'0' + (magnitude % 10) as u8;
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    if value < 0 {
        position -= 1;
        buffer[position] = b'-';
    }
    out.push_str(std::str::from_utf8(&buffer[position..]).expect("ASCII"));
}

/// The reg* types show a name where one is built in; the layer that has the catalog resolves the others first.
fn format_oid(oid: Oid, sql_type: SqlType, out: &mut String) {
    let shows_dash = matches!(
        sql_type.oid,
        Oid::REGCLASS | Oid::REGTYPE | Oid::REGPROC | Oid::REGROLE | Oid::REGNAMESPACE
    );
    if shows_dash && oid == Oid(0) {
        out.push('-');
    } else if sql_type.oid == Oid::REGTYPE && crate::sql_type::type_info(oid).is_some() {
        let bare = SqlType::new(oid, -1);
        // format_type prints bpchar for the type without a length; regtype prints its SQL name.
        out.push_str(if oid == Oid::BPCHAR {
            "character"
        } else {
            bare.info().map_or("", |info| info.sql_name)
        });
    } else {
        push_integer(i64::from(oid.0), out);
    }
}

pub fn format_uuid(uuid: &[u8; 16], out: &mut String) {
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
    }
}
