//! `numeric`: arbitrary precision with a display scale, NaN and infinities.
//!
//! Two representations hold the same values. Almost every number in practice fits a 128-bit coefficient with a decimal
//! scale, where addition, multiplication and comparison are a few instructions and no allocation; the rest are
//! base-10,000 digits behind an `Arc`, PostgreSQL's own form, so that scales of results follow its rules exactly.
//! The form is canonical: a number that fits the small form is never in the large one, so structural equality works.

mod arithmetic;
mod convert;
mod decimal;
mod division;
mod encoding;
mod power;
mod rounding;
mod text;
mod transcendental;
mod typmod;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use decimal::Decimal;

pub use typmod::numeric_precision_scale;

use crate::{Result, SqlError, SqlState};

/// The largest scale that a declared or computed numeric may have.
pub(crate) const MAX_DISPLAY_SCALE: i32 = 1000;
/// Division and transcendental functions give at least this many significant digits.
pub(crate) const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// Largest scale that any value may have.
pub(crate) const MAX_SCALE: i32 = 16383;
/// Largest weight (in base-10,000 digits) of any value.
pub(crate) const MAX_WEIGHT: i32 = 32767;

/// Scale limit of the small form.
const SMALL_SCALE_MAX: u32 = 38;
/// Coefficients of the small form are below this in magnitude.
const SMALL_LIMIT: i128 = 10i128.pow(38);

/// A decimal number of any precision (PostgreSQL's limits: 131,072 digits before, 16,383 after the point).
/// Equality here is structural (1.0 differs from 1.00); SQL order is [`Numeric::compare`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numeric(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    Small { coefficient: Coefficient, scale: u16 },
    Big(Arc<Decimal>),
    NegativeInfinity,
    PositiveInfinity,
    NaN,
}

/// An `i128` aligned to eight bytes, which keeps `Numeric` at 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Coefficient([u64; 2]);

impl Coefficient {
    const fn new(value: i128) -> Self {
        Self([value as u64, (value >> 64) as u64])
    }

    const fn get(self) -> i128 {
        ((self.0[1] as i128) << 64) | self.0[0] as i128
    }
}

impl std::fmt::Debug for Coefficient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// Powers of ten that an `i128` can hold.
const POW10: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut index = 1;
    while index < 39 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// What of a number decides its arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    NegativeInfinity,
    Finite,
    PositiveInfinity,
    NaN,
}

/// A finite number's digits, most significant first, without leading or trailing zero digits.
pub(crate) struct DigitsView<'a> {
    pub negative: bool,
    pub weight: i32,
    pub scale: u32,
    pub digits: &'a [i16],
}

impl Numeric {
    pub const ZERO: Self = Self::small_unchecked(0, 0);
    pub const ONE: Self = Self::small_unchecked(1, 0);
    pub const NAN: Self = Self(Repr::NaN);
    pub const INFINITY: Self = Self(Repr::PositiveInfinity);
    pub const NEGATIVE_INFINITY: Self = Self(Repr::NegativeInfinity);

    const fn small_unchecked(coefficient: i128, scale: u32) -> Self {
        Self(Repr::Small { coefficient: Coefficient::new(coefficient), scale: scale as u16 })
    }

    /// `coefficient × 10^-scale`, in whichever form holds it.
    fn small(coefficient: i128, scale: u32) -> Option<Self> {
        (scale <= SMALL_SCALE_MAX && coefficient.unsigned_abs() < SMALL_LIMIT as u128)
            .then(|| Self::small_unchecked(coefficient, scale))
    }

    /// `coefficient × 10^-scale` (the form in which fixed-point columns compute).
    pub fn from_scaled(coefficient: i128, scale: u32) -> Result<Self> {
        match Self::small(coefficient, scale) {
            Some(small) => Ok(small),
            None => Self::from_decimal(Decimal::from_coefficient(coefficient, scale)),
        }
    }

    /// The value as `coefficient × 10^-scale` with exactly that scale; `None` when it does not fit without loss.
    pub fn to_scaled(&self, scale: u32) -> Option<i128> {
        match self.0 {
            Repr::Small { coefficient, scale: own } => {
                let (coefficient, own) = (coefficient.get(), u32::from(own));
                if scale >= own {
                    let factor = *POW10.get((scale - own) as usize)?;
                    coefficient.checked_mul(factor)
                } else {
                    let factor = *POW10.get((own - scale) as usize)?;
                    (coefficient % factor == 0).then(|| coefficient / factor)
                }
            }
            Repr::Big(ref decimal) => decimal.coefficient(scale),
            _ => None,
        }
    }

    fn from_decimal(decimal: Decimal) -> Result<Self> {
        if decimal.weight > MAX_WEIGHT || decimal.scale as i32 > MAX_SCALE {
            return Err(overflow());
        }
        if decimal.scale <= SMALL_SCALE_MAX
            && let Some(coefficient) = decimal.coefficient(decimal.scale)
            && let Some(small) = Self::small(coefficient, decimal.scale)
        {
            return Ok(small);
        }
        Ok(Self(Repr::Big(Arc::new(decimal))))
    }

    fn class(&self) -> Class {
        match self.0 {
            Repr::Small { .. } | Repr::Big(_) => Class::Finite,
            Repr::NegativeInfinity => Class::NegativeInfinity,
            Repr::PositiveInfinity => Class::PositiveInfinity,
            Repr::NaN => Class::NaN,
        }
    }

    /// The digits of a finite number; callers have handled the other classes.
    fn to_decimal(&self) -> Decimal {
        match &self.0 {
            Repr::Small { coefficient, scale } => {
                Decimal::from_coefficient(coefficient.get(), u32::from(*scale))
            }
            Repr::Big(decimal) => (**decimal).clone(),
            _ => Decimal::default(),
        }
    }

    /// Calls `f` with the digits, without allocating for the small form. `None` for NaN and infinities.
    pub(crate) fn with_digits<R>(&self, f: impl FnOnce(DigitsView<'_>) -> R) -> Option<R> {
        match &self.0 {
            Repr::Small { coefficient, scale } => {
                let coefficient = coefficient.get();
                let mut buffer = [0i16; decimal::SMALL_DIGITS];
                let scale = u32::from(*scale);
                let (start, end, weight) =
                    decimal::split_digits(coefficient.unsigned_abs(), scale, &mut buffer);
                let digits = &buffer[start..end];
                Some(f(DigitsView { negative: coefficient < 0, weight, scale, digits }))
            }
            Repr::Big(decimal) => Some(f(DigitsView {
                negative: decimal.negative,
                weight: decimal.weight,
                scale: decimal.scale,
                digits: &decimal.digits,
            })),
            _ => None,
        }
    }

    pub fn is_nan(&self) -> bool {
        matches!(self.0, Repr::NaN)
    }

    pub fn is_infinite(&self) -> bool {
        matches!(self.0, Repr::PositiveInfinity | Repr::NegativeInfinity)
    }

    pub fn is_finite(&self) -> bool {
        self.class() == Class::Finite
    }

    pub fn is_zero(&self) -> bool {
        match &self.0 {
            Repr::Small { coefficient, .. } => coefficient.get() == 0,
            Repr::Big(decimal) => decimal.is_zero(),
            _ => false,
        }
    }

    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Repr::Small { coefficient, .. } => coefficient.get() < 0,
            Repr::Big(decimal) => decimal.negative,
            Repr::NegativeInfinity => true,
            _ => false,
        }
    }

    /// SQL order: −Infinity, finite numbers by value, Infinity, NaN (equal to itself).
    pub fn compare(&self, other: &Self) -> Ordering {
        if let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
        {
            let (left, right) = (left.get(), right.get());
            if left_scale == right_scale {
                return left.cmp(&right);
            }
            if left.signum() != right.signum() {
                return left.signum().cmp(&right.signum());
            }
            let difference = usize::from(left_scale.abs_diff(*right_scale));
            let aligned = if left_scale < right_scale {
                left.checked_mul(POW10[difference]).map(|left| left.cmp(&right))
            } else {
                right.checked_mul(POW10[difference]).map(|right| left.cmp(&right))
            };
            // The one that cannot be aligned has the larger magnitude.
            return aligned.unwrap_or_else(|| {
                let larger = if left_scale < right_scale { Ordering::Greater } else { Ordering::Less };
                if left < 0 { larger.reverse() } else { larger }
            });
        }
        match self.class().cmp(&other.class()) {
            Ordering::Equal if self.is_finite() => self.to_decimal().compare(&other.to_decimal()),
            order => order,
        }
    }

    /// Feeds a hasher so that values equal under [`Numeric::compare`] hash alike, whatever their scale.
    pub fn hash_value(&self, state: &mut impl Hasher) {
        let hashed = self.with_digits(|view| {
            state.write_u8(u8::from(view.negative));
            if !view.digits.is_empty() {
                view.weight.hash(state);
            }
            view.digits.hash(state);
        });
        if hashed.is_none() {
            state.write_u8(2 + self.class() as u8);
        }
    }

    /// The display scale; `None` for NaN and infinities.
    pub fn scale(&self) -> Option<i32> {
        self.with_digits(|view| view.scale as i32)
    }

    /// The smallest scale that loses nothing.
    pub fn min_scale(&self) -> Option<i32> {
        self.with_digits(|view| decimal::min_scale(&view))
    }

    /// The same value with the smallest scale.
    #[must_use]
    pub fn trim_scale(&self) -> Self {
        match self.min_scale() {
            Some(scale) => self.round(scale).expect("dropping zeros cannot overflow"),
            None => self.clone(),
        }
    }
}

impl Default for Numeric {
    fn default() -> Self {
        Self::ZERO
    }
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}
