//! Reads jsonb from json text. The containers that are open are kept on a stack of the parser's own.

use super::raw::{scalar_end, skip_blanks, string_end};
use super::{Json, JsonObject};
use crate::{Numeric, Result, SqlError, SqlState, io::validate_json};

/// Containers within containers of a jsonb.
pub const DEPTH_MAX: usize = 1000;

enum Open {
    Array(Vec<Json>),
    Object(Vec<(Box<str>, Json)>, Box<str>),
}

/// `jsonb_in`.
pub fn parse_json(input: &str) -> Result<Json> {
    validate_json(input)?;
    let bytes = input.as_bytes();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    loop {
        // A value begins, or an empty container ends.
        at = skip_blanks(bytes, at);
        let mut value = match bytes[at] {
            b'[' | b'{' => {
                if open.len() == DEPTH_MAX {
                    return Err(too_deep());
                }
                let is_array = bytes[at] == b'[';
                at = skip_blanks(bytes, at + 1);
                if matches!(bytes[at], b']' | b'}') {
                    at += 1;
                    if is_array { Json::Array(Vec::new()) } else { Json::Object(JsonObject::default()) }
                } else if is_array {
                    open.push(Open::Array(Vec::new()));
                    continue;
                } else {
                    let (key, after) = read_key(input, at)?;
                    open.push(Open::Object(Vec::new(), key));
                    at = after;
                    continue;
                }
            }
            b'"' => {
                let end = string_end(bytes, at);
                let text = unescape(&input[at + 1..end - 1])?;
                at = end;
                Json::String(text.into())
            }
            _ => {
                let end = scalar_end(bytes, at);
                let word = &input[at..end];
                at = end;
                match word {
                    "null" => Json::Null,
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    number => Json::Number(Numeric::parse(number)?),
                }
            }
        };
        // It goes into the innermost container, which may end with it, and so on outwards.
        loop {
            match open.pop() {
                None => return Ok(value),
                Some(Open::Array(mut items)) => {
                    items.push(value);
                    at = skip_blanks(bytes, at);
                    let ends = bytes[at] == b']';
                    at += 1;
                    if !ends {
                        open.push(Open::Array(items));
                        break;
                    }
                    value = Json::Array(items);
                }
                Some(Open::Object(mut pairs, key)) => {
                    pairs.push((key, value));
                    at = skip_blanks(bytes, at);
                    let ends = bytes[at] == b'}';
                    at += 1;
                    if !ends {
                        let (key, after) = read_key(input, skip_blanks(bytes, at))?;
                        at = after;
                        open.push(Open::Object(pairs, key));
                        break;
                    }
                    value = Json::Object(JsonObject::from_pairs(pairs));
                }
            }
        }
    }
}

/// The key that begins at a quote, and the offset after its colon.
fn read_key(input: &str, at: usize) -> Result<(Box<str>, usize)> {
    let end = string_end(input.as_bytes(), at);
    let key = unescape(&input[at + 1..end - 1])?;
    Ok((key.into(), skip_blanks(input.as_bytes(), end) + 1))
}

fn too_deep() -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "jsonb is nested too deeply")
        .with_detail(format!("At most {DEPTH_MAX} arrays and objects may be within each other."))
}

fn invalid(detail: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
        .with_detail(detail.to_owned())
}

/// The text that stands between the quotes of a valid json string.
pub fn unescape(body: &str) -> Result<String> {
    if !body.contains('\\') {
        return Ok(body.to_owned());
    }
    const NO_HIGH: &str = "Unicode low surrogate must follow a high surrogate.";
    let mut out = String::with_capacity(body.len());
    let mut high: Option<u32> = None;
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        let plain = if character != '\\' {
            character
        } else {
            match characters.next() {
                Some('u') => {
                    let code = characters
                        .by_ref()
                        .take(4)
                        .fold(0, |code, digit| code << 4 | digit.to_digit(16).unwrap_or_default());
                    match (code, high.take()) {
                        (0xd800..=0xdbff, Some(_)) => {
                            return Err(invalid("Unicode high surrogate must not follow a high surrogate."));
                        }
                        (0xd800..=0xdbff, None) => {
                            high = Some(code);
                            continue;
                        }
                        (0xdc00..=0xdfff, Some(first)) => {
                            let code = 0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff);
                            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                        }
                        (_, Some(_)) | (0xdc00..=0xdfff, None) => return Err(invalid(NO_HIGH)),
                        (0, None) => {
                            return Err(SqlError::new(
                                SqlState::UNTRANSLATABLE_CHARACTER,
                                "unsupported Unicode escape sequence",
                            )
                            .with_detail("\\u0000 cannot be converted to text.".to_owned()));
                        }
                        (code, None) => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                    }
                }
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => break,
            }
        };
        if high.is_some() {
            return Err(invalid(NO_HIGH));
        }
        out.push(plain);
    }
    if high.is_some() { Err(invalid(NO_HIGH)) } else { Ok(out) }
}
