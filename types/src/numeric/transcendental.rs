//! Square root, exponential and logarithms.
//!
//! The scale of each result comes from an estimate of its decimal weight, by PostgreSQL's rules, so that at least 16
//! significant digits show. The computation carries guard digits, and the result is rounded once.

use super::decimal::Decimal;
use super::rounding::clamp_display_scale;
use super::{Class, MIN_SIGNIFICANT_DIGITS, Numeric};
use crate::{Result, SqlError, SqlState};

/// PostgreSQL's NUMERIC_MAX_RESULT_SCALE.
pub(super) const MAX_RESULT_SCALE: i32 = 2000;

pub(super) fn invalid_logarithm(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message)
}

fn invalid_power(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

impl Decimal {
    pub fn from_i64(value: i64) -> Self {
        Self::from_coefficient(i128::from(value), 0)
    }

    /// The nearest double; overflow gives an infinity.
    pub fn to_f64(&self) -> f64 {
        let mut value = 0.0f64;
        for (index, &digit) in self.digits.iter().take(6).enumerate() {
            // Zero times an infinite power would be NaN.
            if digit == 0 {
                continue;
            }
            value += f64::from(digit) * 10f64.powi(4 * (self.weight - index as i32));
        }
        if self.negative { -value } else { value }
    }

    fn with_scale(mut self, scale: i32) -> Self {
        self.scale = scale.max(0) as u32;
        self
    }

    /// Decimal exponent of the first digit.
    fn decimal_weight(&self) -> i32 {
        self.digits.first().map_or(0, |&first| self.weight * 4 + first.ilog10() as i32)
    }

    /// The square root to `scale` decimals, rounded half up. Newton's iteration from a double's estimate, doubling the
    /// precision each time, then one exact correction.
    pub fn square_root(&self, scale: i32) -> Self {
        if self.is_zero() {
            return Self::default().with_scale(scale);
        }
        // The leading digits as mantissa × 10000^(2k), whose root has weight k.
        let even = self.weight.div_euclid(2) * 2;
        let mut scaled = self.clone();
        scaled.weight -= even;
        let estimate = Numeric::from_f64(scaled.to_f64().sqrt()).to_decimal();
        let mut root = estimate;
        root.weight += even / 2;
        let half = Self { negative: false, weight: -1, scale: 1, digits: vec![5000] };
        let target = scale + 6;
        // Digits correct so far, counted as a scale.
        let mut correct = 14 - 2 * even;
        loop {
            correct = (correct + even * 2 + 2).max(4) * 2 - even * 2 - 4;
            let working = (correct + 4).min(target).max(-4 * root.weight + 8);
            let quotient = self.divide(&root, working, true);
            root = root.add(&quotient).multiply_rounded(&half, working);
            if correct >= target {
                break;
            }
        }
        // Truncate, then settle the last digit exactly: root + ½ unit against the number.
        let mut truncated = root.clone();
        truncated.truncate(scale);
        let unit = unit_at(scale);
        while truncated.multiply(&truncated).compare(self).is_gt() {
            truncated = truncated.subtract(&unit);
        }
        let half_unit = unit.multiply(&half);
        loop {
            let middle = truncated.add(&half_unit);
            if middle.multiply(&middle).compare(self).is_gt() {
                break;
            }
            truncated = truncated.add(&unit);
        }
        truncated.scale = scale.max(0) as u32;
        truncated
    }

    /// e to the power of `self`, to `scale` decimals.
    pub fn exponential(&self, scale: i32) -> Result<Self> {
        let value = self.to_f64();
        if value.abs() >= f64::from(MAX_RESULT_SCALE * 3) {
            if value > 0.0 {
                return Err(super::overflow());
            }
            return Ok(Self { scale: scale.max(0) as u32, ..Self::default() });
        }
        let decimal_weight = (value * std::f64::consts::LOG10_E) as i32;
        // Halve the argument until it is small, and square as often afterwards.
        let mut halvings = 0;
        let mut reduced = self.clone();
        let mut magnitude = value.abs();
        while magnitude > 0.01 {
            halvings += 1;
            magnitude /= 2.0;
        }
        let digits = (1 + decimal_weight + scale + (f64::from(halvings) * 0.302) as i32).max(0) + 12;
        if halvings > 0 {
            let divisor = Self::from_i64(1 << halvings);
            reduced = reduced.divide(&divisor, digits + 4, true);
        }
        let mut sum = Self::one().add(&reduced);
        let mut term = reduced.clone();
        let mut index = 2;
        loop {
            term = term.multiply_rounded(&reduced, digits);
            term = term.divide(&Self::from_i64(index), digits, true);
            if term.is_zero() {
                break;
            }
            sum = sum.add(&term);
            index += 1;
        }
        for _ in 0..halvings {
            // Each squaring doubles the weight: keep the significant digits, not the decimals.
            let weight = 2 * sum.decimal_weight();
            sum = sum.multiply_rounded(&sum, (digits - weight).max(scale + 4).max(4));
        }
        sum.round(scale);
        Ok(sum)
    }

    /// The natural logarithm of a positive number, to `scale` decimals.
    pub fn natural_logarithm(&self, scale: i32) -> Self {
        // ln(m × 10000^w) = ln m + w ln 10000 keeps the cost independent of how large or small the number is.
        if self.weight.abs() > 4 {
            let working = scale.max(0) + 12;
            let mut mantissa = Self { weight: 0, ..self.clone() };
            mantissa.round(working + 4);
            let power = Self::from_i64(10_000).natural_logarithm(working + 6);
            let mut sum =
                mantissa.natural_logarithm(working).add(&power.multiply(&Self::from_i64(self.weight.into())));
            sum.round(scale);
            return sum;
        }
        let low = Self { negative: false, weight: -1, scale: 1, digits: vec![9000] };
        let high = Self { negative: false, weight: 0, scale: 1, digits: vec![1, 1000] };
        let mut reduced = self.clone();
        let mut factor = 2i64;
        // Roots bring the argument near 1, and the logarithm is multiplied back.
        let mut working = scale.max(0) + 12;
        let expected_roots =
            ((f64::from(self.decimal_weight().abs()) + 1.0) * 2.303 / 0.09).log2().max(0.0) as i32 + 2;
        working += (f64::from(expected_roots) * 0.302) as i32 + 2;
        while reduced.compare(&low).is_le() || reduced.compare(&high).is_ge() {
            // Small numbers need decimals according to their weight.
            let extra = (-reduced.decimal_weight()).max(0) / 2;
            reduced = reduced.square_root(working + extra);
            factor *= 2;
        }
        // ln x = 2 · artanh((x − 1) / (x + 1)) = 2 (z + z³/3 + z⁵/5 + …)
        let one = Self::one();
        let z = reduced.subtract(&one).divide(&reduced.add(&one), working, true);
        let square = z.multiply_rounded(&z, working);
        let mut sum = z.clone();
        let mut power = z;
        let mut index = 3;
        loop {
            power = power.multiply_rounded(&square, working);
            let term = power.divide(&Self::from_i64(index), working, true);
            if term.is_zero() {
                break;
            }
            sum = sum.add(&term);
            index += 2;
        }
        sum.multiply_rounded(&Self::from_i64(factor), scale)
    }
}

/// One unit in the last place of `scale` decimals.
fn unit_at(scale: i32) -> Decimal {
    let weight = (-scale).div_euclid(4);
    let digit = 10i16.pow((-scale).rem_euclid(4) as u32);
    Decimal { negative: false, weight, scale: scale.max(0) as u32, digits: vec![digit] }
}

/// The decimal weight of ln(value), roughly.
pub(super) fn estimate_logarithm_weight(value: &Decimal) -> i32 {
    let number = value.to_f64();
    if (0.9..=1.1).contains(&number) {
        // ln(1 + x) ≈ x
        let difference = value.subtract(&Decimal::one());
        return difference.decimal_weight();
    }
    let Some(&first) = value.digits.first() else { return 0 };
    let (mut digits, mut weight) = (f64::from(first), value.weight * 4);
    if let Some(&second) = value.digits.get(1) {
        digits = digits * 10_000.0 + f64::from(second);
        weight -= 4;
    }
    let logarithm = digits.ln() + f64::from(weight) * std::f64::consts::LN_10;
    logarithm.abs().log10() as i32
}

impl Numeric {
    /// The root of a finite number that is not negative, rounded once.
    pub fn sqrt_at_scale(&self, scale: i32) -> Result<Self> {
        Self::from_decimal(self.to_decimal().square_root(scale))
    }

    pub fn sqrt(&self) -> Result<Self> {
        if self.is_negative() {
            return Err(invalid_power("cannot take square root of a negative number"));
        }
        if self.class() != Class::Finite {
            return Ok(self.clone());
        }
        let decimal = self.to_decimal();
        // Decimal digits of the root before the point, roughly.
        let root_weight = (decimal.weight + 1) * 4 / 2 - 1;
        let scale = clamp_display_scale((MIN_SIGNIFICANT_DIGITS - root_weight).max(decimal.scale as i32));
        Self::from_decimal(decimal.square_root(scale))
    }

    pub fn exp(&self) -> Result<Self> {
        match self.class() {
            Class::NegativeInfinity => return Ok(Self::ZERO),
            Class::PositiveInfinity | Class::NaN => return Ok(self.clone()),
            Class::Finite => {}
        }
        let decimal = self.to_decimal();
        let limit = f64::from(MAX_RESULT_SCALE);
        let weight = (decimal.to_f64() * std::f64::consts::LOG10_E).clamp(-limit, limit) as i32;
        let scale = clamp_display_scale((MIN_SIGNIFICANT_DIGITS - weight).max(decimal.scale as i32));
        Self::from_decimal(decimal.exponential(scale)?)
    }

    fn check_logarithm(&self) -> Result<()> {
        if self.is_negative() {
            return Err(invalid_logarithm("cannot take logarithm of a negative number"));
        }
        if self.is_zero() {
            return Err(invalid_logarithm("cannot take logarithm of zero"));
        }
        Ok(())
    }

    pub fn ln(&self) -> Result<Self> {
        if self.is_nan() {
            return Ok(Self::NAN);
        }
        self.check_logarithm()?;
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let decimal = self.to_decimal();
        let weight = estimate_logarithm_weight(&decimal);
        let scale = clamp_display_scale((MIN_SIGNIFICANT_DIGITS - weight).max(decimal.scale as i32));
        Self::from_decimal(decimal.natural_logarithm(scale))
    }

    /// Logarithm of `self` to `base`.
    pub fn log(&self, base: &Self) -> Result<Self> {
        if self.is_nan() || base.is_nan() {
            return Ok(Self::NAN);
        }
        base.check_logarithm()?;
        self.check_logarithm()?;
        match (base.is_infinite(), self.is_infinite()) {
            (true, true) => return Ok(Self::NAN),
            (true, false) => return Ok(Self::ZERO),
            (false, true) => return Ok(Self::INFINITY),
            (false, false) => {}
        }
        let (number, base) = (self.to_decimal(), base.to_decimal());
        let (number_weight, base_weight) =
            (estimate_logarithm_weight(&number), estimate_logarithm_weight(&base));
        let weight = number_weight - base_weight;
        let scale = clamp_display_scale(
            (MIN_SIGNIFICANT_DIGITS - weight).max(number.scale as i32).max(base.scale as i32),
        );
        let base_scale = (scale + weight - base_weight + 8).max(0);
        let number_scale = (scale + weight - number_weight + 8).max(0);
        let divisor = base.natural_logarithm(base_scale);
        if divisor.is_zero() {
            return Err(SqlError::division_by_zero());
        }
        let quotient = number.natural_logarithm(number_scale).divide(&divisor, scale, true);
        Self::from_decimal(quotient)
    }
}
