//! `format`: `%s`, `%I`, `%L` and `%%` with positions and widths.

use basalt_types::{Datum, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, raw_scalars};
use crate::scalar::text::{TEXT_BYTES_MAX, characters, print, quote_ident, quote_literal, too_long};

pub fn register(builder: &mut Builder) {
    raw_scalars!(builder, { "format(text,any)" => format, "format(text)" => format });
}

fn refuse(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn unterminated() -> SqlError {
    refuse("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
}

/// Reads digits; `None` without any.
fn number(rest: &mut &str) -> Result<Option<usize>> {
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(length);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    let value: i32 = digits
        .parse()
        .map_err(|_| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "number is out of range"))?;
    Ok(Some(value as usize))
}

fn format(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Text(template)) = args.first() else { return Ok(Datum::Null) };
    let mut result = String::with_capacity(template.len());
    let mut rest: &str = template;
    let mut next = 1;
    while let Some(percent) = rest.find('%') {
        result.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            result.push('%');
            rest = after;
            continue;
        }
        let room = TEXT_BYTES_MAX - result.len().min(TEXT_BYTES_MAX);
        let piece = conversion(call, args, &mut rest, &mut next, room)?;
        result.push_str(&piece);
    }
    result.push_str(rest);
    Ok(Datum::text(result))
}

/// One specifier after its percent sign: `[position$][-][width]type`.
/// Gives at most `room` bytes.
fn conversion(
    call: &Call<'_>,
    args: &[Datum],
    rest: &mut &str,
    next: &mut usize,
    room: usize,
) -> Result<String> {
    let mut position = None;
    let mut width = number(rest)?.map(|width| width as i64);
    if width.is_some() && rest.starts_with('$') {
        position = width.take().map(|position| position as usize);
        *rest = &rest[1..];
        if position == Some(0) {
            return Err(refuse("format specifies argument 0, but arguments are numbered from 1"));
        }
    }
    let mut left = false;
    if width.is_none() {
        while let Some(after) = rest.strip_prefix('-') {
            left = true;
            *rest = after;
        }
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            width = Some(indirect_width(args, rest, next)?);
        } else {
            width = number(rest)?.map(|width| width as i64);
        }
    }
    let kind = rest.chars().next().ok_or_else(unterminated)?;
    *rest = &rest[kind.len_utf8()..];
    let index = match position {
        Some(position) => {
            *next = position + 1;
            position
        }
        None => {
            *next += 1;
            *next - 1
        }
    };
    if index >= args.len() {
        return Err(refuse("too few arguments for format()"));
    }
    let is_null = args[index].is_null();
    let text = match kind {
        's' if is_null => String::new(),
        's' => print(call, args, index),
        'I' if is_null => {
            return Err(SqlError::new(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                "null values cannot be formatted as an SQL identifier",
            ));
        }
        'I' => quote_ident(&print(call, args, index)),
        'L' if is_null => "NULL".into(),
        'L' => quote_literal(&print(call, args, index)),
        other => {
            return Err(refuse(format!("unrecognized format() type specifier \"{other}\""))
                .with_hint("For a single \"%\" use \"%%\"."));
        }
    };
    aligned(text, width.unwrap_or(0), left, room)
}

/// The width of `*` (the next argument) or `*n$`.
fn indirect_width(args: &[Datum], rest: &mut &str, next: &mut usize) -> Result<i64> {
    let index = match number(rest)? {
        Some(position) => {
            *rest = rest
                .strip_prefix('$')
                .ok_or_else(|| refuse("width argument position must be ended by \"$\""))?;
            if position == 0 {
                return Err(refuse("format specifies argument 0, but arguments are numbered from 1"));
            }
            *next = position + 1;
            position
        }
        None => {
            *next += 1;
            *next - 1
        }
    };
    match args.get(index) {
        Some(Datum::Null) => Ok(0),
        Some(Datum::Int2(width)) => Ok(i64::from(*width)),
        Some(Datum::Int4(width)) => Ok(i64::from(*width)),
        Some(Datum::Int8(width)) => Ok(*width),
        Some(Datum::Text(width)) => {
            width.trim().parse::<i32>().map(i64::from).map_err(|_| SqlError::invalid_text("integer", width))
        }
        Some(_) => Err(refuse("width argument is not an integer")),
        None => Err(refuse("too few arguments for format()")),
    }
}

fn aligned(text: String, width: i64, left: bool, room: usize) -> Result<String> {
    let left = left || width < 0;
    let width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    let blanks = width.saturating_sub(characters(&text));
    if text.len().saturating_add(blanks) > room {
        return Err(too_long());
    }
    let blanks = " ".repeat(blanks);
    Ok(if left { text + &blanks } else { blanks + &text })
}
