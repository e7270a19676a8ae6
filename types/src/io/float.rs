//! real and double precision.
//!
//! With `extra_float_digits` above zero (the default) output is the shortest text that reads back to the same value;
//! otherwise it is rounded to 6 or 15 digits plus that setting, in the manner of C's `%g`.

use super::text_in::is_space;
use crate::{Result, SqlError, SqlState};

/// Decimal digits that survive a round trip through the type.
const FLOAT4_DIGITS: i32 = 6;
const FLOAT8_DIGITS: i32 = 15;

macro_rules! parser {
    ($name:ident, $float:ty, $type_name:literal) => {
        pub fn $name(input: &str) -> Result<$float> {
            let text = input.trim_matches(is_space);
            let value: $float = text.parse().map_err(|_| SqlError::invalid_text($type_name, input))?;
            let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
            let underflows = value == 0.0 && mantissa_is_nonzero(text);
            if has_digits && (value.is_infinite() || underflows) {
                return Err(SqlError::new(
                    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    format!("\"{text}\" is out of range for type {}", $type_name),
                ));
            }
            Ok(value)
        }
    };
}

parser!(parse_float8, f64, "double precision");
parser!(parse_float4, f32, "real");

fn mantissa_is_nonzero(text: &str) -> bool {
    text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

pub fn format_float8(value: f64, extra_float_digits: i32, out: &mut String) {
    if push_special(value, out) {
        return;
    }
    if extra_float_digits > 0 {
        push_shortest(&shortest_float8(value), FLOAT8_DIGITS, out);
    } else {
        push_general(value, (FLOAT8_DIGITS + extra_float_digits).max(1), out);
    }
}

pub fn format_float4(value: f32, extra_float_digits: i32, out: &mut String) {
    if push_special(f64::from(value), out) {
        return;
    }
    if extra_float_digits > 0 {
        push_shortest(&shortest_float4(value), FLOAT4_DIGITS, out);
    } else {
        push_general(f64::from(value), (FLOAT4_DIGITS + extra_float_digits).max(1), out);
    }
}

macro_rules! shortest {
    ($name:ident, $float:ty) => {
        /// The shortest digits that are strictly nearer to the value than to its neighbours, and of those the nearest
        /// to the value (the even ones when two are). The standard library differs in both: it accepts digits halfway
        /// to a neighbour, which read back only thanks to ties-to-even, and rounds equally near digits up.
        fn $name(value: $float) -> String {
            let shortest = format!("{value:e}");
            let decimals = shortest
                .split_once('e')
                .map_or(0, |(mantissa, _)| mantissa.bytes().filter(u8::is_ascii_digit).count() - 1);
            let nearest = format!("{value:.decimals$e}");
            let reads_back = nearest.parse() == Ok(value);
            let chosen = if reads_back { nearest } else { shortest };
            // Halfway points with few digits exist only among large integers.
            let magnitude = value.abs();
            if magnitude < (1u64 << <$float>::MANTISSA_DIGITS) as $float || magnitude > 1e38 {
                return chosen;
            }
            let exact = magnitude as u128;
            let is_halfway = |shown: &str| {
                integer_value(shown).is_some_and(|shown| {
                    [magnitude.next_up(), magnitude.next_down()]
                        .iter()
                        .any(|neighbour| shown.checked_mul(2) == exact.checked_add(*neighbour as u128))
                })
            };
            // More digits of a halfway point may be zeros, which leave it where it is.
            let mut chosen = chosen;
            let mut decimals = decimals;
            while is_halfway(&chosen) && decimals < 20 {
                decimals += 1;
                chosen = format!("{value:.decimals$e}");
            }
            chosen
        }
    };
}

shortest!(shortest_float8, f64);
shortest!(shortest_float4, f32);

/// The magnitude of `1.25e7` when it is an integer below 2^128.
fn integer_value(scientific: &str) -> Option<u128> {
    let (mantissa, exponent) = scientific.trim_start_matches('-').split_once('e')?;
    let decimals = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let exponent: usize = exponent.parse().ok()?;
    let power = u32::try_from(exponent.checked_sub(decimals)?).ok()?;
    digits.parse::<u128>().ok()?.checked_mul(10u128.checked_pow(power)?)
}

fn push_special(value: f64, out: &mut String) -> bool {
    let text = if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "Infinity"
    } else if value == f64::NEG_INFINITY {
        "-Infinity"
    } else {
        return false;
    };
    out.push_str(text);
    true
}

/// Turns `-1.25e7` (shortest digits) into PostgreSQL's layout.
fn push_shortest(scientific: &str, digits_before_exponent: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    push_digits(
        mantissa,
        exponent.parse().expect("an exponent is a small integer"),
        digits_before_exponent,
        out,
    );
}

/// C's `%.*g`.
fn push_general(value: f64, precision: i32, out: &mut String) {
    let text = format!("{value:.*e}", (precision - 1) as usize);
    let (mantissa, exponent) = text.split_once('e').expect("scientific notation has an exponent");
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    push_digits(mantissa, exponent.parse().expect("an exponent is a small integer"), precision, out);
}

fn push_digits(mantissa: &str, exponent: i32, exponent_limit: i32, out: &mut String) {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.push_str(sign);
    if !(-4..exponent_limit).contains(&exponent) {
        out.push_str(mantissa);
        out.push_str(&format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()));
        return;
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', whole - digits.len()));
        } else {
            out.push_str(&digits[..whole]);
            out.push('.');
            out.push_str(&digits[whole..]);
        }
    }
}
