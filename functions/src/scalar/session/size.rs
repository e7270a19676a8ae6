//! Sizes for people: `pg_size_pretty` and `pg_size_bytes`.

use basalt_types::{Numeric, Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "pg_size_pretty(int8)" => |size: i64| pretty(i128::from(size)),
        "pg_size_pretty(numeric)" => |size: &Numeric| match size.trunc(0)?.to_scaled(0) {
            // In bytes the fraction shows.
            Some(whole) if whole.abs() < UNITS[0].1 => Ok(format!("{size} {}", UNITS[0].0)),
            Some(whole) => Ok(pretty(whole)),
            None => Err(SqlError::out_of_range("bigint")),
        },
        "pg_size_bytes" => size_bytes,
    });
}

/// (name, largest size shown in the unit, whether the size carries one bit more for rounding)
const UNITS: [(&str, i128, bool); 6] = [
    ("bytes", 10 * 1024, false),
    ("kB", 20 * 1024 - 1, true),
    ("MB", 20 * 1024 - 1, true),
    ("GB", 20 * 1024 - 1, true),
    ("TB", 20 * 1024 - 1, true),
    ("PB", i128::MAX, true),
];

fn pretty(size: i128) -> String {
    let mut size = size;
    for (index, (name, limit, halved)) in UNITS.into_iter().enumerate() {
        if size.abs() < limit {
            if halved {
                size = (size + if size < 0 { -1 } else { 1 }) / 2;
            }
            return format!("{size} {name}");
        }
        // Keep one bit below the next unit, to round by.
        size /= if index == 0 { 1 << 9 } else { 1 << 10 };
    }
    format!("{size} PB")
}

fn size_bytes(text: &str) -> Result<i64> {
    let invalid = || SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid size: \"{text}\""));
    let trimmed = text.trim();
    let digits_end = trimmed
        .char_indices()
        .find(|(index, c)| {
            let exponent = matches!(c, 'e' | 'E')
                && trimmed[index + 1..]
                    .trim_start_matches(['+', '-'])
                    .starts_with(|d: char| d.is_ascii_digit());
            let sign = matches!(c, '+' | '-') && (*index == 0 || trimmed[..*index].ends_with(['e', 'E']));
            !(c.is_ascii_digit() || *c == '.' || exponent || sign)
        })
        .map_or(trimmed.len(), |(index, _)| index);
    let number = Numeric::parse(&trimmed[..digits_end]).map_err(|_| invalid())?;
    let unit = trimmed[digits_end..].trim();
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "bytes" | "b" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        "pb" => 50,
        _ => {
            return Err(invalid()
                .with_detail(format!("Invalid size unit: \"{unit}\"."))
                .with_hint("Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\"."));
        }
    };
    number.mul(&Numeric::from_i64(1 << shift))?.to_i64()
}
