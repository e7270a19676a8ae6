//! Rounding half away from zero, and truncation, at any decimal position.

use super::decimal::{BASE, Decimal};
use super::{MAX_DISPLAY_SCALE, Numeric, POW10, Repr, SMALL_SCALE_MAX};
use crate::Result;

impl Decimal {
    /// Rounds half away from zero to `scale` decimals (negative: to the left of the point). The resulting display
    /// scale is `scale`, at least 0.
    pub fn round(&mut self, scale: i32) {
        self.cut(scale, true);
    }

    pub fn truncate(&mut self, scale: i32) {
        self.cut(scale, false);
    }

    fn cut(&mut self, scale: i32, round: bool) {
        self.scale = scale.max(0) as u32;
        if self.digits.is_empty() {
            return;
        }
        // Decimal digits kept, counted from the first base digit.
        let kept = (i64::from(self.weight) + 1) * 4 + i64::from(scale);
        if kept < 0 {
            self.digits.clear();
            self.normalize();
            return;
        }
        let whole = (kept / 4) as usize;
        let partial = (kept % 4) as u32;
        if whole >= self.digits.len() {
            return;
        }
        let unit = 10i32.pow(4 - partial);
        let cut_digit = i32::from(self.digits[whole]);
        let below = if partial == 0 { cut_digit } else { cut_digit % unit };
        let carry = round && below >= if partial == 0 { BASE / 2 } else { unit / 2 };
        if partial == 0 {
            self.digits.truncate(whole);
        } else {
            self.digits.truncate(whole + 1);
            self.digits[whole] -= below as i16;
        }
        if carry {
            let mut amount = if partial == 0 { 1 } else { unit };
            let mut index = self.digits.len();
            while amount != 0 {
                if index == 0 {
                    self.digits.insert(0, 1);
                    self.weight += 1;
                    break;
                }
                index -= 1;
                let value = i32::from(self.digits[index]) + amount;
                self.digits[index] = (value % BASE) as i16;
                amount = value / BASE;
            }
        }
        self.normalize();
    }
}

impl Numeric {
    /// `round(numeric, int)`: half away from zero.
    pub fn round(&self, scale: i32) -> Result<Self> {
        self.cut(scale, true)
    }

    /// `trunc(numeric, int)`.
    pub fn trunc(&self, scale: i32) -> Result<Self> {
        self.cut(scale, false)
    }

    fn cut(&self, scale: i32, round: bool) -> Result<Self> {
        let scale = scale.clamp(-2000, super::MAX_SCALE);
        match &self.0 {
            Repr::Small { coefficient, scale: own } if (0..=SMALL_SCALE_MAX as i32).contains(&scale) => {
                let (coefficient, own) = (coefficient.get(), i32::from(*own));
                if scale >= own {
                    let grown = coefficient.checked_mul(POW10[(scale - own) as usize]);
                    if let Some(result) = grown.and_then(|value| Self::small(value, scale as u32)) {
                        return Ok(result);
                    }
                } else {
                    let value = divide_small(coefficient, POW10[(own - scale) as usize], round);
                    if let Some(result) = Self::small(value, scale as u32) {
                        return Ok(result);
                    }
                }
                self.cut_decimal(scale, round)
            }
            Repr::Small { .. } | Repr::Big(_) => self.cut_decimal(scale, round),
            _ => Ok(self.clone()),
        }
    }

    fn cut_decimal(&self, scale: i32, round: bool) -> Result<Self> {
        let mut decimal = self.to_decimal();
        decimal.cut(scale, round);
        Self::from_decimal(decimal)
    }

    /// The smallest integer not below.
    pub fn ceil(&self) -> Result<Self> {
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let truncated = self.trunc(0)?;
        if !self.is_negative() && truncated.compare(self).is_ne() {
            return truncated.add(&Self::ONE);
        }
        Ok(truncated)
    }

    /// The largest integer not above.
    pub fn floor(&self) -> Result<Self> {
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let truncated = self.trunc(0)?;
        if self.is_negative() && truncated.compare(self).is_ne() {
            return truncated.sub(&Self::ONE);
        }
        Ok(truncated)
    }
}

/// `value / divisor`, rounded half away from zero or truncated. `divisor` is positive.
pub(super) fn divide_small(value: i128, divisor: i128, round: bool) -> i128 {
    let (quotient, remainder) = (value / divisor, value % divisor);
    if round && remainder.unsigned_abs() >= (divisor as u128).div_ceil(2) {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// A result's scale, kept within the displayable range.
pub(super) fn clamp_display_scale(scale: i32) -> i32 {
    scale.clamp(0, MAX_DISPLAY_SCALE)
}
