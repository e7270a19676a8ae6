//! Index keys: a column's value as bytes whose order is the SQL order.
//!
//! A key is compared bytewise by the store, so each column must be self-delimiting (no value is a proper prefix of
//! another) and its bytes must sort as [`Datum::compare`] does, with NULL after every value. Equal values have equal
//! bytes even if they display differently (numeric 1.0 and 1.00, floats −0 and 0, intervals of 1 month and 30 days);
//! such a value's original is kept in the entry's payload, which [`key_is_lossy`] asks for.
//!
//! Each column is a tag and a body; the tag tells the body's extent, so that columns can be skipped without their type:
//!
//! | tag | body |
//! |---|---|
//! | `01` | 1 byte: bool, `"char"` |
//! | `02` | 2 bytes: int2, sign bit flipped |
//! | `04` | 4 bytes: int4 and date, sign bit flipped; oid; float4 |
//! | `08` | 8 bytes: int8, time, timestamp, sign bit flipped; float8 |
//! | `10` | 16 bytes: uuid; interval as microseconds, sign bit flipped |
//! | `20` | bytes with `00` escaped as `00 FF`, ended by `00 01`: text, bytea |
//! | `21` | numeric, see `Numeric::encode_key` |
//! | `22` | array: elements as columns, `00`, dimension count, lengths and lower bounds (4 bytes each) |
//! | `23` | record: fields as columns, `00` |
//! | `24` | jsonb: its order key (`Json::push_order_key`) escaped and ended as text is |
//! | `7E` | NULL, no body |
//!
//! Floats: the bits with the sign bit flipped when positive, all bits flipped when negative; NaN is the largest.
//! A descending column is the complement of the ascending one, which also puts NULL first.

use std::sync::Arc;

use basalt_base::codec::{complement, encode_bytes};
use bytes::{BufMut, Bytes, BytesMut};

use super::corrupted;
use crate::compare::strip_blanks;
use crate::datetime::MICROS_PER_DAY;
use crate::{Array, Datum, Interval, Numeric, Oid, Result, SqlError, SqlType};

const TAG_BYTE: u8 = 0x01;
const TAG_TWO: u8 = 0x02;
const TAG_FOUR: u8 = 0x04;
const TAG_EIGHT: u8 = 0x08;
const TAG_SIXTEEN: u8 = 0x10;
const TAG_BYTES: u8 = 0x20;
const TAG_NUMERIC: u8 = 0x21;
const TAG_ARRAY: u8 = 0x22;
const TAG_RECORD: u8 = 0x23;
const TAG_JSONB: u8 = 0x24;
const TAG_NULL: u8 = 0x7e;
const END: u8 = 0x00;

/// Records within records; far above what a query can build.
const DEPTH_MAX: usize = 64;

/// Appends one column of an index key. For char(n) columns use [`encode_key_column`].
pub fn encode_key_datum(out: &mut BytesMut, value: &Datum, descending: bool) {
    let from = out.len();
    encode_ascending(out, value);
    if descending {
        complement(out, from);
    }
}

/// [`encode_key_datum`] for a column whose type is known: char(n) leaves its trailing blanks out.
pub fn encode_key_column(out: &mut BytesMut, value: &Datum, sql_type: SqlType, descending: bool) {
    match value {
        Datum::Text(text) if sql_type.oid == Oid::BPCHAR => {
            let from = out.len();
            out.put_u8(TAG_BYTES);
            encode_bytes(out, strip_blanks(text).as_bytes());
            if descending {
                complement(out, from);
            }
        }
        _ => encode_key_datum(out, value, descending),
    }
}

fn encode_ascending(out: &mut BytesMut, value: &Datum) {
    let four = |out: &mut BytesMut, value: u32| {
        out.put_u8(TAG_FOUR);
        out.put_u32(value);
    };
    let eight = |out: &mut BytesMut, value: u64| {
        out.put_u8(TAG_EIGHT);
        out.put_u64(value);
    };
    const SIGN_32: u32 = 1 << 31;
    const SIGN_64: u64 = 1 << 63;
    match value {
        Datum::Null => out.put_u8(TAG_NULL),
        Datum::Bool(value) => out.put_slice(&[TAG_BYTE, u8::from(*value)]),
        Datum::Char(value) => out.put_slice(&[TAG_BYTE, *value]),
        Datum::Int2(value) => {
            out.put_u8(TAG_TWO);
            out.put_u16(*value as u16 ^ 0x8000);
        }
        Datum::Int4(value) | Datum::Date(value) => four(out, *value as u32 ^ SIGN_32),
        Datum::Oid(value) => four(out, value.0),
        Datum::Float4(value) => four(out, float4_bits(*value)),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            eight(out, *value as u64 ^ SIGN_64);
        }
        Datum::Float8(value) => eight(out, float8_bits(*value)),
        Datum::Uuid(value) => {
            out.put_u8(TAG_SIXTEEN);
            out.put_slice(value);
        }
        Datum::Interval(value) => {
            out.put_u8(TAG_SIXTEEN);
            out.put_u128(value.comparable() as u128 ^ (1 << 127));
        }
        Datum::Text(value) => {
            out.put_u8(TAG_BYTES);
            encode_bytes(out, value.as_bytes());
        }
        Datum::Bytea(value) => {
            out.put_u8(TAG_BYTES);
            encode_bytes(out, value);
        }
        Datum::Numeric(value) => {
            out.put_u8(TAG_NUMERIC);
            value.encode_key(out);
        }
        Datum::Jsonb(value) => {
            out.put_u8(TAG_JSONB);
            let mut key = BytesMut::new();
            value.push_order_key(&mut key);
            encode_bytes(out, &key);
        }
        Datum::Array(array) => {
            out.put_u8(TAG_ARRAY);
            for element in &array.elements {
                encode_ascending(out, element);
            }
            out.put_u8(END);
            out.put_u8(array.dimensions.len() as u8);
            for (length, _) in &array.dimensions {
                out.put_u32(*length as u32);
            }
            for (_, bound) in &array.dimensions {
                out.put_u32(*bound as u32 ^ SIGN_32);
            }
        }
        Datum::Record(fields) => {
            out.put_u8(TAG_RECORD);
            for field in fields.iter() {
                encode_ascending(out, field);
            }
            out.put_u8(END);
        }
    }
}

fn float4_bits(value: f32) -> u32 {
    let canonical = if value.is_nan() { f32::NAN.abs() } else { value + 0.0 };
    let bits = canonical.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | (1 << 31) }
}

fn float8_bits(value: f64) -> u64 {
    let canonical = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 };
    let bits = canonical.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

/// Reads one column of an index key and advances past it.
pub fn decode_key_datum(input: &mut &[u8], sql_type: SqlType, descending: bool) -> Result<Datum> {
    let mut reader = Reader { input, mask: if descending { 0xff } else { 0 } };
    let value = reader.decode(sql_type, 0)?;
    *input = reader.input;
    Ok(value)
}

/// Advances past one column of an index key.
pub fn skip_key_datum(input: &mut &[u8], descending: bool) -> Result<()> {
    let mut reader = Reader { input, mask: if descending { 0xff } else { 0 } };
    reader.skip(0)?;
    *input = reader.input;
    Ok(())
}

/// Whether the value displays differently from what its key decodes to, so that the entry must carry it.
pub fn key_is_lossy(value: &Datum) -> bool {
    match value {
        Datum::Float4(value) => *value == 0.0 && value.is_sign_negative(),
        Datum::Float8(value) => *value == 0.0 && value.is_sign_negative(),
        Datum::Numeric(value) => value.scale() != value.min_scale(),
        Datum::Interval(value) => interval_from_total(value.comparable()) != Some(*value),
        Datum::Array(array) => array.elements.iter().any(key_is_lossy),
        Datum::Record(_) => true,
        _ => false,
    }
}

/// [`key_is_lossy`] where the column's type is known: numeric(p, s) and char(n) are restored from the type.
pub fn key_column_is_lossy(value: &Datum, sql_type: SqlType) -> bool {
    match value {
        Datum::Numeric(value) => match sql_type.precision_scale() {
            Some((_, scale)) if value.is_finite() => value.scale() != Some(scale.max(0)),
            _ => value.scale() != value.min_scale(),
        },
        Datum::Text(text) if sql_type.oid == Oid::BPCHAR => {
            sql_type.character_length().is_none() && text.ends_with(' ')
        }
        _ => key_is_lossy(value),
    }
}

/// Whether values of the type can be equal and yet display differently.
pub fn needs_payload(sql_type: SqlType) -> bool {
    let own = sql_type.element().unwrap_or(sql_type);
    match own.oid {
        Oid::FLOAT4 | Oid::FLOAT8 | Oid::INTERVAL | Oid::RECORD => true,
        Oid::NUMERIC => own.typmod < 0 || sql_type.is_array(),
        Oid::BPCHAR => own.typmod < 0 || sql_type.is_array(),
        _ => false,
    }
}

fn interval_from_total(total: i128) -> Option<Interval> {
    let day = i128::from(MICROS_PER_DAY);
    let days = i32::try_from(total / day).ok()?;
    Some(Interval { months: 0, days, micros: (total % day) as i64 })
}

fn malformed() -> SqlError {
    corrupted("malformed index key")
}

/// Reads columns, complementing each byte when the column is descending.
struct Reader<'a> {
    input: &'a [u8],
    mask: u8,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8> {
        self.input.first().map(|byte| byte ^ self.mask).ok_or_else(malformed)
    }

    fn advance(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.input.split_at_checked(count).ok_or_else(malformed)?;
        self.input = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.advance(N)?;
        let mut bytes = [0; N];
        for (byte, source) in bytes.iter_mut().zip(taken) {
            *byte = source ^ self.mask;
        }
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take::<1>()?[0])
    }

    fn expect(&mut self, tag: u8) -> Result<()> {
        if self.byte()? == tag { Ok(()) } else { Err(malformed()) }
    }

    /// An escaped byte string without its tag.
    fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            let run = self.input.iter().position(|byte| byte ^ self.mask == 0).ok_or_else(malformed)?;
            value.extend(self.advance(run)?.iter().map(|byte| byte ^ self.mask));
            self.advance(1)?;
            match self.byte()? {
                0xff => value.push(0),
                0x01 => return Ok(value),
                _ => return Err(malformed()),
            }
        }
    }

    fn skip_bytes(&mut self) -> Result<()> {
        loop {
            let run = self.input.iter().position(|byte| byte ^ self.mask == 0).ok_or_else(malformed)?;
            self.advance(run + 1)?;
            match self.byte()? {
                0xff => {}
                0x01 => return Ok(()),
                _ => return Err(malformed()),
            }
        }
    }

    fn skip_numeric(&mut self) -> Result<()> {
        let class = self.byte()?;
        let end = match class {
            2 => 0xffff,
            4 => 0,
            1 | 3 | 5 | 6 => return Ok(()),
            _ => return Err(malformed()),
        };
        self.advance(2)?;
        while u16::from_be_bytes(self.take()?) != end {}
        Ok(())
    }

    fn skip(&mut self, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(malformed());
        }
        match self.byte()? {
            TAG_NULL => {}
            length @ (TAG_BYTE | TAG_TWO | TAG_FOUR | TAG_EIGHT | TAG_SIXTEEN) => {
                self.advance(usize::from(length))?;
            }
            TAG_BYTES | TAG_JSONB => self.skip_bytes()?,
            TAG_NUMERIC => self.skip_numeric()?,
            TAG_ARRAY => {
                while self.peek()? != END {
                    self.skip(depth + 1)?;
                }
                self.advance(1)?;
                let dimensions = usize::from(self.byte()?);
                self.advance(dimensions * 8)?;
            }
            TAG_RECORD => {
                while self.peek()? != END {
                    self.skip(depth + 1)?;
                }
                self.advance(1)?;
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    fn decode(&mut self, sql_type: SqlType, depth: usize) -> Result<Datum> {
        if self.peek()? == TAG_NULL {
            self.advance(1)?;
            return Ok(Datum::Null);
        }
        let four = |reader: &mut Self| -> Result<u32> {
            reader.expect(TAG_FOUR)?;
            Ok(u32::from_be_bytes(reader.take()?))
        };
        let eight = |reader: &mut Self| -> Result<u64> {
            reader.expect(TAG_EIGHT)?;
            Ok(u64::from_be_bytes(reader.take()?))
        };
        let signed = |bits: u64| (bits ^ (1 << 63)) as i64;
        Ok(match sql_type.oid {
            Oid::BOOL => {
                self.expect(TAG_BYTE)?;
                Datum::Bool(self.byte()? != 0)
            }
            Oid::CHAR => {
                self.expect(TAG_BYTE)?;
                Datum::Char(self.byte()?)
            }
            Oid::INT2 => {
                self.expect(TAG_TWO)?;
                Datum::Int2((u16::from_be_bytes(self.take()?) ^ 0x8000) as i16)
            }
            Oid::INT4 => Datum::Int4((four(self)? ^ (1 << 31)) as i32),
            Oid::DATE => Datum::Date((four(self)? ^ (1 << 31)) as i32),
            Oid::FLOAT4 => {
                let bits = four(self)?;
                Datum::Float4(f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits }))
            }
            Oid::INT8 => Datum::Int8(signed(eight(self)?)),
            Oid::TIME => Datum::Time(signed(eight(self)?)),
            Oid::TIMESTAMP => Datum::Timestamp(signed(eight(self)?)),
            Oid::TIMESTAMPTZ => Datum::TimestampTz(signed(eight(self)?)),
            Oid::FLOAT8 => {
                let bits = eight(self)?;
                Datum::Float8(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }))
            }
            Oid::UUID => {
                self.expect(TAG_SIXTEEN)?;
                Datum::Uuid(self.take()?)
            }
            Oid::INTERVAL => {
                self.expect(TAG_SIXTEEN)?;
                let total = (u128::from_be_bytes(self.take()?) ^ (1 << 127)) as i128;
                Datum::Interval(interval_from_total(total).unwrap_or_else(|| saturated(total)))
            }
            Oid::NUMERIC => {
                self.expect(TAG_NUMERIC)?;
                let value = self.numeric()?;
                Datum::Numeric(match sql_type.precision_scale() {
                    Some((_, scale)) if value.is_finite() => value.round(scale).map_err(|_| malformed())?,
                    _ => value,
                })
            }
            Oid::BYTEA => {
                self.expect(TAG_BYTES)?;
                Datum::Bytea(Bytes::from(self.bytes()?))
            }
            Oid::TEXT | Oid::VARCHAR | Oid::NAME | Oid::BPCHAR | Oid::JSON | Oid::UNKNOWN | Oid::CSTRING => {
                self.expect(TAG_BYTES)?;
                let mut text = String::from_utf8(self.bytes()?).map_err(|_| malformed())?;
                if sql_type.oid == Oid::BPCHAR
                    && let Some(length) = sql_type.character_length()
                {
                    let missing = length.saturating_sub(text.chars().count());
                    text.extend(std::iter::repeat_n(' ', missing));
                }
                Datum::text(text)
            }
            Oid::RECORD => return Err(SqlError::not_supported("decoding a record from an index key")),
            _ if sql_type.element().is_some() => self.array(sql_type, depth)?,
            _ => Datum::Oid(Oid(four(self)?)),
        })
    }

    fn numeric(&mut self) -> Result<Numeric> {
        if self.mask == 0 {
            return Numeric::decode_key(&mut self.input);
        }
        let start = self.input;
        self.skip_numeric()?;
        let plain: Vec<u8> = start[..start.len() - self.input.len()].iter().map(|byte| !byte).collect();
        Numeric::decode_key(&mut &plain[..])
    }

    fn array(&mut self, sql_type: SqlType, depth: usize) -> Result<Datum> {
        if depth > 0 {
            return Err(malformed());
        }
        let element_type = sql_type.element().ok_or_else(malformed)?;
        self.expect(TAG_ARRAY)?;
        let mut elements = Vec::new();
        while self.peek()? != END {
            elements.push(self.decode(element_type, depth + 1)?);
        }
        self.advance(1)?;
        let count = usize::from(self.byte()?);
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            lengths.push(u32::from_be_bytes(self.take()?) as usize);
        }
        let mut dimensions = Vec::with_capacity(count);
        for length in lengths {
            dimensions.push((length, (u32::from_be_bytes(self.take()?) ^ (1 << 31)) as i32));
        }
        Ok(Datum::Array(Arc::new(Array { element_type: element_type.oid, dimensions, elements })))
    }
}

/// An interval beyond what days alone can express.
fn saturated(total: i128) -> Interval {
    let month = 30 * i128::from(MICROS_PER_DAY);
    let months = (total / month).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
    let rest = total - months * month;
    let days = (rest / i128::from(MICROS_PER_DAY)).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
    let micros = rest - days * i128::from(MICROS_PER_DAY);
    Interval {
        months: months as i32,
        days: days as i32,
        micros: micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
    }
}
