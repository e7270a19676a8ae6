//! bytea: hex and escape forms.

use bytes::Bytes;

use super::ByteaOutput;
use super::text_in::is_space;
use crate::{Result, SqlError, SqlState};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Reads `\x…` hexadecimal (blanks between bytes allowed) or the escape form (`\\`, `\ooo`).
pub fn parse_bytea(input: &str) -> Result<Bytes> {
    match input.strip_prefix("\\x") {
        Some(digits) => parse_hex(digits),
        None => parse_escape(input),
    }
}

fn parse_hex(digits: &str) -> Result<Bytes> {
    let invalid = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut value = Vec::with_capacity(digits.len() / 2);
    let mut characters = digits.chars();
    let nibble = |c: char| {
        c.to_digit(16)
            .map(|digit| digit as u8)
            .ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))
    };
    while let Some(first) = characters.next() {
        if is_space(first) && first != '\x0b' && first != '\x0c' {
            continue;
        }
        let high = nibble(first)?;
        let second = characters
            .next()
            .ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits".into()))?;
        value.push(high << 4 | nibble(second)?);
    }
    Ok(value.into())
}

fn parse_escape(input: &str) -> Result<Bytes> {
    let mut value = Vec::with_capacity(input.len());
    let mut rest = input.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            value.push(byte);
            rest = after;
            continue;
        }
        match after {
            [b'\\', after @ ..] => {
                value.push(b'\\');
                rest = after;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                value.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                return Err(SqlError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea",
                ));
            }
        }
    }
    Ok(value.into())
}

pub fn format_bytea(value: &[u8], style: ByteaOutput, out: &mut String) {
    match style {
        ByteaOutput::Hex => {
            out.reserve(2 + value.len() * 2);
            out.push_str("\\x");
            for byte in value {
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        ByteaOutput::Escape => {
            for &byte in value {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0x20..=0x7e => out.push(char::from(byte)),
                    _ => out.push_str(&format!("\\{byte:03o}")),
                }
            }
        }
    }
}
