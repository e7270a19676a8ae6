//! One column's bytes within a stored row. Numbers are little-endian.
//!
//! bool and `"char"` 1 byte; int2 2; int4, date, oid, float4 4; int8, time, timestamps, float8 8; uuid 16; interval 16
//! (months, days, microseconds); numeric as `Numeric::store`; text and bytea as they are; jsonb as its text. An array is its dimension
//! count (1 byte), element type (4), length and lower bound per dimension (4 + 4), then per element a length word
//! (`FFFFFFFF` for NULL) and bytes. A record is its field count (4), then per field type oid (4), length word, bytes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::corrupted;
use crate::json::parse_json;
use crate::{Array, Datum, Interval, Numeric, Oid, Result, SqlError, SqlType};

const NULL_LENGTH: u32 = u32::MAX;
/// Records within records.
const DEPTH_MAX: usize = 64;
/// PostgreSQL's MAXDIM.
const DIMENSIONS_MAX: usize = 6;

pub(super) fn put_value(out: &mut BytesMut, value: &Datum) {
    match value {
        Datum::Null => {}
        Datum::Bool(value) => out.put_u8(u8::from(*value)),
        Datum::Char(value) => out.put_u8(*value),
        Datum::Int2(value) => out.put_i16_le(*value),
        Datum::Int4(value) | Datum::Date(value) => out.put_i32_le(*value),
        Datum::Oid(value) => out.put_u32_le(value.0),
        Datum::Float4(value) => out.put_f32_le(*value),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            out.put_i64_le(*value);
        }
        Datum::Float8(value) => out.put_f64_le(*value),
        Datum::Uuid(value) => out.put_slice(value),
        Datum::Jsonb(value) => out.put_slice(value.to_string().as_bytes()),
        Datum::Interval(value) => {
            out.put_i32_le(value.months);
            out.put_i32_le(value.days);
            out.put_i64_le(value.micros);
        }
        Datum::Numeric(value) => value.store(out),
        Datum::Text(value) => out.put_slice(value.as_bytes()),
        Datum::Bytea(value) => out.put_slice(value),
        Datum::Array(array) => {
            out.put_u8(array.dimensions.len() as u8);
            out.put_u32_le(array.element_type.0);
            for (length, bound) in &array.dimensions {
                out.put_u32_le(*length as u32);
                out.put_i32_le(*bound);
            }
            for element in &array.elements {
                put_with_length(out, element);
            }
        }
        Datum::Record(fields) => {
            out.put_u32_le(fields.len() as u32);
            for field in fields.iter() {
                out.put_u32_le(natural_type(field).0);
                put_with_length(out, field);
            }
        }
    }
}

fn put_with_length(out: &mut BytesMut, value: &Datum) {
    if value.is_null() {
        out.put_u32_le(NULL_LENGTH);
        return;
    }
    let at = out.len();
    out.put_u32_le(0);
    put_value(out, value);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// The type under which a record's field is stored.
fn natural_type(value: &Datum) -> Oid {
    match value {
        Datum::Null => Oid(0),
        Datum::Bool(_) => Oid::BOOL,
        Datum::Char(_) => Oid::CHAR,
        Datum::Int2(_) => Oid::INT2,
        Datum::Int4(_) => Oid::INT4,
        Datum::Int8(_) => Oid::INT8,
        Datum::Float4(_) => Oid::FLOAT4,
        Datum::Float8(_) => Oid::FLOAT8,
        Datum::Numeric(_) => Oid::NUMERIC,
        Datum::Text(_) => Oid::TEXT,
        Datum::Bytea(_) => Oid::BYTEA,
        Datum::Oid(_) => Oid::OID,
        Datum::Date(_) => Oid::DATE,
        Datum::Time(_) => Oid::TIME,
        Datum::Timestamp(_) => Oid::TIMESTAMP,
        Datum::TimestampTz(_) => Oid::TIMESTAMPTZ,
        Datum::Interval(_) => Oid::INTERVAL,
        Datum::Uuid(_) => Oid::UUID,
        Datum::Jsonb(_) => Oid::JSONB,
        Datum::Array(array) => {
            SqlType::new(array.element_type, -1).array().map_or(Oid::ANYARRAY, |sql_type| sql_type.oid)
        }
        Datum::Record(_) => Oid::RECORD,
    }
}

fn malformed() -> SqlError {
    corrupted("malformed value in a stored row")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed())
}

pub(super) fn read_i32(bytes: &[u8]) -> Result<i32> {
    Ok(i32::from_le_bytes(fixed(bytes)?))
}

pub(super) fn read_i64(bytes: &[u8]) -> Result<i64> {
    Ok(i64::from_le_bytes(fixed(bytes)?))
}

pub(super) fn read_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed())
}

/// Reads a value of a type. `owner` holds `bytes`, so that bytea can share it.
pub(super) fn get_value(owner: &Bytes, bytes: &[u8], sql_type: SqlType, depth: usize) -> Result<Datum> {
    if depth > DEPTH_MAX {
        return Err(malformed());
    }
    Ok(match sql_type.oid {
        Oid::BOOL => match bytes {
            [0] => Datum::Bool(false),
            [1] => Datum::Bool(true),
            _ => return Err(malformed()),
        },
        Oid::CHAR => Datum::Char(fixed::<1>(bytes)?[0]),
        Oid::INT2 => Datum::Int2(i16::from_le_bytes(fixed(bytes)?)),
        Oid::INT4 => Datum::Int4(read_i32(bytes)?),
        Oid::INT8 => Datum::Int8(read_i64(bytes)?),
        Oid::FLOAT4 => Datum::Float4(f32::from_le_bytes(fixed(bytes)?)),
        Oid::FLOAT8 => Datum::Float8(f64::from_le_bytes(fixed(bytes)?)),
        Oid::NUMERIC => Datum::Numeric(Numeric::load(bytes)?),
        Oid::TEXT
        | Oid::VARCHAR
        | Oid::BPCHAR
        | Oid::NAME
        | Oid::JSON
        | Oid::UNKNOWN
        | Oid::CSTRING
        | Oid::PG_NODE_TREE
        | Oid::ACLITEM => Datum::text(read_text(bytes)?),
        Oid::BYTEA => Datum::Bytea(owner.slice_ref(bytes)),
        Oid::DATE => Datum::Date(read_i32(bytes)?),
        Oid::TIME => Datum::Time(read_i64(bytes)?),
        Oid::TIMESTAMP => Datum::Timestamp(read_i64(bytes)?),
        Oid::TIMESTAMPTZ => Datum::TimestampTz(read_i64(bytes)?),
        Oid::INTERVAL => {
            let bytes: [u8; 16] = fixed(bytes)?;
            Datum::Interval(Interval {
                months: read_i32(&bytes[..4])?,
                days: read_i32(&bytes[4..8])?,
                micros: read_i64(&bytes[8..])?,
            })
        }
        Oid::UUID => Datum::Uuid(fixed(bytes)?),
        Oid::JSONB => Datum::jsonb(parse_json(read_text(bytes)?).map_err(|_| malformed())?),
        Oid::RECORD => get_record(owner, bytes, depth)?,
        _ if sql_type.element().is_some() => get_array(owner, bytes, depth)?,
        _ => Datum::Oid(Oid(u32::from_le_bytes(fixed(bytes)?))),
    })
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count).ok_or_else(malformed)?;
    *input = rest;
    Ok(taken)
}

fn take_u32(input: &mut &[u8]) -> Result<u32> {
    Ok(u32::from_le_bytes(fixed(take(input, 4)?)?))
}

fn get_with_length(owner: &Bytes, input: &mut &[u8], sql_type: SqlType, depth: usize) -> Result<Datum> {
    match take_u32(input)? {
        NULL_LENGTH => Ok(Datum::Null),
        length => get_value(owner, take(input, length as usize)?, sql_type, depth + 1),
    }
}

fn get_array(owner: &Bytes, mut input: &[u8], depth: usize) -> Result<Datum> {
    let count = usize::from(take(&mut input, 1)?[0]);
    if count > DIMENSIONS_MAX {
        return Err(malformed());
    }
    let element_type = Oid(take_u32(&mut input)?);
    let mut dimensions = Vec::with_capacity(count);
    for _ in 0..count {
        let length = take_u32(&mut input)? as usize;
        dimensions.push((length, take_u32(&mut input)? as i32));
    }
    let mut elements = Vec::new();
    while !input.is_empty() {
        elements.push(get_with_length(owner, &mut input, SqlType::new(element_type, -1), depth)?);
    }
    let expected = dimensions
        .iter()
        .try_fold(usize::from(count > 0), |product, (length, _)| product.checked_mul(*length));
    if expected != Some(elements.len()) {
        return Err(malformed());
    }
    Ok(Datum::Array(Arc::new(Array { element_type, dimensions, elements })))
}

fn get_record(owner: &Bytes, mut input: &[u8], depth: usize) -> Result<Datum> {
    let count = take_u32(&mut input)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let oid = Oid(take_u32(&mut input)?);
        fields.push(get_with_length(owner, &mut input, SqlType::new(oid, -1), depth)?);
    }
    if !input.is_empty() {
        return Err(malformed());
    }
    Ok(Datum::Record(fields.into()))
}
