//! Sums, products and signs. The scale of a sum is the larger one, that of a product the sum of both.

use super::{Class, MAX_SCALE, Numeric, POW10, Repr};
use crate::Result;

impl Numeric {
    pub fn add(&self, other: &Self) -> Result<Self> {
        if let Some(result) = self.add_small(other, false) {
            return Ok(result);
        }
        match (self.class(), other.class()) {
            (Class::Finite, Class::Finite) => Self::from_decimal(self.to_decimal().add(&other.to_decimal())),
            (Class::NaN, _) | (_, Class::NaN) => Ok(Self::NAN),
            (Class::PositiveInfinity, Class::NegativeInfinity)
            | (Class::NegativeInfinity, Class::PositiveInfinity) => Ok(Self::NAN),
            (Class::Finite, _) => Ok(other.clone()),
            _ => Ok(self.clone()),
        }
    }

    pub fn sub(&self, other: &Self) -> Result<Self> {
        if let Some(result) = self.add_small(other, true) {
            return Ok(result);
        }
        self.add(&other.neg())
    }

    /// Both in the small form and the result too.
    fn add_small(&self, other: &Self, subtract: bool) -> Option<Self> {
        let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
        else {
            return None;
        };
        let (mut left, mut right) = (left.get(), right.get());
        if left_scale < right_scale {
            left = left.checked_mul(POW10[usize::from(right_scale - left_scale)])?;
        } else if right_scale < left_scale {
            right = right.checked_mul(POW10[usize::from(left_scale - right_scale)])?;
        }
        let sum = if subtract { left.checked_sub(right)? } else { left.checked_add(right)? };
        Self::small(sum, u32::from(*left_scale.max(right_scale)))
    }

    pub fn mul(&self, other: &Self) -> Result<Self> {
        if let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
            && let Some(product) = left.get().checked_mul(right.get())
            && let Some(result) = Self::small(product, u32::from(*left_scale) + u32::from(*right_scale))
        {
            return Ok(result);
        }
        match (self.class(), other.class()) {
            (Class::Finite, Class::Finite) => {
                let mut product = self.to_decimal().multiply(&other.to_decimal());
                if product.scale as i32 > MAX_SCALE {
                    product.round(MAX_SCALE);
                }
                Self::from_decimal(product)
            }
            (Class::NaN, _) | (_, Class::NaN) => Ok(Self::NAN),
            _ if self.is_zero() || other.is_zero() => Ok(Self::NAN),
            _ => Ok(Self::signed_infinity(self.is_negative() != other.is_negative())),
        }
    }

    #[must_use]
    pub fn neg(&self) -> Self {
        match &self.0 {
            Repr::Small { coefficient, scale } => {
                Self::small_unchecked(-coefficient.get(), u32::from(*scale))
            }
            Repr::Big(decimal) => Self(Repr::Big(std::sync::Arc::new((**decimal).clone().negated()))),
            Repr::PositiveInfinity => Self::NEGATIVE_INFINITY,
            Repr::NegativeInfinity => Self::INFINITY,
            Repr::NaN => Self::NAN,
        }
    }

    #[must_use]
    pub fn abs(&self) -> Self {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    /// −1, 0 or 1; NaN for NaN.
    #[must_use]
    pub fn sign(&self) -> Self {
        if self.is_nan() {
            Self::NAN
        } else if self.is_zero() {
            Self::ZERO
        } else if self.is_negative() {
            Self::small_unchecked(-1, 0)
        } else {
            Self::ONE
        }
    }

    pub(super) fn signed_infinity(negative: bool) -> Self {
        if negative { Self::NEGATIVE_INFINITY } else { Self::INFINITY }
    }
}
