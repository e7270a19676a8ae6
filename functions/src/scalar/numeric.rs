//! Functions of numeric.

use basalt_types::{Numeric, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::integer::bucket_error;

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "numeric_add" => Numeric::add,
        "numeric_sub" => Numeric::sub,
        "numeric_mul" => Numeric::mul,
        "numeric_div" => Numeric::div,
        "numeric_mod" => Numeric::rem,
        "mod(numeric,numeric)" => Numeric::rem,
        "numeric_div_trunc" => Numeric::div_trunc,
        "div" => Numeric::div_trunc,
        "numeric_uminus" => Numeric::neg,
        "numeric_uplus" => |a: &Numeric| a.clone(),
        "numeric_abs" => Numeric::abs,
        "abs(numeric)" => Numeric::abs,
        "sign(numeric)" => Numeric::sign,
        "ceil(numeric)" => Numeric::ceil,
        "ceiling(numeric)" => Numeric::ceil,
        "floor(numeric)" => Numeric::floor,
        "round(numeric)" => |a: &Numeric| a.round(0),
        "round(numeric,int4)" => Numeric::round,
        "trunc(numeric)" => |a: &Numeric| a.trunc(0),
        "trunc(numeric,int4)" => Numeric::trunc,
        "scale" => Numeric::scale,
        "min_scale" => Numeric::min_scale,
        "trim_scale" => Numeric::trim_scale,
        "width_bucket(numeric,numeric,numeric,int4)" => width_bucket,
        "numeric(numeric,int4)" => |a: &Numeric, typmod: i32| a.apply_typmod(typmod),
    });
    call_scalars!(builder, {
        "factorial" => factorial,
        "gcd(numeric,numeric)" => gcd,
        "lcm(numeric,numeric)" => lcm,
    });
    scalars!(builder, {
        "sqrt(numeric)" => Numeric::sqrt,
        "numeric_sqrt" => Numeric::sqrt,
        "exp(numeric)" => Numeric::exp,
        "numeric_exp" => Numeric::exp,
        "ln(numeric)" => Numeric::ln,
        "numeric_ln" => Numeric::ln,
        "log(numeric)" => log10,
        "log10(numeric)" => log10,
        "log(numeric,numeric)" => |base: &Numeric, a: &Numeric| a.log(base),
        "numeric_log" => |base: &Numeric, a: &Numeric| a.log(base),
        "power(numeric,numeric)" => Numeric::power,
        "pow(numeric,numeric)" => Numeric::power,
        "numeric_power" => Numeric::power,
    });
}

fn log10(a: &Numeric) -> Result<Numeric> {
    a.log(&Numeric::from_i64(10))
}

/// Operations on numbers of any length between two looks at whether the statement should stop.
const LONG_STEPS_PER_CHECK: i64 = 64;

/// The largest argument whose factorial PostgreSQL's format holds.
const FACTORIAL_MAX: i64 = 32177;

fn factorial(call: &Call<'_>, n: i64) -> Result<Numeric> {
    if n < 0 {
        return Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "factorial of a negative number is undefined",
        ));
    }
    if n > FACTORIAL_MAX {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"));
    }
    let mut product = Numeric::ONE;
    for factor in 2..=n {
        if factor % LONG_STEPS_PER_CHECK == 0 {
            call.context.check()?;
        }
        product = product.mul(&Numeric::from_i64(factor))?;
    }
    Ok(product)
}

fn gcd(call: &Call<'_>, a: &Numeric, b: &Numeric) -> Result<Numeric> {
    if !a.is_finite() || !b.is_finite() {
        return Ok(Numeric::NAN);
    }
    let scale = a.scale().max(b.scale()).unwrap_or(0);
    let (mut a, mut b) = (a.abs(), b.abs());
    let mut steps = 0;
    while !b.is_zero() {
        steps += 1;
        if steps % LONG_STEPS_PER_CHECK == 0 {
            call.context.check()?;
        }
        let remainder = a.rem(&b)?;
        (a, b) = (b, remainder);
    }
    a.round(scale)
}

fn lcm(call: &Call<'_>, a: &Numeric, b: &Numeric) -> Result<Numeric> {
    if !a.is_finite() || !b.is_finite() {
        return Ok(Numeric::NAN);
    }
    let scale = a.scale().max(b.scale()).unwrap_or(0);
    if a.is_zero() || b.is_zero() {
        return Numeric::ZERO.round(scale);
    }
    a.div_trunc(&gcd(call, a, b)?)?.mul(b)?.abs().round(scale)
}

fn width_bucket(operand: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> Result<i32> {
    if count <= 0 {
        return Err(bucket_error("count must be greater than zero"));
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(bucket_error("lower and upper bounds must be finite"));
    }
    let ascending = match low.compare(high) {
        std::cmp::Ordering::Equal => return Err(bucket_error("lower bound cannot equal upper bound")),
        order => order.is_lt(),
    };
    let before = |order: std::cmp::Ordering| if ascending { order.is_lt() } else { order.is_gt() };
    if before(operand.compare(low)) {
        return Ok(0);
    }
    if !before(operand.compare(high)) {
        return count.checked_add(1).ok_or_else(|| SqlError::out_of_range("integer"));
    }
    let offset = operand.sub(low)?.mul(&Numeric::from_i64(i64::from(count)))?;
    Ok(offset.div_trunc(&high.sub(low)?)?.to_i32()?.min(count - 1) + 1)
}
