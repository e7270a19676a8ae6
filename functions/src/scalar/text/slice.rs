//! Lengths, parts and positions.

use basalt_types::compare::strip_blanks;
use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::text::{characters, offset};
use crate::{Call, EvalContext};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "length(text)" => length,
        "length(bpchar)" => blank_insensitive_length,
        "char_length(text)" => length,
        "char_length(bpchar)" => blank_insensitive_length,
        "character_length(text)" => length,
        "character_length(bpchar)" => blank_insensitive_length,
        "textlen" => length,
        "octet_length(text)" => |a: &str| a.len() as i32,
        "octet_length(bpchar)" => |a: &str| a.len() as i32,
        "bit_length(text)" => |a: &str| a.len() as i32 * 8,
        "substr(text,int4)" => |a: &str, start: i32| substring(a, start, None),
        "substring(text,int4)" => |a: &str, start: i32| substring(a, start, None),
        "substr(text,int4,int4)" => |a: &str, start: i32, count: i32| substring(a, start, Some(count)),
        "substring(text,int4,int4)" => |a: &str, start: i32, count: i32| substring(a, start, Some(count)),
        "left" => left,
        "right" => right,
        "position(text,text)" => position,
        "strpos" => position,
        "overlay(text,text,int4)" => |a: &str, new: &str, start: i32| overlay(a, new, start, length(new)),
        "overlay(text,text,int4,int4)" => overlay,
        "split_part" => split_part,
        "starts_with" => |a: &str, prefix: &str| a.starts_with(prefix),
    });
    // Not strict in their other arguments.
    call_scalars!(builder, {
        "string_to_array(text,text)" => |call: &Call<'_>, a: Option<&str>, delimiter: Option<&str>| {
            string_to_array(call, a, delimiter, None)
        },
        "string_to_array(text,text,text)" => string_to_array,
    });
}

fn length(text: &str) -> i32 {
    characters(text) as i32
}

fn blank_insensitive_length(text: &str) -> i32 {
    characters(strip_blanks(text)) as i32
}

/// SQL's substring: characters `start .. start + count` that exist; positions before the first one count, too.
pub fn substring(text: &str, start: i32, count: Option<i32>) -> Result<String> {
    let first = i64::from(start).max(1);
    let end = match count {
        Some(count) if count < 0 => {
            return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        Some(count) => i64::from(start) + i64::from(count),
        None => i64::MAX,
    };
    if end <= first {
        return Ok(String::new());
    }
    let rest = &text[offset(text, (first - 1) as usize)..];
    let wanted = usize::try_from(end - first).unwrap_or(usize::MAX);
    Ok(rest[..offset(rest, wanted)].to_owned())
}

/// The first `count` characters; all but the last `-count` when negative.
fn left(text: &str, count: i32) -> String {
    let kept = if count >= 0 {
        count as usize
    } else {
        characters(text).saturating_sub(count.unsigned_abs() as usize)
    };
    text[..offset(text, kept)].to_owned()
}

fn right(text: &str, count: i32) -> String {
    let skipped = if count >= 0 {
        characters(text).saturating_sub(count as usize)
    } else {
        count.unsigned_abs() as usize
    };
    text[offset(text, skipped)..].to_owned()
}

fn position(text: &str, wanted: &str) -> i32 {
    text.find(wanted).map_or(0, |index| characters(&text[..index]) as i32 + 1)
}

fn overlay(text: &str, new: &str, start: i32, count: i32) -> Result<String> {
    if start <= 0 {
        return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let after = start.checked_add(count).ok_or_else(|| SqlError::out_of_range("integer"))?;
    Ok(substring(text, 1, Some(start - 1))? + new + &substring(text, after, None)?)
}

fn split_part(text: &str, delimiter: &str, field: i32) -> Result<String> {
    if field == 0 {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    if text.is_empty() {
        return Ok(String::new());
    }
    if delimiter.is_empty() {
        return Ok(if field == 1 || field == -1 { text.to_owned() } else { String::new() });
    }
    let part = if field > 0 {
        text.split(delimiter).nth(field as usize - 1)
    } else {
        // From the end, but with the fields as they split from the start.
        let fields: Vec<&str> = text.split(delimiter).collect();
        fields.len().checked_sub(field.unsigned_abs() as usize).map(|index| fields[index])
    };
    Ok(part.unwrap_or_default().to_owned())
}

/// The fields of a string: characters when the delimiter is NULL, the whole when it is empty. Fields equal to
/// `null_text` become NULL.
pub fn split_fields(
    context: &EvalContext,
    text: &str,
    delimiter: Option<&str>,
    null_text: Option<&str>,
) -> Result<Vec<Datum>> {
    let datum = |(index, field): (usize, &str)| {
        context.check_at(index)?;
        Ok(if Some(field) == null_text { Datum::Null } else { Datum::text(field) })
    };
    match delimiter {
        _ if text.is_empty() => Ok(vec![]),
        None => text.split_inclusive(|_: char| true).enumerate().map(datum).collect(),
        Some("") => Ok(vec![datum((0, text))?]),
        Some(delimiter) => text.split(delimiter).enumerate().map(datum).collect(),
    }
}

fn string_to_array(
    call: &Call<'_>,
    text: Option<&str>,
    delimiter: Option<&str>,
    null_text: Option<&str>,
) -> Result<Option<Array>> {
    let Some(text) = text else { return Ok(None) };
    let fields = split_fields(call.context, text, delimiter, null_text)?;
    Ok(Some(Array::from_elements(Oid::TEXT, fields)))
}
