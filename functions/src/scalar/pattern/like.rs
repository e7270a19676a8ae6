//! `LIKE` and `ILIKE`: `%` is any run of characters, `_` one character, `\` takes the next one literally.
//!
//! One pass with one point to go back to: when the pattern fails after a `%`, only the last `%` can take a character
//! more, since an earlier one would only move the same problem to the left. Time is at most text times pattern.

use basalt_types::{Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
    "textlike" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()),
    "textnlike" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()).map(|found| !found),
    "namelike" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()),
    "namenlike" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()).map(|found| !found),
    "bpcharlike" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()),
    "bpcharnlike" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()).map(|found| !found),
    "bytealike" => like_bytes,
    "byteanlike" => |call: &Call<'_>, a: &[u8], pattern: &[u8]| like_bytes(call, a, pattern).map(|found| !found),
    "like(text,text)" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()),
    "like(name,text)" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()),
    "like(bytea,bytea)" => like_bytes,
    "notlike(text,text)" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()).map(|found| !found),
    "notlike(name,text)" => |call: &Call<'_>, a: &str, pattern: &str| like(call, a.as_bytes(), pattern.as_bytes()).map(|found| !found),
    "notlike(bytea,bytea)" => |call: &Call<'_>, a: &[u8], pattern: &[u8]| like_bytes(call, a, pattern).map(|found| !found),
    });
    scalars!(builder, { "like_escape(text,text)" => like_escape });
    call_scalars!(builder, {
        "texticlike" => ilike,
        "texticnlike" => |call: &Call<'_>, a: &str, pattern: &str| ilike(call, a, pattern).map(|found| !found),
        "nameiclike" => ilike,
        "nameicnlike" => |call: &Call<'_>, a: &str, pattern: &str| ilike(call, a, pattern).map(|found| !found),
        "bpchariclike" => ilike,
        "bpcharicnlike" => |call: &Call<'_>, a: &str, pattern: &str| ilike(call, a, pattern).map(|found| !found),
    });
}

fn ilike(call: &Call<'_>, text: &str, pattern: &str) -> Result<bool> {
    like(call, text.to_lowercase().as_bytes(), pattern.to_lowercase().as_bytes())
}

fn like(call: &Call<'_>, text: &[u8], pattern: &[u8]) -> Result<bool> {
    matches(call, text, pattern, |text| character_length(text[0]))
}

fn like_bytes(call: &Call<'_>, text: &[u8], pattern: &[u8]) -> Result<bool> {
    matches(call, text, pattern, |_| 1)
}

/// Bytes of the UTF-8 character that begins with `first`.
fn character_length(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

fn matches(call: &Call<'_>, text: &[u8], pattern: &[u8], unit: impl Fn(&[u8]) -> usize) -> Result<bool> {
    let mut retries = 0;
    let (mut t, mut p) = (0, 0);
    // Where to go on when the pattern fails: after the last `%`, with one unit more in it.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                if p == pattern.len() {
                    return Ok(true);
                }
                retry = Some((t, p));
                continue;
            }
            Some(b'_') => Some((unit(&text[t..]), 1)),
            Some(b'\\') => match pattern.get(p + 1) {
                Some(literal) => (*literal == text[t]).then_some((1, 2)),
                None => {
                    return Err(SqlError::new(
                        SqlState::INVALID_ESCAPE_SEQUENCE,
                        "LIKE pattern must not end with escape character",
                    ));
                }
            },
            Some(literal) => (*literal == text[t]).then_some((1, 1)),
            None => None,
        };
        match (step, retry) {
            (Some((in_text, in_pattern)), _) => {
                t += in_text;
                p += in_pattern;
            }
            (None, Some((from, after))) => {
                retries += 1;
                call.context.check_at(retries)?;
                t = from + unit(&text[from..]);
                p = after;
                retry = Some((t, after));
            }
            (None, None) => return Ok(false),
        }
    }
    Ok(pattern[p..].iter().all(|rest| *rest == b'%'))
}

/// Rewrites a pattern with another escape character to one with the backslash.
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let escape = match (characters.next(), characters.next()) {
        (None, _) => None,
        (Some('\\'), None) => return Ok(pattern.to_owned()),
        (Some(escape), None) => Some(escape),
        _ => {
            return Err(SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                .with_hint("Escape string must be empty or one character."));
        }
    };
    let mut result = String::with_capacity(pattern.len() + 2);
    let mut escaped = false;
    for character in pattern.chars() {
        if Some(character) == escape && !escaped {
            result.push('\\');
            escaped = true;
            continue;
        }
        if character == '\\' && !escaped {
            result.push('\\');
        }
        result.push(character);
        escaped = false;
    }
    Ok(result)
}
