//! Binary input. Everything here comes from the network: lengths are checked before they are believed.

use std::sync::Arc;

use bytes::Bytes;

use super::array::{DIMENSIONS_MAX, ELEMENTS_MAX, too_large, too_many_dimensions};
use super::text_in::truncate_name;
use super::{LengthRule, apply_typmod, json};
use crate::datetime::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY,
    date_out_of_range, is_valid_date, is_valid_timestamp, timestamp_out_of_range,
};
use crate::json::parse_json;
use crate::{Array, Datum, Interval, Numeric, Oid, Result, SqlError, SqlState, SqlType};

/// Records within records.
const DEPTH_MAX: usize = 64;

/// Reads a value from its wire form, as the type's receive function does, and applies the type modifier.
pub fn binary_in(sql_type: SqlType, input: &[u8]) -> Result<Datum> {
    receive(sql_type, input, 0)
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

fn insufficient() -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

fn fixed<const N: usize>(input: &[u8]) -> Result<[u8; N]> {
    match input.len() {
        length if length < N => Err(insufficient()),
        length if length > N => Err(invalid("incorrect binary data format")),
        _ => Ok(input.try_into().expect("the length was checked")),
    }
}

/// UTF-8 without NUL, which no text value may hold.
pub fn text_from_utf8(input: &[u8]) -> Result<&str> {
    let bad = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
        SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    };
    let text = std::str::from_utf8(input).map_err(|error| {
        let start = error.valid_up_to();
        // PostgreSQL shows as many bytes as the first one announces.
        let announced = match input[start] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        bad(&input[start..input.len().min(start + announced)])
    })?;
    if input.contains(&0) { Err(bad(&[0])) } else { Ok(text) }
}

fn receive(sql_type: SqlType, input: &[u8], depth: usize) -> Result<Datum> {
    if depth > DEPTH_MAX {
        return Err(invalid("incorrect binary data format"));
    }
    let value = match sql_type.oid {
        Oid::BOOL => Datum::Bool(fixed::<1>(input)?[0] != 0),
        Oid::CHAR => Datum::Char(fixed::<1>(input)?[0]),
        Oid::INT2 => Datum::Int2(i16::from_be_bytes(fixed(input)?)),
        Oid::INT4 => Datum::Int4(i32::from_be_bytes(fixed(input)?)),
        Oid::INT8 => Datum::Int8(i64::from_be_bytes(fixed(input)?)),
        Oid::FLOAT4 => Datum::Float4(f32::from_be_bytes(fixed(input)?)),
        Oid::FLOAT8 => Datum::Float8(f64::from_be_bytes(fixed(input)?)),
        Oid::NUMERIC => Datum::Numeric(Numeric::receive(input)?),
        Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::UNKNOWN | Oid::CSTRING => {
            Datum::text(text_from_utf8(input)?)
        }
        Oid::NAME => {
            let name = text_from_utf8(input)?;
            if truncate_name(name).len() < name.len() {
                return Err(SqlError::new(SqlState::NAME_TOO_LONG, "identifier too long")
                    .with_detail("Identifier must be less than 64 characters."));
            }
            Datum::text(name)
        }
        Oid::JSON => {
            let text = text_from_utf8(input)?;
            json::validate_json(text)?;
            Datum::text(text)
        }
        Oid::JSONB => match input {
            [1, body @ ..] => Datum::jsonb(parse_json(text_from_utf8(body)?)?),
            [version, ..] => {
                return Err(SqlError::internal(format!("unsupported jsonb version number {version}")));
            }
            [] => return Err(insufficient()),
        },
        Oid::BYTEA => Datum::Bytea(Bytes::copy_from_slice(input)),
        Oid::DATE => {
            let days = i32::from_be_bytes(fixed(input)?);
            if !is_valid_date(days) && days != DATE_INFINITY && days != DATE_NEGATIVE_INFINITY {
                return Err(date_out_of_range());
            }
            Datum::Date(days)
        }
        Oid::TIME => {
            let micros = i64::from_be_bytes(fixed(input)?);
            if !(0..=MICROS_PER_DAY).contains(&micros) {
                return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range"));
            }
            Datum::Time(micros)
        }
        Oid::TIMESTAMP => Datum::Timestamp(timestamp(input)?),
        Oid::TIMESTAMPTZ => Datum::TimestampTz(timestamp(input)?),
        Oid::INTERVAL => {
            let bytes: [u8; 16] = fixed(input)?;
            Datum::Interval(Interval {
                micros: i64::from_be_bytes(fixed(&bytes[..8])?),
                days: i32::from_be_bytes(fixed(&bytes[8..12])?),
                months: i32::from_be_bytes(fixed(&bytes[12..])?),
            })
        }
        Oid::UUID => Datum::Uuid(fixed(input)?),
        Oid::OID
        | Oid::XID
        | Oid::REGCLASS
        | Oid::REGTYPE
        | Oid::REGPROC
        | Oid::REGROLE
        | Oid::REGNAMESPACE => Datum::Oid(Oid(u32::from_be_bytes(fixed(input)?))),
        Oid::RECORD => return receive_record(input, depth),
        Oid::VOID => Datum::text(""),
        _ => match sql_type.element() {
            Some(element) => return receive_array(sql_type, element, input, depth),
            None => {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("cannot accept a value of type {}", crate::format_type(sql_type)),
                ));
            }
        },
    };
    apply_typmod(value, sql_type, LengthRule::Assignment)
}

fn timestamp(input: &[u8]) -> Result<i64> {
    let micros = i64::from_be_bytes(fixed(input)?);
    if is_valid_timestamp(micros) || micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEGATIVE_INFINITY {
        Ok(micros)
    } else {
        Err(timestamp_out_of_range())
    }
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count).ok_or_else(insufficient)?;
    *input = rest;
    Ok(taken)
}

fn take_i32(input: &mut &[u8]) -> Result<i32> {
    Ok(i32::from_be_bytes(fixed(take(input, 4)?)?))
}

/// A length word and that many bytes; −1 is NULL.
fn take_value(input: &mut &[u8], sql_type: SqlType, depth: usize) -> Result<Datum> {
    let length = take_i32(input)?;
    if length == -1 {
        return Ok(Datum::Null);
    }
    let length = usize::try_from(length).map_err(|_| insufficient())?;
    receive(sql_type, take(input, length)?, depth + 1)
}

fn receive_array(sql_type: SqlType, element: SqlType, mut input: &[u8], depth: usize) -> Result<Datum> {
    let count = take_i32(&mut input)?;
    let count =
        usize::try_from(count).map_err(|_| invalid(format!("invalid number of dimensions: {count}")))?;
    if count > DIMENSIONS_MAX {
        return Err(too_many_dimensions(count));
    }
    let flags = take_i32(&mut input)?;
    if flags != 0 && flags != 1 {
        return Err(invalid("invalid array flags"));
    }
    let sent_type = Oid(take_i32(&mut input)? as u32);
    if sent_type != element.oid {
        return Err(SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            format!(
                "binary data has array element type {sent_type} ({}) instead of expected {} ({})",
                crate::format_type(SqlType::new(sent_type, -1)),
                element.oid,
                crate::format_type(element.bare())
            ),
        ));
    }
    let mut dimensions = Vec::with_capacity(count);
    let mut total = usize::from(count > 0);
    for _ in 0..count {
        let length = usize::try_from(take_i32(&mut input)?).map_err(|_| too_large())?;
        let bound = take_i32(&mut input)?;
        if i64::from(bound) + length as i64 - 1 > i64::from(i32::MAX) {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("array lower bound is too large: {bound}"),
            ));
        }
        total = total.checked_mul(length).filter(|total| *total <= ELEMENTS_MAX).ok_or_else(too_large)?;
        dimensions.push((length, bound));
    }
    // Every element has a length word, which bounds what may be reserved.
    if input.len() / 4 < total {
        return Err(insufficient());
    }
    let mut elements = Vec::with_capacity(total);
    for _ in 0..total {
        elements.push(take_value(&mut input, element, depth)?);
    }
    if !input.is_empty() {
        return Err(invalid("incorrect binary data format"));
    }
    if elements.is_empty() && !matches!(sql_type.oid, Oid::INT2VECTOR | Oid::OIDVECTOR) {
        dimensions.clear();
    }
    Ok(Datum::Array(Arc::new(Array { element_type: element.oid, dimensions, elements })))
}

fn receive_record(mut input: &[u8], depth: usize) -> Result<Datum> {
    let count = take_i32(&mut input)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let oid = Oid(take_i32(&mut input)? as u32);
        fields.push(take_value(&mut input, SqlType::new(oid, -1), depth)?);
    }
    if !input.is_empty() {
        return Err(invalid("incorrect binary data format"));
    }
    Ok(Datum::Record(fields.into()))
}
