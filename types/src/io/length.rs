//! Type modifiers applied to values: lengths of character types, precision of numeric and of times.

use std::sync::Arc;

use crate::{Array, Datum, Oid, Result, SqlError, SqlState, SqlType};

/// Over-long text is an error on assignment (unless only blanks are lost) and is cut by an explicit cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthRule {
    Assignment,
    ExplicitCast,
}

/// The largest string that PostgreSQL would build (`MaxAllocSize`). Modifiers of declared types are smaller; those that
/// a function call gives are not.
pub const TEXT_BYTES_MAX: usize = 0x3fff_ffff;

/// Brings a value of `target`'s base type to its modifier: length, precision, scale. char(n) is blank-padded.
pub fn apply_typmod(value: Datum, target: SqlType, rule: LengthRule) -> Result<Datum> {
    if target.typmod < 0 {
        return Ok(value);
    }
    match (value, target.oid) {
        (Datum::Text(text), Oid::VARCHAR) => varchar(text, target.typmod - 4, rule).map(Datum::Text),
        (Datum::Text(text), Oid::BPCHAR) => bpchar(text, target.typmod - 4, rule).map(Datum::Text),
        (Datum::Numeric(value), Oid::NUMERIC) => value.apply_typmod(target.typmod).map(Datum::Numeric),
        (Datum::Time(micros), Oid::TIME) => Ok(Datum::Time(round_micros(micros, target.typmod))),
        (Datum::Timestamp(micros), Oid::TIMESTAMP) => {
            Ok(Datum::Timestamp(round_timestamp(micros, target.typmod)?))
        }
        (Datum::TimestampTz(micros), Oid::TIMESTAMPTZ) => {
            Ok(Datum::TimestampTz(round_timestamp(micros, target.typmod)?))
        }
        (Datum::Interval(interval), Oid::INTERVAL) => {
            interval.apply_typmod(target.typmod).map(Datum::Interval)
        }
        (Datum::Array(array), _) if target.is_array() => {
            let Some(element) = target.element() else { return Ok(Datum::Array(array)) };
            let elements = array
                .elements
                .iter()
                .map(|value| apply_typmod(value.clone(), element, rule))
                .collect::<Result<_>>()?;
            Ok(Datum::Array(Arc::new(Array {
                element_type: array.element_type,
                dimensions: array.dimensions.clone(),
                elements,
            })))
        }
        (value, _) => Ok(value),
    }
}

/// Splits after `length` characters: (kept, rest).
fn split_at_characters(text: &str, length: usize) -> (&str, &str) {
    // No string has more characters than bytes.
    if text.len() <= length {
        return (text, "");
    }
    text.char_indices().nth(length).map_or((text, ""), |(index, _)| text.split_at(index))
}

fn too_long(type_name: &str, length: usize) -> SqlError {
    SqlError::new(
        SqlState::STRING_DATA_RIGHT_TRUNCATION,
        format!("value too long for type {type_name}({length})"),
    )
}

fn varchar(text: Arc<str>, length: i32, rule: LengthRule) -> Result<Arc<str>> {
    let length = length.max(0) as usize;
    let (kept, rest) = split_at_characters(&text, length);
    if rest.is_empty() {
        return Ok(text);
    }
    if rule == LengthRule::Assignment && rest.bytes().any(|byte| byte != b' ') {
        return Err(too_long("character varying", length));
    }
    Ok(kept.into())
}

fn bpchar(text: Arc<str>, length: i32, rule: LengthRule) -> Result<Arc<str>> {
    let length = length.max(0) as usize;
    let (kept, rest) = split_at_characters(&text, length);
    if !rest.is_empty() {
        if rule == LengthRule::Assignment && rest.bytes().any(|byte| byte != b' ') {
            return Err(too_long("character", length));
        }
        return Ok(kept.into());
    }
    let characters = if text.is_ascii() { text.len() } else { text.chars().count() };
    if characters == length {
        return Ok(text);
    }
    let bytes = text.len() + length - characters;
    if bytes > TEXT_BYTES_MAX {
        return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large"));
    }
    let mut padded = String::with_capacity(bytes);
    padded.push_str(&text);
    padded.extend(std::iter::repeat_n(' ', length - characters));
    Ok(padded.into())
}

/// Rounds to `precision` decimals of a second, half away from zero.
pub(crate) fn round_micros(micros: i64, precision: i32) -> i64 {
    if !(0..6).contains(&precision) {
        return micros;
    }
    let unit = 10i64.pow(6 - precision as u32);
    let half = unit / 2;
    if micros >= 0 { (micros + half) / unit * unit } else { -((half - micros) / unit * unit) }
}

fn round_timestamp(micros: i64, precision: i32) -> Result<i64> {
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(micros);
    }
    Ok(round_micros(micros, precision))
}
