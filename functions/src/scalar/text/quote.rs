//! Quoting of identifiers and literals.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "quote_ident" => quote_ident,
        "quote_literal(text)" => quote_literal,
        "quote_nullable(text)" => |a: Option<&str>| a.map_or_else(|| "NULL".into(), quote_literal),
        "parse_ident" => parse_ident,
    });
    call_scalars!(builder, {
        "quote_literal(anyelement)" => |call: &Call<'_>, a: &Datum| quote_literal(&crate::io::output(call, a, call.arg_types[0])),
        "quote_nullable(anyelement)" => |call: &Call<'_>, a: &Datum| {
            if a.is_null() { "NULL".into() } else { quote_literal(&crate::io::output(call, a, call.arg_types[0])) }
        },
    });
}

/// PostgreSQL 15's keywords that cannot be a plain identifier (every category but unreserved), sorted.
static KEYWORDS: &str = include_str!("keywords.txt");

fn is_keyword(word: &str) -> bool {
    KEYWORDS.split_ascii_whitespace().any(|keyword| keyword == word)
}

/// In double quotes unless the name reads back as itself without them.
pub fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !is_keyword(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// In single quotes, as an escape string when there are backslashes.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Splits a qualified name, folding the parts that are not quoted.
fn parse_ident(text: &str, strict: bool) -> Result<Array> {
    let invalid = || {
        SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("string is not a valid identifier: \"{text}\""),
        )
    };
    let mut rest = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let mut parts = Vec::new();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = quoted_part(quoted)
                .ok_or_else(|| invalid().with_detail("String has unclosed double quotes."))?;
            if name.is_empty() {
                return Err(invalid().with_detail("Quoted identifier must not be empty."));
            }
            parts.push(Datum::text(name));
            rest = after;
        } else {
            let length = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()))
                .unwrap_or(rest.len());
            if length == 0 || rest.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
                return Err(invalid());
            }
            parts.push(Datum::text(rest[..length].to_ascii_lowercase()));
            rest = &rest[length..];
        }
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        match rest.strip_prefix('.') {
            Some(after) => rest = after.trim_start_matches(|c: char| c.is_ascii_whitespace()),
            None if rest.is_empty() || !strict => break,
            None => return Err(invalid()),
        }
    }
    Ok(Array::from_elements(Oid::TEXT, parts))
}

/// (name, what follows the closing quote).
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, rest)),
        }
    }
}
