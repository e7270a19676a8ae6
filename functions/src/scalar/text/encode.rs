//! `encode` and `decode`.

use basalt_types::{Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "encode" => encode,
        "decode" => decode,
    });
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn encode(bytes: &[u8], format: &str) -> Result<String> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => Ok(hex(bytes)),
        "base64" => Ok(base64(bytes)),
        "escape" => Ok(escape(bytes)),
        _ => Err(invalid(format!("unrecognized encoding: \"{format}\""))),
    }
}

fn decode(text: &str, format: &str) -> Result<Vec<u8>> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => from_hex(text),
        "base64" => from_base64(text),
        "escape" => from_escape(text),
        _ => Err(invalid(format!("unrecognized encoding: \"{format}\""))),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// White space may stand between bytes, not within one.
fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digit = |character: char| {
        let digit = character.to_digit(16).map(|digit| digit as u8);
        digit.ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{character}\"")))
    };
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = text.chars();
    while let Some(high) = characters.next() {
        if matches!(high, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(high)?;
        let low = characters
            .next()
            .ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits".into()))?;
        bytes.push(high << 4 | digit(low)?);
    }
    Ok(bytes)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With a line feed after every 76 characters, as MIME has it.
fn base64(bytes: &[u8]) -> String {
    let mut result = String::with_capacity(bytes.len() * 4 / 3 + bytes.len() / 57 + 4);
    let mut column = 0;
    for (index, chunk) in bytes.chunks(3).enumerate() {
        if column == 76 && index > 0 {
            result.push('\n');
            column = 0;
        }
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                result.push(char::from(BASE64[(group >> (18 - 6 * position)) as usize & 63]));
            } else {
                result.push('=');
            }
        }
        column += 4;
    }
    // PostgreSQL breaks as soon as a line is full, even at the end.
    if column == 76 {
        result.push('\n');
    }
    result
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let mut result = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut position, mut padding) = (0u32, 0, 0);
    for character in text.chars() {
        let value = match character {
            ' ' | '\t' | '\n' | '\r' => continue,
            '=' => {
                if padding == 0 && position < 2 {
                    return Err(invalid("unexpected \"=\" while decoding base64 sequence".into()));
                }
                padding += 1;
                0
            }
            _ => match BASE64.iter().position(|digit| char::from(*digit) == character) {
                Some(value) if padding == 0 => value as u32,
                _ => {
                    return Err(invalid(format!(
                        "invalid symbol \"{character}\" found while decoding base64 sequence"
                    )));
                }
            },
        };
        group = group << 6 | value;
        position += 1;
        if position == 4 {
            let bytes = group.to_be_bytes();
            result.extend_from_slice(&bytes[1..4 - padding.min(2)]);
            (group, position) = (0, 0);
        }
    }
    if position != 0 {
        return Err(invalid("invalid base64 end sequence".into())
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(result)
}

/// Zero and bytes above 127 in octal, a backslash doubled.
fn escape(bytes: &[u8]) -> String {
    let mut result = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => result.push_str("\\\\"),
            0 | 128.. => result.push_str(&format!("\\{byte:03o}")),
            byte => result.push(char::from(byte)),
        }
    }
    result
}

fn from_escape(text: &str) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut result = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] != b'\\' {
            result.push(bytes[index]);
            index += 1;
            continue;
        }
        match bytes.get(index + 1..) {
            Some([b'\\', ..]) => {
                result.push(b'\\');
                index += 2;
            }
            Some([a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                result.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                index += 4;
            }
            _ => return Err(SqlError::invalid_text("bytea", text)),
        }
    }
    Ok(result)
}
