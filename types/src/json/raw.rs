//! Parts of valid json text, as written.

use super::parse::unescape;
use crate::Result;

/// The offset of the first byte that is no blank.
pub(super) fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    let blanks = bytes[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    at + blanks.count()
}

/// One past the closing quote of the string that begins at a quote.
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// One past a number or word.
pub(super) fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let inside = |byte: &u8| !matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r');
    at + bytes[at..].iter().take_while(|byte| inside(byte)).count()
}

/// One past the value that begins at `at`.
fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'[' | b'{') => {
            let mut depth = 0usize;
            let mut end = at;
            while end < bytes.len() {
                match bytes[end] {
                    b'"' => {
                        end = string_end(bytes, end);
                        continue;
                    }
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => {
                        depth -= 1;
                        if depth == 0 {
                            return end + 1;
                        }
                    }
                    _ => {}
                }
                end += 1;
            }
            end
        }
        _ => scalar_end(bytes, at),
    }
}

/// Valid json text taken apart by one level.
#[derive(Debug, PartialEq)]
pub enum RawJson<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// Between the quotes, escapes as written.
    String(&'a str),
    Array(Vec<&'a str>),
    /// Every pair in its order, keys unescaped.
    Object(Vec<(String, &'a str)>),
}

impl<'a> RawJson<'a> {
    /// Reads the outermost level of json text that has been validated.
    pub fn of(text: &'a str) -> Result<Self> {
        let bytes = text.as_bytes();
        let mut at = skip_blanks(bytes, 0);
        Ok(match bytes.get(at) {
            Some(b'[') => {
                let mut items = Vec::new();
                at = skip_blanks(bytes, at + 1);
                while at < bytes.len() && bytes[at] != b']' {
                    let end = value_end(bytes, at);
                    items.push(&text[at..end]);
                    at = next_item(bytes, end);
                }
                Self::Array(items)
            }
            Some(b'{') => {
                let mut pairs = Vec::new();
                at = skip_blanks(bytes, at + 1);
                while at < bytes.len() && bytes[at] != b'}' {
                    let key_end = string_end(bytes, at);
                    let key = unescape(&text[at + 1..key_end - 1])?;
                    let start = skip_blanks(bytes, skip_blanks(bytes, key_end) + 1);
                    let end = value_end(bytes, start);
                    pairs.push((key, &text[start..end]));
                    at = next_item(bytes, end);
                }
                Self::Object(pairs)
            }
            Some(b'"') => Self::String(&text[at + 1..string_end(bytes, at) - 1]),
            _ => match &text[at..scalar_end(bytes, at)] {
                "null" => Self::Null,
                "true" => Self::Bool(true),
                "false" => Self::Bool(false),
                number => Self::Number(number),
            },
        })
    }
}

/// The start of the next element after one that ended, or the closing bracket.
fn next_item(bytes: &[u8], end: usize) -> usize {
    let at = skip_blanks(bytes, end);
    if bytes.get(at) == Some(&b',') { skip_blanks(bytes, at + 1) } else { at }
}

/// `json_typeof`.
pub fn raw_kind(text: &str) -> &'static str {
    match text.as_bytes().get(skip_blanks(text.as_bytes(), 0)) {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}
