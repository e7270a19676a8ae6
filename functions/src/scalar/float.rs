//! Arithmetic and mathematics of real and double precision. A finite operation that overflows to infinity or underflows
//! to zero is error 22003, as in PostgreSQL.

use basalt_types::{Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};
use crate::scalar::libm;

macro_rules! arithmetic {
    ($builder:expr, $prefix:literal, $left:ty, $right:ty, $wide:ty) => {
        scalars!($builder, {
            concat!($prefix, "pl") => |a: $left, b: $right| {
                let (a, b) = (<$wide>::from(a), <$wide>::from(b));
                let result = a + b;
                if result.is_infinite() && a.is_finite() && b.is_finite() { Err(overflow()) } else { Ok(result) }
            },
            concat!($prefix, "mi") => |a: $left, b: $right| {
                let (a, b) = (<$wide>::from(a), <$wide>::from(b));
                let result = a - b;
                if result.is_infinite() && a.is_finite() && b.is_finite() { Err(overflow()) } else { Ok(result) }
            },
            concat!($prefix, "mul") => |a: $left, b: $right| {
                let (a, b) = (<$wide>::from(a), <$wide>::from(b));
                let result = a * b;
                if result.is_infinite() && a.is_finite() && b.is_finite() {
                    Err(overflow())
                } else if result == 0.0 && a != 0.0 && b != 0.0 {
                    Err(underflow())
                } else {
                    Ok(result)
                }
            },
            concat!($prefix, "div") => |a: $left, b: $right| {
                let (a, b) = (<$wide>::from(a), <$wide>::from(b));
                if b == 0.0 && !a.is_nan() {
                    return Err(SqlError::division_by_zero());
                }
                let result = a / b;
                if result.is_infinite() && a.is_finite() {
                    Err(overflow())
                } else if result == 0.0 && a != 0.0 && b.is_finite() {
                    Err(underflow())
                } else {
                    Ok(result)
                }
            },
        })
    };
}

pub fn register(builder: &mut Builder) {
    arithmetic!(builder, "float4", f32, f32, f32);
    arithmetic!(builder, "float8", f64, f64, f64);
    arithmetic!(builder, "float48", f32, f64, f64);
    arithmetic!(builder, "float84", f64, f32, f64);
    scalars!(builder, {
        "float4um" => |a: f32| -a,
        "float8um" => |a: f64| -a,
        "float4up" => |a: f32| a,
        "float8up" => |a: f64| a,
        "float4abs" => |a: f32| a.abs(),
        "float8abs" => |a: f64| a.abs(),
        "abs(float4)" => |a: f32| a.abs(),
        "abs(float8)" => |a: f64| a.abs(),
    });
    rounding(builder);
    powers(builder);
    trigonometry(builder);
    degrees(builder);
}

fn rounding(builder: &mut Builder) {
    scalars!(builder, {
        "ceil(float8)" => f64::ceil,
        "ceiling(float8)" => f64::ceil,
        "floor(float8)" => f64::floor,
        "round(float8)" => f64::round_ties_even,
        "trunc(float8)" => f64::trunc,
        "sign(float8)" => |a: f64| if a > 0.0 { 1.0 } else if a < 0.0 { -1.0 } else { 0.0 },
    });
}

fn powers(builder: &mut Builder) {
    scalars!(builder, {
        "dsqrt" => sqrt,
        "sqrt(float8)" => sqrt,
        "dcbrt" => f64::cbrt,
        "cbrt(float8)" => f64::cbrt,
        "dpow" => power,
        "pow(float8,float8)" => power,
        "power(float8,float8)" => power,
        "dexp" => exp,
        "exp(float8)" => exp,
        "dlog1" => |a: f64| logarithm(a, f64::ln),
        "ln(float8)" => |a: f64| logarithm(a, f64::ln),
        "dlog10" => |a: f64| logarithm(a, f64::log10),
        "log(float8)" => |a: f64| logarithm(a, f64::log10),
        "log10(float8)" => |a: f64| logarithm(a, f64::log10),
        "pi" => || std::f64::consts::PI,
        "degrees" => |a: f64| in_range(a / (std::f64::consts::PI / 180.0), a),
        "radians" => |a: f64| in_range(a * (std::f64::consts::PI / 180.0), a),
    });
}

fn trigonometry(builder: &mut Builder) {
    scalars!(builder, {
        "sin" => |a: f64| periodic(a, f64::sin),
        "cos" => |a: f64| periodic(a, f64::cos),
        "tan" => |a: f64| periodic(a, f64::tan),
        "cot" => |a: f64| periodic(a, |a| 1.0 / a.tan()),
        "asin" => |a: f64| inverse(a, f64::asin),
        "acos" => |a: f64| inverse(a, f64::acos),
        "atan" => f64::atan,
        "atan2" => f64::atan2,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => libm::asinh,
        "acosh" => inverse_hyperbolic_cosine,
        "atanh" => |a: f64| if (-1.0..=1.0).contains(&a) || a.is_nan() { Ok(libm::atanh(a)) } else { Err(input_out_of_range()) },
    });
}

fn degrees(builder: &mut Builder) {
    scalars!(builder, {
        "sind" => |a: f64| periodic(a, sine_of_degrees),
        "cosd" => |a: f64| periodic(a, cosine_of_degrees),
        "tand" => |a: f64| periodic(a, tangent_of_degrees),
        "cotd" => |a: f64| periodic(a, cotangent_of_degrees),
        "asind" => |a: f64| inverse(a, arc_sine_in_degrees),
        "acosd" => |a: f64| inverse(a, arc_cosine_in_degrees),
        "atand" => |a: f64| (a.atan() / 1.0f64.atan()) * 45.0,
        "atan2d" => |a: f64, b: f64| (a.atan2(b) / 1.0f64.atan()) * 45.0,
    });
}

#[cold]
pub fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

#[cold]
pub fn underflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow")
}

#[cold]
fn input_out_of_range() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

/// A result of a finite nonzero input may be neither infinite nor zero.
fn in_range(result: f64, input: f64) -> Result<f64> {
    if result.is_infinite() && input.is_finite() {
        Err(overflow())
    } else if result == 0.0 && input != 0.0 {
        Err(underflow())
    } else {
        Ok(result)
    }
}

fn inverse_hyperbolic_cosine(a: f64) -> Result<f64> {
    if a < 1.0 {
        return Err(input_out_of_range());
    }
    Ok(libm::acosh(a))
}

fn sqrt(a: f64) -> Result<f64> {
    if a < 0.0 {
        return Err(SqlError::new(
            SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "cannot take square root of a negative number",
        ));
    }
    Ok(a.sqrt())
}

fn power(base: f64, exponent: f64) -> Result<f64> {
    let refuse = |message: &str| Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    if base.is_nan() {
        return Ok(if exponent == 0.0 { 1.0 } else { f64::NAN });
    }
    if exponent.is_nan() {
        return Ok(if base == 1.0 { 1.0 } else { f64::NAN });
    }
    if base == 0.0 && exponent < 0.0 {
        return refuse("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.floor() != exponent {
        return refuse("a negative number raised to a non-integer power yields a complex result");
    }
    let result = base.powf(exponent);
    if base.is_infinite() || exponent.is_infinite() {
        return Ok(result);
    }
    if result.is_infinite() {
        Err(overflow())
    } else if result == 0.0 && base != 0.0 {
        Err(underflow())
    } else {
        Ok(result)
    }
}

fn exp(a: f64) -> Result<f64> {
    if a.is_nan() || a.is_infinite() {
        return Ok(a.exp());
    }
    let result = a.exp();
    if result.is_infinite() {
        Err(overflow())
    } else if result == 0.0 {
        Err(underflow())
    } else {
        Ok(result)
    }
}

fn logarithm(a: f64, function: fn(f64) -> f64) -> Result<f64> {
    let refuse = |message: &str| Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message));
    if a == 0.0 {
        return refuse("cannot take logarithm of zero");
    }
    if a < 0.0 {
        return refuse("cannot take logarithm of a negative number");
    }
    Ok(function(a))
}

fn periodic(a: f64, function: fn(f64) -> f64) -> Result<f64> {
    if a.is_infinite() { Err(input_out_of_range()) } else { Ok(function(a)) }
}

fn inverse(a: f64, function: fn(f64) -> f64) -> Result<f64> {
    if a.abs() > 1.0 { Err(input_out_of_range()) } else { Ok(function(a)) }
}

/// Sine of 0..=30 degrees, exactly a half at 30.
fn sine_to_30(a: f64) -> f64 {
    a.to_radians().sin() / 30f64.to_radians().sin() / 2.0
}

/// Cosine of 0..=60 degrees, exactly a half at 60.
fn cosine_to_60(a: f64) -> f64 {
    1.0 - (1.0 - a.to_radians().cos()) / (1.0 - 60f64.to_radians().cos()) / 2.0
}

fn sine_first_quadrant(a: f64) -> f64 {
    if a <= 30.0 { sine_to_30(a) } else { cosine_to_60(90.0 - a) }
}

fn cosine_first_quadrant(a: f64) -> f64 {
    if a <= 60.0 { cosine_to_60(a) } else { sine_to_30(90.0 - a) }
}

fn sine_of_degrees(a: f64) -> f64 {
    let mut a = a % 360.0;
    let mut sign = 1.0;
    if a < 0.0 {
        (a, sign) = (-a, -sign);
    }
    if a > 180.0 {
        (a, sign) = (360.0 - a, -sign);
    }
    if a > 90.0 {
        a = 180.0 - a;
    }
    sign * sine_first_quadrant(a)
}

fn cosine_of_degrees(a: f64) -> f64 {
    let mut a = (a % 360.0).abs();
    let mut sign = 1.0;
    if a > 180.0 {
        a = 360.0 - a;
    }
    if a > 90.0 {
        (a, sign) = (180.0 - a, -sign);
    }
    sign * cosine_first_quadrant(a)
}

/// (angle in 0..=90, sign) of an angle whose tangent or cotangent is wanted.
fn fold_tangent(a: f64) -> (f64, f64) {
    let mut a = a % 360.0;
    let mut sign = 1.0;
    if a < 0.0 {
        (a, sign) = (-a, -sign);
    }
    if a > 180.0 {
        (a, sign) = (360.0 - a, -sign);
    }
    if a > 90.0 {
        (a, sign) = (180.0 - a, -sign);
    }
    (a, sign)
}

fn tangent_of_degrees(a: f64) -> f64 {
    let (a, sign) = fold_tangent(a);
    let unit = sine_first_quadrant(45.0) / cosine_first_quadrant(45.0);
    // Never −0.
    sign * (sine_first_quadrant(a) / cosine_first_quadrant(a) / unit) + 0.0
}

fn cotangent_of_degrees(a: f64) -> f64 {
    let (a, sign) = fold_tangent(a);
    let unit = cosine_first_quadrant(45.0) / sine_first_quadrant(45.0);
    sign * (cosine_first_quadrant(a) / sine_first_quadrant(a) / unit) + 0.0
}

fn arc_sine_first_quadrant(a: f64) -> f64 {
    if a <= 0.5 { (a.asin() / 0.5f64.asin()) * 30.0 } else { 90.0 - (a.acos() / 0.5f64.acos()) * 60.0 }
}

fn arc_cosine_first_quadrant(a: f64) -> f64 {
    if a <= 0.5 { 90.0 - (a.asin() / 0.5f64.asin()) * 30.0 } else { (a.acos() / 0.5f64.acos()) * 60.0 }
}

fn arc_sine_in_degrees(a: f64) -> f64 {
    if a >= 0.0 { arc_sine_first_quadrant(a) } else { -arc_sine_first_quadrant(-a) }
}

fn arc_cosine_in_degrees(a: f64) -> f64 {
    if a >= 0.0 { arc_cosine_first_quadrant(a) } else { 90.0 + arc_sine_first_quadrant(-a) }
}
