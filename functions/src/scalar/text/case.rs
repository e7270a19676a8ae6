//! Case, characters and their codes. Outside ASCII, letters map as in Unicode, one to one.

use basalt_types::{Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};
use crate::scalar::text::{TEXT_BYTES_MAX, too_long};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "upper(text)" => |a: &str| a.chars().map(upper).collect::<String>(),
        "lower(text)" => |a: &str| a.chars().map(lower).collect::<String>(),
        "initcap" => initcap,
        "reverse" => |a: &str| a.chars().rev().collect::<String>(),
        "repeat" => repeat,
        "replace" => replace,
        "translate" => translate,
        "ascii" => |a: &str| a.chars().next().map_or(0, |first| first as i32),
        "chr" => chr,
        "unistr" => unistr,
    });
}

/// One character to one, as the C library's `towupper`.
fn upper(character: char) -> char {
    let mut mapped = character.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn lower(character: char) -> char {
    let mut mapped = character.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn initcap(text: &str) -> String {
    let mut in_word = false;
    let capitalise = |character: char| {
        let mapped = if in_word { lower(character) } else { upper(character) };
        in_word = character.is_alphanumeric();
        mapped
    };
    text.chars().map(capitalise).collect()
}

fn repeat(text: &str, count: i32) -> Result<String> {
    let count = count.max(0) as usize;
    if text.len().saturating_mul(count) > TEXT_BYTES_MAX {
        return Err(too_long());
    }
    Ok(text.repeat(count))
}

fn replace(text: &str, from: &str, to: &str) -> Result<String> {
    if from.is_empty() {
        return Ok(text.to_owned());
    }
    let most = (text.len() / from.len()).saturating_mul(to.len());
    if most > TEXT_BYTES_MAX && text.matches(from).count().saturating_mul(to.len()) > TEXT_BYTES_MAX {
        return Err(too_long());
    }
    Ok(text.replace(from, to))
}

/// Each character of `from` becomes the one at its place in `to`, or vanishes when `to` is shorter.
fn translate(text: &str, from: &str, to: &str) -> String {
    let to: Vec<char> = to.chars().collect();
    let map = |character: char| match from.chars().position(|candidate| candidate == character) {
        Some(place) => to.get(place).copied(),
        None => Some(character),
    };
    text.chars().filter_map(map).collect()
}

fn chr(code: i32) -> Result<String> {
    let refuse = |message: String| Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    match code {
        0 => refuse("null character not permitted".into()),
        code if code < 0 => {
            Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "character number must be positive"))
        }
        code if code > 0x10_ffff => refuse(format!("requested character too large for encoding: {code}")),
        code => match char::from_u32(code as u32) {
            Some(character) => Ok(character.to_string()),
            None => refuse(format!("requested character not valid for encoding: {code}")),
        },
    }
}

/// Reads `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX` and `\\`.
fn unistr(text: &str) -> Result<String> {
    let invalid = || {
        SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode escape")
            .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut high = None;
    let pair_error = || SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair");
    while let Some(first) = rest.chars().next() {
        if first != '\\' || rest.starts_with("\\\\") {
            if high.is_some() {
                return Err(pair_error());
            }
            result.push(first);
            rest = &rest[if first == '\\' { 2 } else { first.len_utf8() }..];
            continue;
        }
        let (skip, digits) = match rest.as_bytes().get(1) {
            Some(b'u') => (2, 4),
            Some(b'U') => (2, 8),
            Some(b'+') => (2, 6),
            _ => (1, 4),
        };
        let hex =
            rest.get(skip..skip + digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = u32::from_str_radix(hex.ok_or_else(invalid)?, 16).map_err(|_| invalid())?;
        rest = &rest[skip + digits..];
        match (high.take(), code) {
            (None, 0xd800..=0xdbff) => high = Some(code),
            (Some(high), 0xdc00..=0xdfff) => {
                let combined = 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00);
                result.push(char::from_u32(combined).ok_or_else(pair_error)?);
            }
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(pair_error()),
            (None, 0) => {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode code point: 0000"));
            }
            (None, code) => result.push(char::from_u32(code).ok_or_else(|| {
                SqlError::new(SqlState::SYNTAX_ERROR, format!("invalid Unicode code point: {code:04X}"))
            })?),
        }
    }
    if high.is_some() { Err(pair_error()) } else { Ok(result) }
}
