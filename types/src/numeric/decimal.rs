//! The large form: sign, weight, display scale and base-10,000 digits.

use std::cmp::Ordering;

use super::{DigitsView, POW10};

pub(super) const BASE: i32 = 10_000;
/// Base-10,000 digits that a 128-bit coefficient at any alignment can have.
pub(super) const SMALL_DIGITS: usize = 12;

/// `± Σ digits[i] × 10000^(weight − i)`. Normalised: no zero digit at either end; zero has no digits, weight 0 and no
/// sign. Digits beyond `scale` decimals are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decimal {
    pub negative: bool,
    pub weight: i32,
    pub scale: u32,
    pub digits: Vec<i16>,
}

/// Splits `coefficient × 10^-scale` into base-10,000 digits `buffer[start..end]`; returns (start, end, weight).
pub(super) fn split_digits(
    mut coefficient: u128,
    scale: u32,
    buffer: &mut [i16; SMALL_DIGITS],
) -> (usize, usize, i32) {
    if coefficient == 0 {
        return (0, 0, 0);
    }
    let mut end = SMALL_DIGITS;
    // Weight of the digit at index SMALL_DIGITS - 1.
    let lowest = -(scale.div_ceil(4) as i32);
    let mut start = SMALL_DIGITS;
    let partial = scale % 4;
    if partial != 0 {
        let modulus = POW10[partial as usize] as u128;
        start -= 1;
        buffer[start] = (coefficient % modulus) as i16 * POW10[4 - partial as usize] as i16;
        coefficient /= modulus;
    }
    while coefficient > u128::from(u64::MAX) {
        start -= 1;
        buffer[start] = (coefficient % BASE as u128) as i16;
        coefficient /= BASE as u128;
    }
    let mut rest = coefficient as u64;
    while rest != 0 {
        start -= 1;
        buffer[start] = (rest % BASE as u64) as i16;
        rest /= BASE as u64;
    }
    while buffer[start] == 0 {
        start += 1;
    }
    let weight = lowest + (SMALL_DIGITS - 1 - start) as i32;
    while buffer[end - 1] == 0 {
        end -= 1;
    }
    (start, end, weight)
}

/// The number of decimals that the digits need.
pub(super) fn min_scale(view: &DigitsView<'_>) -> i32 {
    let Some(&last) = view.digits.last() else { return 0 };
    let mut scale = (view.digits.len() as i32 - 1 - view.weight) * 4;
    let mut last = last;
    while scale > 0 && last % 10 == 0 {
        last /= 10;
        scale -= 1;
    }
    scale.max(0)
}

impl Decimal {
    pub fn from_coefficient(coefficient: i128, scale: u32) -> Self {
        let mut buffer = [0; SMALL_DIGITS];
        let (start, end, weight) = split_digits(coefficient.unsigned_abs(), scale, &mut buffer);
        Self { negative: coefficient < 0, weight, scale, digits: buffer[start..end].to_vec() }
    }

    pub fn one() -> Self {
        Self { negative: false, weight: 0, scale: 0, digits: vec![1] }
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// `|value| × 10^scale` with the sign, when it fits and nothing is lost.
    pub fn coefficient(&self, scale: u32) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        if self.weight > 10 || self.weight < -11 {
            return None;
        }
        let mut total = 0i128;
        for (index, &digit) in self.digits.iter().enumerate() {
            let exponent = 4 * (i64::from(self.weight) - index as i64) + i64::from(scale);
            let term = if exponent >= 0 {
                i128::from(digit).checked_mul(*POW10.get(usize::try_from(exponent).ok()?)?)?
            } else {
                let factor = *POW10.get(usize::try_from(-exponent).ok()?)?;
                if i128::from(digit) % factor != 0 {
                    return None;
                }
                i128::from(digit) / factor
            };
            total = total.checked_add(term)?;
        }
        Some(if self.negative { -total } else { total })
    }

    pub fn normalize(&mut self) {
        let leading = self.digits.iter().take_while(|&&digit| digit == 0).count();
        if leading > 0 {
            self.digits.drain(..leading);
            self.weight -= leading as i32;
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.weight = 0;
            self.negative = false;
        }
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return if other.negative { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if self.negative { Ordering::Less } else { Ordering::Greater },
            _ => {}
        }
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_magnitude(other),
            (true, true) => other.compare_magnitude(self),
        }
    }

    /// Order of the absolute values. Normalised digits compare as sequences once the weights agree.
    pub fn compare_magnitude(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => self.weight.cmp(&other.weight).then_with(|| self.digits.cmp(&other.digits)),
        }
    }

    pub fn negated(mut self) -> Self {
        self.negative = !self.negative && !self.is_zero();
        self
    }

    pub fn add(&self, other: &Self) -> Self {
        let scale = self.scale.max(other.scale);
        let mut result = if self.negative == other.negative {
            let mut sum = add_magnitudes(self, other);
            sum.negative = self.negative;
            sum
        } else {
            match self.compare_magnitude(other) {
                Ordering::Equal => Self::default(),
                Ordering::Greater => {
                    let mut difference = subtract_magnitudes(self, other);
                    difference.negative = self.negative;
                    difference
                }
                Ordering::Less => {
                    let mut difference = subtract_magnitudes(other, self);
                    difference.negative = other.negative;
                    difference
                }
            }
        };
        result.normalize();
        result.scale = scale;
        result
    }

    pub fn subtract(&self, other: &Self) -> Self {
        self.add(&other.clone().negated())
    }

    /// The exact product; its scale is the sum of the scales.
    pub fn multiply(&self, other: &Self) -> Self {
        let scale = self.scale + other.scale;
        if self.is_zero() || other.is_zero() {
            return Self { scale, ..Self::default() };
        }
        let mut accumulators = vec![0u64; self.digits.len() + other.digits.len()];
        for (i, &left) in self.digits.iter().enumerate() {
            if left == 0 {
                continue;
            }
            for (slot, &right) in accumulators[i + 1..].iter_mut().zip(&other.digits) {
                *slot += left as u64 * right as u64;
            }
        }
        let mut carry = 0;
        let mut digits = vec![0i16; accumulators.len()];
        for (digit, slot) in digits.iter_mut().zip(&accumulators).rev() {
            let value = slot + carry;
            *digit = (value % BASE as u64) as i16;
            carry = value / BASE as u64;
        }
        let mut result = Self {
            negative: self.negative != other.negative,
            weight: self.weight + other.weight + 1,
            scale,
            digits,
        };
        result.normalize();
        result
    }

    /// The product rounded to `scale` decimals.
    pub fn multiply_rounded(&self, other: &Self, scale: i32) -> Self {
        let mut product = self.multiply(other);
        product.round(scale);
        product
    }
}

/// The digits of `a` and `b` over a common span of weights: (highest weight, lowest weight).
fn span(a: &Decimal, b: &Decimal) -> (i32, i32) {
    let low = |d: &Decimal| d.weight - d.digits.len() as i32 + 1;
    match (a.is_zero(), b.is_zero()) {
        (true, _) => (b.weight, low(b)),
        (_, true) => (a.weight, low(a)),
        _ => (a.weight.max(b.weight), low(a).min(low(b))),
    }
}

fn digit_at(decimal: &Decimal, weight: i32) -> i32 {
    let index = decimal.weight - weight;
    if index < 0 { 0 } else { decimal.digits.get(index as usize).map_or(0, |&digit| i32::from(digit)) }
}

fn add_magnitudes(a: &Decimal, b: &Decimal) -> Decimal {
    let (high, low) = span(a, b);
    let length = (high - low + 2) as usize;
    let mut digits = vec![0i16; length];
    let mut carry = 0;
    for (offset, slot) in digits.iter_mut().rev().enumerate() {
        let weight = low + offset as i32;
        let value = digit_at(a, weight) + digit_at(b, weight) + carry;
        *slot = (value % BASE) as i16;
        carry = value / BASE;
    }
    Decimal { negative: false, weight: high + 1, scale: 0, digits }
}

/// `|a| − |b|` where |a| ≥ |b|.
fn subtract_magnitudes(a: &Decimal, b: &Decimal) -> Decimal {
    let (high, low) = span(a, b);
    let length = (high - low + 1) as usize;
    let mut digits = vec![0i16; length];
    let mut borrow = 0;
    for (offset, slot) in digits.iter_mut().rev().enumerate() {
        let weight = low + offset as i32;
        let mut value = digit_at(a, weight) - digit_at(b, weight) - borrow;
        borrow = i32::from(value < 0);
        value += borrow * BASE;
        *slot = value as i16;
    }
    Decimal { negative: false, weight: high, scale: 0, digits }
}
