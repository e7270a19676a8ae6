//! Arithmetic and bits of smallint, integer and bigint. Overflow is error 22003, never a wrapped result.

use basalt_types::{Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};

/// The operators of one width. `$wide` is the type in which PostgreSQL shifts.
macro_rules! same_width {
    ($builder:expr, $prefix:literal, $rust:ty, $wide:ty, $name:literal) => {
        scalars!($builder, {
            concat!($prefix, "pl") => |a: $rust, b: $rust| a.checked_add(b).ok_or_else(|| SqlError::out_of_range($name)),
            concat!($prefix, "mi") => |a: $rust, b: $rust| a.checked_sub(b).ok_or_else(|| SqlError::out_of_range($name)),
            concat!($prefix, "mul") => |a: $rust, b: $rust| a.checked_mul(b).ok_or_else(|| SqlError::out_of_range($name)),
            concat!($prefix, "div") => |a: $rust, b: $rust| {
                if b == 0 {
                    return Err(SqlError::division_by_zero());
                }
                a.checked_div(b).ok_or_else(|| SqlError::out_of_range($name))
            },
            concat!($prefix, "mod") => |a: $rust, b: $rust| {
                if b == 0 { Err(SqlError::division_by_zero()) } else { Ok(a.wrapping_rem(b)) }
            },
            concat!("mod(", $prefix, ",", $prefix, ")") => |a: $rust, b: $rust| {
                if b == 0 { Err(SqlError::division_by_zero()) } else { Ok(a.wrapping_rem(b)) }
            },
            concat!($prefix, "um") => |a: $rust| a.checked_neg().ok_or_else(|| SqlError::out_of_range($name)),
            concat!($prefix, "up") => |a: $rust| a,
            concat!($prefix, "abs") => |a: $rust| a.checked_abs().ok_or_else(|| SqlError::out_of_range($name)),
            concat!("abs(", $prefix, ")") => |a: $rust| a.checked_abs().ok_or_else(|| SqlError::out_of_range($name)),
            concat!($prefix, "and") => |a: $rust, b: $rust| a & b,
            concat!($prefix, "or") => |a: $rust, b: $rust| a | b,
            concat!($prefix, "xor") => |a: $rust, b: $rust| a ^ b,
            concat!($prefix, "not") => |a: $rust| !a,
            // Shift counts wrap at the width of the register, as they do in PostgreSQL on its platforms.
            concat!($prefix, "shl") => |a: $rust, b: i32| <$wide>::from(a).wrapping_shl(b as u32) as $rust,
            concat!($prefix, "shr") => |a: $rust, b: i32| <$wide>::from(a).wrapping_shr(b as u32) as $rust,
        })
    };
}

/// `+ - * /` between two widths, in the wider one.
macro_rules! mixed_width {
    ($builder:expr, $prefix:literal, $left:ty, $right:ty, $wide:ty, $name:literal) => {
        scalars!($builder, {
            concat!($prefix, "pl") => |a: $left, b: $right| {
                <$wide>::from(a).checked_add(<$wide>::from(b)).ok_or_else(|| SqlError::out_of_range($name))
            },
            concat!($prefix, "mi") => |a: $left, b: $right| {
                <$wide>::from(a).checked_sub(<$wide>::from(b)).ok_or_else(|| SqlError::out_of_range($name))
            },
            concat!($prefix, "mul") => |a: $left, b: $right| {
                <$wide>::from(a).checked_mul(<$wide>::from(b)).ok_or_else(|| SqlError::out_of_range($name))
            },
            concat!($prefix, "div") => |a: $left, b: $right| {
                if b == 0 {
                    return Err(SqlError::division_by_zero());
                }
                <$wide>::from(a).checked_div(<$wide>::from(b)).ok_or_else(|| SqlError::out_of_range($name))
            },
        })
    };
}

pub fn register(builder: &mut Builder) {
    same_width!(builder, "int2", i16, i32, "smallint");
    same_width!(builder, "int4", i32, i32, "integer");
    same_width!(builder, "int8", i64, i64, "bigint");
    mixed_width!(builder, "int24", i16, i32, i32, "integer");
    mixed_width!(builder, "int42", i32, i16, i32, "integer");
    mixed_width!(builder, "int28", i16, i64, i64, "bigint");
    mixed_width!(builder, "int82", i64, i16, i64, "bigint");
    mixed_width!(builder, "int48", i32, i64, i64, "bigint");
    mixed_width!(builder, "int84", i64, i32, i64, "bigint");
    scalars!(builder, {
        "gcd(int4,int4)" => |a: i32, b: i32| gcd(i64::from(a), i64::from(b)).and_then(narrow),
        "gcd(int8,int8)" => gcd,
        "lcm(int4,int4)" => |a: i32, b: i32| lcm(i64::from(a), i64::from(b)).and_then(narrow),
        "lcm(int8,int8)" => lcm,
        "to_hex(int4)" => |a: i32| format!("{a:x}"),
        "to_hex(int8)" => |a: i64| format!("{a:x}"),
        "width_bucket(float8,float8,float8,int4)" => width_bucket,
    });
}

fn narrow(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|_| SqlError::out_of_range("integer"))
}

fn gcd(a: i64, b: i64) -> Result<i64> {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).map_err(|_| SqlError::out_of_range("bigint"))
}

fn lcm(a: i64, b: i64) -> Result<i64> {
    if a == 0 || b == 0 {
        return Ok(0);
    }
    let overflow = || SqlError::out_of_range("bigint");
    (a / gcd(a, b)?).checked_mul(b).and_then(i64::checked_abs).ok_or_else(overflow)
}

pub fn bucket_error(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET, message)
}

fn width_bucket(operand: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    if count <= 0 {
        return Err(bucket_error("count must be greater than zero"));
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(bucket_error("lower and upper bounds must be finite"));
    }
    let past = || count.checked_add(1).ok_or_else(|| SqlError::out_of_range("integer"));
    // Halved when the span itself would overflow.
    let position = |value: f64, from: f64, to: f64| {
        let span = to - from;
        let ratio = if span.is_infinite() {
            (value / 2.0 - from / 2.0) / (to / 2.0 - from / 2.0)
        } else {
            (value - from) / span
        };
        ((f64::from(count) * ratio) as i32).min(count - 1) + 1
    };
    if low < high {
        if operand < low {
            Ok(0)
        } else if operand >= high {
            past()
        } else {
            Ok(position(operand, low, high))
        }
    } else if low > high {
        if operand > low {
            Ok(0)
        } else if operand <= high {
            past()
        } else {
            Ok(position(-operand, -low, -high))
        }
    } else {
        Err(bucket_error("lower bound cannot equal upper bound"))
    }
}
