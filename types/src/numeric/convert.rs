//! Conversions from and to integers and floats.

use super::{Class, Numeric, POW10, Repr};
use crate::{Result, SqlError, SqlState};

impl Numeric {
    pub fn from_i64(value: i64) -> Self {
        Self::small_unchecked(i128::from(value), 0)
    }

    pub fn from_i128(value: i128) -> Self {
        Self::from_scaled(value, 0).expect("39 digits are within the limits")
    }

    /// Keeps 15 significant digits, as the cast from double precision does.
    pub fn from_f64(value: f64) -> Self {
        Self::from_float(value, 14)
    }

    /// Keeps 6 significant digits, as the cast from real does.
    pub fn from_f32(value: f32) -> Self {
        Self::from_float(f64::from(value), 5)
    }

    fn from_float(value: f64, decimals: usize) -> Self {
        if value.is_nan() {
            return Self::NAN;
        }
        if value.is_infinite() {
            return Self::signed_infinity(value < 0.0);
        }
        let text = format!("{value:.decimals$e}");
        let (mantissa, exponent) = text.split_once('e').expect("scientific notation has an exponent");
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        Self::parse(&format!("{mantissa}e{exponent}")).expect("a float is within the limits")
    }

    /// Rounded half away from zero; `None` when out of range or not finite.
    fn to_rounded_i128(&self) -> Option<i128> {
        self.round(0).ok()?.to_scaled(0)
    }

    fn to_integer<T: TryFrom<i128>>(&self, type_name: &str) -> Result<T> {
        let refuse = |what: &str| {
            SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to {type_name}"))
        };
        match self.class() {
            Class::NaN => Err(refuse("NaN")),
            Class::PositiveInfinity | Class::NegativeInfinity => Err(refuse("infinity")),
            Class::Finite => self
                .to_rounded_i128()
                .and_then(|value| T::try_from(value).ok())
                .ok_or_else(|| SqlError::out_of_range(type_name)),
        }
    }

    pub fn to_i64(&self) -> Result<i64> {
        self.to_integer("bigint")
    }

    pub fn to_i32(&self) -> Result<i32> {
        self.to_integer("integer")
    }

    pub fn to_i16(&self) -> Result<i16> {
        self.to_integer("smallint")
    }

    /// The nearest double; beyond its range an infinity.
    pub fn to_f64_lossy(&self) -> f64 {
        match &self.0 {
            Repr::NaN => f64::NAN,
            Repr::PositiveInfinity => f64::INFINITY,
            Repr::NegativeInfinity => f64::NEG_INFINITY,
            // Both operands are exact, so the one division rounds correctly.
            Repr::Small { coefficient, scale }
                if *scale <= 22 && coefficient.get().unsigned_abs() < 1 << 53 =>
            {
                coefficient.get() as f64 / POW10[usize::from(*scale)] as f64
            }
            _ => self.to_string().parse().expect("numeric output is a valid float"),
        }
    }

    /// The cast to double precision.
    pub fn to_f64(&self) -> Result<f64> {
        let value = self.to_f64_lossy();
        if self.is_finite() && (value.is_infinite() || (value == 0.0 && !self.is_zero())) {
            return Err(self.float_out_of_range("double precision"));
        }
        Ok(value)
    }

    /// The cast to real.
    pub fn to_f32(&self) -> Result<f32> {
        if !self.is_finite() {
            return Ok(self.to_f64_lossy() as f32);
        }
        let value: f32 = self.to_string().parse().expect("numeric output is a valid float");
        if value.is_infinite() || (value == 0.0 && !self.is_zero()) {
            return Err(self.float_out_of_range("real"));
        }
        Ok(value)
    }

    fn float_out_of_range(&self, type_name: &str) -> SqlError {
        SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{self}\" is out of range for type {type_name}"),
        )
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Self::from_i64(value)
    }
}

impl From<i32> for Numeric {
    fn from(value: i32) -> Self {
        Self::from_i64(i64::from(value))
    }
}

impl From<i16> for Numeric {
    fn from(value: i16) -> Self {
        Self::from_i64(i64::from(value))
    }
}
