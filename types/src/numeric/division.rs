//! Quotients and remainders. A quotient has at least 16 significant digits and no fewer decimals than either operand,
//! counted in base-10,000 digits as PostgreSQL counts them.

use super::decimal::{BASE, Decimal};
use super::rounding::{clamp_display_scale, divide_small};
use super::{Class, MIN_SIGNIFICANT_DIGITS, Numeric, POW10, Repr};
use crate::{Result, SqlError};

impl Decimal {
    /// `self / divisor` to `scale` decimals, rounded half away from zero or truncated. The divisor is not zero.
    pub fn divide(&self, divisor: &Self, scale: i32, round: bool) -> Self {
        if self.is_zero() {
            return Self { scale: scale.max(0) as u32, ..Self::default() };
        }
        let weight = self.weight - divisor.weight;
        // Down to one base digit below the last decimal, which decides rounding.
        let wanted = i64::from(weight) + 1 + (i64::from(scale) + 3).div_euclid(4) + 1;
        if wanted <= 0 {
            return Self { scale: scale.max(0) as u32, ..Self::default() };
        }
        let quotient = long_division(&self.digits, &divisor.digits, wanted as usize);
        let mut result = Self {
            negative: self.negative != divisor.negative,
            weight,
            scale: scale.max(0) as u32,
            digits: quotient,
        };
        result.normalize();
        if round {
            result.round(scale);
        } else {
            result.truncate(scale);
        }
        result
    }

    /// `self − trunc(self / divisor) × divisor`.
    pub fn remainder(&self, divisor: &Self) -> Self {
        let quotient = self.divide(divisor, 0, false);
        let mut result = self.subtract(&quotient.multiply(divisor));
        result.scale = self.scale.max(divisor.scale);
        result
    }
}

/// The first `wanted` digits of `dividend / divisor`, both read as fractions 0.d₁d₂…; the first quotient digit has the
/// weight of (dividend's weight − divisor's weight). Knuth's algorithm D in base 10,000.
fn long_division(dividend: &[i16], divisor: &[i16], wanted: usize) -> Vec<i16> {
    let base = BASE as i64;
    let length = divisor.len();
    if length == 1 {
        let divisor = i64::from(divisor[0]);
        let mut remainder = 0;
        let digit = |index: usize| dividend.get(index).map_or(0, |&digit| i64::from(digit));
        return (0..wanted)
            .map(|index| {
                let value = remainder * base + digit(index);
                remainder = value % divisor;
                (value / divisor) as i16
            })
            .collect();
    }
    // Scaling makes the divisor's first digit at least half the base, which bounds the error of each estimate to two.
    let factor = base / (i64::from(divisor[0]) + 1);
    let scale_up = |digits: &[i16], size: usize| {
        let mut scaled = vec![0i64; size + 1];
        for (slot, &digit) in scaled[1..].iter_mut().zip(digits) {
            *slot = i64::from(digit) * factor;
        }
        for index in (1..scaled.len()).rev() {
            scaled[index - 1] += scaled[index] / base;
            scaled[index] %= base;
        }
        scaled
    };
    // One leading zero digit of the dividend stands before its first one.
    let mut rest = scale_up(dividend, wanted.max(dividend.len()) + length);
    let divisor = scale_up(divisor, length);
    let divisor = &divisor[1..];
    let mut quotient = Vec::with_capacity(wanted);
    for position in 0..wanted {
        let high = rest[position] * base + rest[position + 1];
        let mut estimate = (high / divisor[0]).min(base - 1);
        while estimate * divisor[1] > (high - estimate * divisor[0]) * base + rest[position + 2] {
            estimate -= 1;
        }
        if estimate != 0 {
            let mut borrow = 0;
            for index in (0..length).rev() {
                let value = rest[position + 1 + index] - estimate * divisor[index] - borrow;
                let digit = value.rem_euclid(base);
                borrow = (digit - value) / base;
                rest[position + 1 + index] = digit;
            }
            rest[position] -= borrow;
            if rest[position] < 0 {
                estimate -= 1;
                let mut carry = 0;
                for index in (0..length).rev() {
                    let value = rest[position + 1 + index] + divisor[index] + carry;
                    rest[position + 1 + index] = value % base;
                    carry = value / base;
                }
                rest[position] += carry;
            }
        }
        quotient.push(estimate as i16);
    }
    quotient
}

impl Numeric {
    /// `a / b` at PostgreSQL's scale.
    pub fn div(&self, other: &Self) -> Result<Self> {
        if let Some(special) = self.special_quotient(other)? {
            return Ok(special);
        }
        let scale = self.quotient_scale(other);
        if let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
        {
            let shift = scale + i32::from(*right_scale) - i32::from(*left_scale);
            let right = right.get();
            if let Some(&factor) = POW10.get(shift as usize)
                && let Some(dividend) = left.get().checked_mul(factor)
            {
                let quotient = divide_small(if right < 0 { -dividend } else { dividend }, right.abs(), true);
                if let Some(result) = Self::small(quotient, scale as u32) {
                    return Ok(result);
                }
            }
        }
        Self::from_decimal(self.to_decimal().divide(&other.to_decimal(), scale, true))
    }

    /// `div(a, b)`: the quotient truncated to an integer.
    pub fn div_trunc(&self, other: &Self) -> Result<Self> {
        if let Some(special) = self.special_quotient(other)? {
            return Ok(special);
        }
        Self::from_decimal(self.to_decimal().divide(&other.to_decimal(), 0, false))
    }

    /// `a % b`, with the sign of `a`.
    pub fn rem(&self, other: &Self) -> Result<Self> {
        match (self.class(), other.class()) {
            (Class::NaN, _) | (_, Class::NaN) => return Ok(Self::NAN),
            (Class::Finite, Class::Finite) if other.is_zero() => return Err(SqlError::division_by_zero()),
            (Class::Finite, Class::Finite) => {}
            // A finite number is its own remainder by an infinite one.
            (Class::Finite, _) => return Ok(self.clone()),
            _ if other.is_zero() => return Err(SqlError::division_by_zero()),
            _ => return Ok(Self::NAN),
        }
        if let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
        {
            let scale = *left_scale.max(right_scale);
            let aligned = left.get().checked_mul(POW10[usize::from(scale - left_scale)]);
            let divisor = right.get().checked_mul(POW10[usize::from(scale - right_scale)]);
            if let (Some(dividend), Some(divisor)) = (aligned, divisor)
                && let Some(result) = Self::small(dividend % divisor, u32::from(scale))
            {
                return Ok(result);
            }
        }
        Self::from_decimal(self.to_decimal().remainder(&other.to_decimal()))
    }

    /// Quotients in which NaN, an infinity or a zero divisor takes part.
    fn special_quotient(&self, other: &Self) -> Result<Option<Self>> {
        Ok(match (self.class(), other.class()) {
            (Class::NaN, _) | (_, Class::NaN) => Some(Self::NAN),
            (_, Class::Finite) if other.is_zero() => return Err(SqlError::division_by_zero()),
            (Class::Finite, Class::Finite) => None,
            (Class::Finite, _) => Some(Self::ZERO),
            (_, Class::Finite) => Some(Self::signed_infinity(self.is_negative() != other.is_negative())),
            _ => Some(Self::NAN),
        })
    }

    /// The scale of `a / b`, from the weights and first base-10,000 digits of both.
    pub(super) fn quotient_scale(&self, other: &Self) -> i32 {
        let lead = |value: &Self| {
            value.with_digits(|view| {
                (view.weight, view.digits.first().copied().unwrap_or(0), view.scale as i32)
            })
        };
        let (weight, first, scale) = lead(self).unwrap_or_default();
        let (other_weight, other_first, other_scale) = lead(other).unwrap_or_default();
        let mut quotient_weight = weight - other_weight;
        if first <= other_first {
            quotient_weight -= 1;
        }
        clamp_display_scale((MIN_SIGNIFICANT_DIGITS - quotient_weight * 4).max(scale).max(other_scale))
    }
}
