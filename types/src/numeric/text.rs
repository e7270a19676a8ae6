//! Text input and output.

use std::fmt;

use super::decimal::Decimal;
use super::{MAX_SCALE, MAX_WEIGHT, Numeric, Repr, overflow};
use crate::{Result, SqlError};

impl Numeric {
    /// Reads what `numeric_in` reads: digits with an optional point and exponent, `NaN`, `Infinity`; blanks around.
    pub fn parse(input: &str) -> Result<Self> {
        let invalid = || SqlError::invalid_text("numeric", input);
        let text = trim(input);
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let bytes = body.as_bytes();
        if !matches!(bytes.first(), Some(b'0'..=b'9' | b'.')) {
            if body.eq_ignore_ascii_case("infinity") || body.eq_ignore_ascii_case("inf") {
                return Ok(Self::signed_infinity(negative));
            }
            if text.eq_ignore_ascii_case("nan") {
                return Ok(Self::NAN);
            }
            return Err(invalid());
        }
        let whole = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut fraction = 0;
        let mut rest = whole;
        if bytes.get(rest) == Some(&b'.') {
            fraction = bytes[rest + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest += 1 + fraction;
        }
        if whole + fraction == 0 {
            return Err(invalid());
        }
        let mut exponent = 0i64;
        if let Some(b'e' | b'E') = bytes.get(rest) {
            let mut digits = &bytes[rest + 1..];
            let minus = digits.first() == Some(&b'-');
            if matches!(digits.first(), Some(b'-' | b'+')) {
                digits = &digits[1..];
            }
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(invalid());
            }
            for &digit in digits {
                exponent = exponent * 10 + i64::from(digit - b'0');
                if exponent >= i64::from(i32::MAX / 2) {
                    return Err(overflow());
                }
            }
            if minus {
                exponent = -exponent;
            }
        } else if rest != bytes.len() {
            return Err(invalid());
        }
        let fraction_digits = if fraction > 0 { &bytes[whole + 1..whole + 1 + fraction] } else { &[][..] };
        assemble(negative, &bytes[..whole], fraction_digits, exponent)
    }
}

/// Blanks as `isspace` sees them.
fn trim(input: &str) -> &str {
    input.trim_matches(|c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c'))
}

fn assemble(negative: bool, whole: &[u8], fraction: &[u8], exponent: i64) -> Result<Numeric> {
    let scale = (fraction.len() as i64 - exponent).max(0);
    // Up to 38 digits fit the coefficient directly.
    if whole.len() + fraction.len() <= 38
        && scale <= 38
        && (exponent <= 0 || fraction.len() as i64 >= exponent)
    {
        let mut coefficient = 0i128;
        for &byte in whole.iter().chain(fraction) {
            coefficient = coefficient * 10 + i128::from(byte - b'0');
        }
        if let Some(small) = Numeric::small(if negative { -coefficient } else { coefficient }, scale as u32) {
            return Ok(small);
        }
    }
    if scale > i64::from(MAX_SCALE) {
        return Err(overflow());
    }
    let mut digits = whole.iter().chain(fraction).map(|byte| i16::from(byte - b'0')).peekable();
    // Decimal exponent of the first digit; leading zeros only lower it.
    let mut position = whole.len() as i64 - 1 + exponent;
    while digits.peek() == Some(&0) {
        digits.next();
        position -= 1;
    }
    if digits.peek().is_none() {
        return Numeric::from_decimal(Decimal { scale: scale as u32, ..Decimal::default() });
    }
    let weight = position.div_euclid(4);
    if weight > i64::from(MAX_WEIGHT) {
        return Err(overflow());
    }
    let mut groups = Vec::with_capacity(digits.size_hint().0 / 4 + 2);
    let mut filled = 3 - position.rem_euclid(4);
    let mut group = 0i16;
    for digit in digits {
        group = group * 10 + digit;
        filled += 1;
        if filled == 4 {
            groups.push(group);
            group = 0;
            filled = 0;
        }
    }
    if filled > 0 {
        groups.push(group * 10i16.pow(4 - filled as u32));
    }
    let mut decimal = Decimal { negative, weight: weight as i32, scale: scale as u32, digits: groups };
    decimal.normalize();
    Numeric::from_decimal(decimal)
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Small { coefficient, scale } => write_small(coefficient.get(), usize::from(*scale), f),
            Repr::Big(decimal) => write_decimal(decimal, f),
            Repr::NaN => f.write_str("NaN"),
            Repr::PositiveInfinity => f.write_str("Infinity"),
            Repr::NegativeInfinity => f.write_str("-Infinity"),
        }
    }
}

fn write_small(coefficient: i128, scale: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // 39 digits, a sign, a point and a leading zero.
    let mut buffer = [b'0'; 44];
    let mut position = buffer.len();
    let mut magnitude = coefficient.unsigned_abs();
    let mut written = 0;
    while magnitude != 0 || written <= scale {
        if written == scale && scale > 0 {
            position -= 1;
            buffer[position] = b'.';
        }
        let digit = if let Ok(small) = u64::try_from(magnitude) {
            magnitude = u128::from(small / 10);
            (small % 10) as u8
        } else {
            let digit = (magnitude % 10) as u8;
            magnitude /= 10;
            digit
        };
        position -= 1;
        buffer[position] = b'0' + digit;
        written += 1;
    }
    if coefficient < 0 {
        position -= 1;
        buffer[position] = b'-';
    }
    f.write_str(std::str::from_utf8(&buffer[position..]).expect("ASCII"))
}

fn write_decimal(decimal: &Decimal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let scale = decimal.scale as usize;
    let mut text = String::with_capacity((decimal.weight.max(0) as usize + 2) * 4 + scale);
    if decimal.negative {
        text.push('-');
    }
    let digit = |index: i64| {
        usize::try_from(index).ok().and_then(|index| decimal.digits.get(index)).copied().unwrap_or(0)
    };
    if decimal.weight < 0 {
        text.push('0');
    } else {
        text.push_str(&digit(0).to_string());
        for index in 1..=i64::from(decimal.weight) {
            text.push_str(&format!("{:04}", digit(index)));
        }
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut index = i64::from(decimal.weight) + 1;
        while text.len() < end {
            text.push_str(&format!("{:04}", digit(index)));
            index += 1;
        }
        text.truncate(end);
    }
    f.write_str(&text)
}
