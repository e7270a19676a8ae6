//! Powers.

use std::cmp::Ordering;

use super::decimal::Decimal;
use super::rounding::clamp_display_scale;
use super::transcendental::{MAX_RESULT_SCALE, estimate_logarithm_weight};
use super::{Class, MAX_DISPLAY_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, overflow};
use crate::{Result, SqlError, SqlState};

fn invalid(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

impl Numeric {
    fn is_integer(&self) -> bool {
        self.min_scale() == Some(0)
    }

    fn is_odd(&self) -> bool {
        let two = Self::from_i64(2);
        self.rem(&two).is_ok_and(|remainder| !remainder.is_zero())
    }

    pub fn power(&self, exponent: &Self) -> Result<Self> {
        if self.class() != Class::Finite || exponent.class() != Class::Finite {
            return self.special_power(exponent);
        }
        if self.is_zero() && exponent.is_negative() {
            return Err(invalid("zero raised to a negative power is undefined"));
        }
        if self.is_negative() && !exponent.is_integer() {
            return Err(invalid("a negative number raised to a non-integer power yields a complex result"));
        }
        let base = self.to_decimal();
        if exponent.is_integer()
            && let Ok(whole) = exponent.to_i32()
        {
            let scale = clamp_display_scale(MIN_SIGNIFICANT_DIGITS.max(base.scale as i32));
            return Self::from_decimal(integer_power(&base, whole, scale)?);
        }
        if self.is_zero() {
            return Self::from_decimal(Decimal {
                scale: MIN_SIGNIFICANT_DIGITS as u32,
                ..Decimal::default()
            });
        }
        let negate = base.negative && exponent.is_odd();
        let base = Decimal { negative: false, ..base };
        let exponent = exponent.to_decimal();
        let logarithm_weight = estimate_logarithm_weight(&base);
        // A first estimate of the result's weight, from eight digits of the logarithm.
        let estimate_scale = clamp_display_scale(8 - logarithm_weight);
        let estimate =
            base.natural_logarithm(estimate_scale).multiply_rounded(&exponent, estimate_scale).to_f64();
        if estimate.abs() > f64::from(MAX_RESULT_SCALE) * 3.01 {
            if estimate > 0.0 {
                return Err(overflow());
            }
            return Self::from_decimal(Decimal { scale: MAX_DISPLAY_SCALE as u32, ..Decimal::default() });
        }
        let weight = (estimate * std::f64::consts::LOG10_E) as i32;
        let scale = clamp_display_scale(
            (MIN_SIGNIFICANT_DIGITS - weight).max(base.scale as i32).max(exponent.scale as i32),
        );
        let working = (scale + weight - logarithm_weight + 8).max(0);
        let product = base.natural_logarithm(working + 8).multiply_rounded(&exponent, working + 8);
        let mut result = product.exponential(scale)?;
        if negate {
            result = result.negated();
        }
        Self::from_decimal(result)
    }

    /// NaN and infinities, by the POSIX rules for pow.
    fn special_power(&self, exponent: &Self) -> Result<Self> {
        if self.is_nan() {
            return Ok(if exponent.is_zero() { Self::ONE } else { Self::NAN });
        }
        if exponent.is_nan() {
            return Ok(if self.compare(&Self::ONE).is_eq() { Self::ONE } else { Self::NAN });
        }
        if self.is_zero() && exponent.is_negative() {
            return Err(invalid("zero raised to a negative power is undefined"));
        }
        if self.is_negative() && exponent.is_finite() && !exponent.is_integer() {
            return Err(invalid("a negative number raised to a non-integer power yields a complex result"));
        }
        if self.compare(&Self::ONE).is_eq() || exponent.is_zero() {
            return Ok(Self::ONE);
        }
        if self.is_zero() {
            return Ok(Self::ZERO);
        }
        if exponent.is_infinite() {
            return Ok(match self.abs().compare(&Self::ONE) {
                Ordering::Equal => Self::ONE,
                Ordering::Greater if exponent.is_negative() => Self::ZERO,
                Ordering::Greater => Self::INFINITY,
                Ordering::Less if exponent.is_negative() => Self::INFINITY,
                Ordering::Less => Self::ZERO,
            });
        }
        if exponent.is_negative() {
            return Ok(Self::ZERO);
        }
        Ok(Self::signed_infinity(self.is_negative() && exponent.is_odd()))
    }
}

/// Repeated squaring with as many significant digits as the result shows, and some to spare.
fn integer_power(base: &Decimal, exponent: i32, scale: i32) -> Result<Decimal> {
    let zero = || Decimal { scale: scale as u32, ..Decimal::default() };
    match exponent {
        0 => return Ok(Decimal { scale: scale as u32, ..Decimal::one() }),
        1 => {
            let mut result = base.clone();
            result.round(scale);
            return Ok(result);
        }
        -1 => return Ok(Decimal::one().divide(base, scale, true)),
        2 => return Ok(base.multiply_rounded(base, scale)),
        _ => {}
    }
    if base.is_zero() {
        return Ok(zero());
    }
    let mut leading = f64::from(base.digits[0]);
    let mut position = base.weight * 4;
    for &digit in base.digits.iter().skip(1).take(3) {
        leading = leading * 10_000.0 + f64::from(digit);
        position -= 4;
    }
    let weight = f64::from(exponent) * (leading.log10() + f64::from(position));
    if weight > 3.0 * 32_767.0 * 4.0 {
        return Err(overflow());
    }
    if weight + 1.0 < f64::from(-scale) || weight + 1.0 < f64::from(-MAX_DISPLAY_SCALE) {
        return Ok(zero());
    }
    let significant = 1 + scale + weight as i32 + f64::from(exponent).abs().ln() as i32 + 8;
    let decimals = |weight: i32| (significant - weight * 4).max(0);
    let mut mask = exponent.unsigned_abs();
    let mut square = base.clone();
    let mut result = if mask & 1 != 0 { base.clone() } else { Decimal::one() };
    mask >>= 1;
    while mask > 0 {
        square = {
            let product = square.multiply(&square);
            let limit = decimals(product.weight).min(2 * square.scale as i32);
            let mut product = product;
            product.round(limit);
            product
        };
        if mask & 1 != 0 {
            let mut product = square.multiply(&result);
            let limit = decimals(product.weight).min((square.scale + result.scale) as i32);
            product.round(limit);
            result = product;
        }
        // Beyond every limit already: stop before the digits grow without bound.
        if square.weight > 32_767 || result.weight > 32_767 {
            if exponent > 0 {
                return Err(overflow());
            }
            return Ok(zero());
        }
        mask >>= 1;
    }
    if exponent < 0 {
        Ok(Decimal::one().divide(&result, scale, true))
    } else {
        result.round(scale);
        Ok(result)
    }
}
