//! Functions of bytea.

use basalt_types::{Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "length(bytea)" => |a: &[u8]| a.len() as i32,
        "octet_length(bytea)" => |a: &[u8]| a.len() as i32,
        "bit_length(bytea)" => |a: &[u8]| a.len() as i32 * 8,
        "byteacat" => |a: &[u8], b: &[u8]| [a, b].concat(),
        "substr(bytea,int4)" => |a: &[u8], start: i32| substring(a, start, None),
        "substring(bytea,int4)" => |a: &[u8], start: i32| substring(a, start, None),
        "substr(bytea,int4,int4)" => |a: &[u8], start: i32, count: i32| substring(a, start, Some(count)),
        "substring(bytea,int4,int4)" => |a: &[u8], start: i32, count: i32| substring(a, start, Some(count)),
        "overlay(bytea,bytea,int4)" => |a: &[u8], new: &[u8], start: i32| overlay(a, new, start, new.len() as i32),
        "overlay(bytea,bytea,int4,int4)" => overlay,
        "position(bytea,bytea)" => position,
        "btrim(bytea,bytea)" => |a: &[u8], set: &[u8]| trim(a, set, true, true),
        "ltrim(bytea,bytea)" => |a: &[u8], set: &[u8]| trim(a, set, true, false),
        "rtrim(bytea,bytea)" => |a: &[u8], set: &[u8]| trim(a, set, false, true),
        "get_byte" => get_byte,
        "set_byte" => set_byte,
        "get_bit(bytea,int8)" => get_bit,
        "set_bit(bytea,int8,int4)" => set_bit,
        "bit_count(bytea)" => |a: &[u8]| a.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>(),
    });
}

fn substring(bytes: &[u8], start: i32, count: Option<i32>) -> Result<Vec<u8>> {
    let first = i64::from(start).max(1);
    let end = match count {
        Some(count) if count < 0 => {
            return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        Some(count) => i64::from(start) + i64::from(count),
        None => i64::MAX,
    };
    let length = bytes.len() as i64;
    let (from, to) = ((first - 1).min(length), (end - 1).clamp(0, length));
    Ok(if from < to { bytes[from as usize..to as usize].to_vec() } else { Vec::new() })
}

fn overlay(bytes: &[u8], new: &[u8], start: i32, count: i32) -> Result<Vec<u8>> {
    if start <= 0 {
        return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let after = start.checked_add(count).ok_or_else(|| SqlError::out_of_range("integer"))?;
    Ok([&substring(bytes, 1, Some(start - 1))?, new, &substring(bytes, after, None)?].concat())
}

fn position(bytes: &[u8], wanted: &[u8]) -> i32 {
    if wanted.is_empty() {
        return 1;
    }
    bytes.windows(wanted.len()).position(|window| window == wanted).map_or(0, |index| index as i32 + 1)
}

fn trim(mut bytes: &[u8], set: &[u8], left: bool, right: bool) -> Vec<u8> {
    while let (true, [first, rest @ ..]) = (left, bytes)
        && set.contains(first)
    {
        bytes = rest;
    }
    while let (true, [rest @ .., last]) = (right, bytes)
        && set.contains(last)
    {
        bytes = rest;
    }
    bytes.to_vec()
}

fn index_error(index: i64, length: i64) -> SqlError {
    SqlError::new(
        SqlState::ARRAY_SUBSCRIPT_ERROR,
        format!("index {index} out of valid range, 0..{}", length - 1),
    )
}

fn get_byte(bytes: &[u8], index: i32) -> Result<i32> {
    usize::try_from(index)
        .ok()
        .and_then(|index| bytes.get(index))
        .map(|byte| i32::from(*byte))
        .ok_or_else(|| index_error(i64::from(index), bytes.len() as i64))
}

fn set_byte(bytes: &[u8], index: i32, value: i32) -> Result<Vec<u8>> {
    let mut result = bytes.to_vec();
    let slot = usize::try_from(index).ok().and_then(|index| result.get_mut(index));
    *slot.ok_or_else(|| index_error(i64::from(index), bytes.len() as i64))? = value as u8;
    Ok(result)
}

/// Bits number from the lowest of each byte.
fn get_bit(bytes: &[u8], index: i64) -> Result<i32> {
    let byte = usize::try_from(index / 8).ok().filter(|_| index >= 0).and_then(|place| bytes.get(place));
    let byte = byte.ok_or_else(|| index_error(index, bytes.len() as i64 * 8))?;
    Ok(i32::from(byte >> (index % 8) & 1))
}

fn set_bit(bytes: &[u8], index: i64, value: i32) -> Result<Vec<u8>> {
    if value != 0 && value != 1 {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1"));
    }
    let mut result = bytes.to_vec();
    let slot = usize::try_from(index / 8).ok().filter(|_| index >= 0).and_then(|place| result.get_mut(place));
    let slot = slot.ok_or_else(|| index_error(index, bytes.len() as i64 * 8))?;
    *slot = *slot & !(1 << (index % 8)) | (value as u8) << (index % 8);
    Ok(result)
}
