//! Text input.

use super::{LengthRule, apply_typmod, array, bytea, float, json};
use crate::datetime;
use crate::json::parse_json;
use crate::{Datum, IoSettings, Numeric, Oid, Result, SqlError, SqlState, SqlType};

/// Bytes of a `name`, without PostgreSQL's terminating NUL.
const NAME_BYTES_MAX: usize = 63;

/// Reads a value of a type from text, as the type's input function does, and applies the type modifier.
pub fn text_in(sql_type: SqlType, input: &str, settings: &IoSettings) -> Result<Datum> {
    let value = match sql_type.oid {
        Oid::BOOL => Datum::Bool(parse_bool(input)?),
        Oid::INT2 => Datum::Int2(parse_int2(input)?),
        Oid::INT4 => Datum::Int4(parse_int4(input)?),
        Oid::INT8 => Datum::Int8(parse_int8(input)?),
        Oid::FLOAT4 => Datum::Float4(float::parse_float4(input)?),
        Oid::FLOAT8 => Datum::Float8(float::parse_float8(input)?),
        Oid::NUMERIC => Datum::Numeric(Numeric::parse(input)?),
        Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::UNKNOWN | Oid::CSTRING => Datum::text(input),
        Oid::NAME => Datum::text(truncate_name(input)),
        Oid::CHAR => Datum::Char(input.as_bytes().first().copied().unwrap_or(0)),
        Oid::BYTEA => Datum::Bytea(bytea::parse_bytea(input)?),
        Oid::DATE => Datum::Date(datetime::parse_date(input, settings)?),
        Oid::TIME => Datum::Time(datetime::parse_time(input, settings)?),
        Oid::TIMESTAMP => Datum::Timestamp(datetime::parse_timestamp(input, settings)?),
        Oid::TIMESTAMPTZ => Datum::TimestampTz(datetime::parse_timestamptz(input, settings)?),
        Oid::INTERVAL => {
            Datum::Interval(datetime::parse_interval(input, sql_type.typmod, settings.interval_style)?)
        }
        Oid::UUID => Datum::Uuid(parse_uuid(input)?),
        Oid::JSON => {
            json::validate_json(input)?;
            Datum::text(input)
        }
        Oid::JSONB => Datum::jsonb(parse_json(input)?),
        Oid::OID | Oid::XID => Datum::Oid(Oid(parse_oid(input)?)),
        Oid::REGTYPE => match crate::type_name::type_by_sql_name(input) {
            Some(found) => Datum::Oid(found.oid),
            None => Datum::Oid(Oid(parse_reg("regtype", input)?)),
        },
        Oid::REGCLASS => Datum::Oid(Oid(parse_reg("regclass", input)?)),
        Oid::REGPROC => Datum::Oid(Oid(parse_reg("regproc", input)?)),
        Oid::REGROLE => Datum::Oid(Oid(parse_reg("regrole", input)?)),
        Oid::REGNAMESPACE => Datum::Oid(Oid(parse_reg("regnamespace", input)?)),
        Oid::INT2VECTOR => return array::parse_vector(SqlType::INT2, input),
        Oid::OIDVECTOR => return array::parse_vector(SqlType::OID, input),
        Oid::RECORD => {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "input of anonymous composite types is not implemented",
            ));
        }
        Oid::VOID => Datum::text(""),
        _ => match sql_type.element() {
            // Elements have had the modifier applied.
            Some(element) => return array::parse_array(element, input, settings),
            None => {
                let name = crate::format_type(sql_type);
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("cannot accept a value of type {name}"),
                ));
            }
        },
    };
    apply_typmod(value, sql_type, LengthRule::Assignment)
}

/// Blanks as `isspace` sees them.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Any unambiguous prefix of true, false, yes, no, on, off, and 1 and 0, in any case.
pub fn parse_bool(input: &str) -> Result<bool> {
    let text = input.trim_matches(is_space).to_ascii_lowercase();
    let is_prefix = |word: &str| !text.is_empty() && word.starts_with(&text);
    if text == "1" || text == "on" || is_prefix("true") || is_prefix("yes") {
        Ok(true)
    } else if text == "0" || text == "of" || text == "off" || is_prefix("false") || is_prefix("no") {
        Ok(false)
    } else {
        Err(SqlError::invalid_text("boolean", input))
    }
}

fn parse_integer(input: &str, type_name: &str, minimum: i64, maximum: i64) -> Result<i64> {
    let text = input.trim_matches(is_space);
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SqlError::invalid_text(type_name, input));
    }
    // Negative accumulation reaches the minimum of bigint.
    let mut value = Some(0i64);
    for byte in digits.bytes() {
        value = value.and_then(|value| value.checked_mul(10)?.checked_sub(i64::from(byte - b'0')));
    }
    let value = if negative { value } else { value.and_then(i64::checked_neg) };
    value
        .filter(|value| (minimum..=maximum).contains(value))
        .ok_or_else(|| text_out_of_range(type_name, input))
}

pub(super) fn text_out_of_range(type_name: &str, input: &str) -> SqlError {
    SqlError::new(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{input}\" is out of range for type {type_name}"),
    )
}

pub fn parse_int2(input: &str) -> Result<i16> {
    parse_integer(input, "smallint", i16::MIN.into(), i16::MAX.into()).map(|value| value as i16)
}

pub fn parse_int4(input: &str) -> Result<i32> {
    parse_integer(input, "integer", i32::MIN.into(), i32::MAX.into()).map(|value| value as i32)
}

pub fn parse_int8(input: &str) -> Result<i64> {
    parse_integer(input, "bigint", i64::MIN, i64::MAX)
}

/// Negative numbers wrap, as in PostgreSQL.
pub fn parse_oid(input: &str) -> Result<u32> {
    parse_integer(input, "oid", i32::MIN.into(), u32::MAX.into()).map(|value| value as u32)
}

/// The reg* types take a number or `-` here; names are resolved where the catalog is.
fn parse_reg(type_name: &str, input: &str) -> Result<u32> {
    if input == "-" {
        return Ok(0);
    }
    parse_oid(input).map_err(|_| match type_name {
        "regtype" => SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{input}\" does not exist")),
        _ => SqlError::not_supported(format!("{type_name} input by name")),
    })
}

/// Cuts a name at 63 bytes, on a character boundary.
pub(super) fn truncate_name(input: &str) -> &str {
    &input[..input.floor_char_boundary(NAME_BYTES_MAX)]
}

/// Hexadecimal digits, a hyphen allowed after every fourth, braces allowed around.
pub fn parse_uuid(input: &str) -> Result<[u8; 16]> {
    let invalid = || SqlError::invalid_text("uuid", input);
    let body = match input.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => input,
    };
    let mut bytes = body.bytes().peekable();
    let mut uuid = [0; 16];
    for (index, slot) in uuid.iter_mut().enumerate() {
        for _ in 0..2 {
            let digit = bytes.next().and_then(|byte| (byte as char).to_digit(16)).ok_or_else(invalid)?;
            *slot = *slot << 4 | digit as u8;
        }
        if index % 2 == 1 && index < 15 && bytes.peek() == Some(&b'-') {
            bytes.next();
        }
    }
    if bytes.next().is_some() { Err(invalid()) } else { Ok(uuid) }
}
