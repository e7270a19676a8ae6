//! Arithmetic of intervals with numbers, and normalisation.

use super::{MICROS_PER_DAY, interval_out_of_range};
use crate::{Interval, Result, SqlError};

const DAYS_PER_MONTH: i32 = 30;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// To the microsecond, against noise of floating-point remainders.
fn round_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

fn to_i32(value: f64) -> Result<i32> {
    if value.is_nan() || value >= i32::MAX as f64 + 1.0 || value < i32::MIN as f64 {
        Err(interval_out_of_range())
    } else {
        Ok(value as i32)
    }
}

fn to_i64(value: f64) -> Result<i64> {
    if value.is_nan() || value >= i64::MAX as f64 || value < i64::MIN as f64 {
        Err(interval_out_of_range())
    } else {
        Ok(value as i64)
    }
}

impl Interval {
    /// `interval * double precision`: fractions of months become days, of days become time.
    pub fn checked_mul_f64(&self, factor: f64) -> Result<Self> {
        self.scale_by(|value| value * factor)
    }

    /// `interval / double precision`.
    pub fn checked_div_f64(&self, divisor: f64) -> Result<Self> {
        if divisor == 0.0 {
            return Err(SqlError::division_by_zero());
        }
        self.scale_by(|value| value / divisor)
    }

    fn scale_by(&self, apply: impl Fn(f64) -> f64) -> Result<Self> {
        let exact_months = apply(f64::from(self.months));
        let exact_days = apply(f64::from(self.days));
        let months = to_i32(exact_months)?;
        let mut days = to_i32(exact_days)?;
        let month_remainder = round_micros((exact_months - f64::from(months)) * f64::from(DAYS_PER_MONTH));
        let mut seconds = round_micros(
            (exact_days - f64::from(days) + month_remainder - month_remainder.trunc()) * SECONDS_PER_DAY,
        );
        if seconds.abs() >= SECONDS_PER_DAY {
            let carried = (seconds / SECONDS_PER_DAY).trunc();
            days = days.checked_add(carried as i32).ok_or_else(interval_out_of_range)?;
            seconds -= carried * SECONDS_PER_DAY;
        }
        let days = days.checked_add(month_remainder as i32).ok_or_else(interval_out_of_range)?;
        let micros = to_i64((apply(self.micros as f64) + seconds * 1e6).round_ties_even())?;
        Ok(Self { months, days, micros })
    }

    /// Whole days of the time become days.
    pub fn justify_hours(&self) -> Result<Self> {
        let mut days = i64::from(self.days) + self.micros / MICROS_PER_DAY;
        let mut micros = self.micros % MICROS_PER_DAY;
        if days > 0 && micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= MICROS_PER_DAY;
            days += 1;
        }
        Ok(Self {
            months: self.months,
            days: i32::try_from(days).map_err(|_| interval_out_of_range())?,
            micros,
        })
    }

    /// 30 days become a month.
    pub fn justify_days(&self) -> Result<Self> {
        let mut months = i64::from(self.months) + i64::from(self.days / DAYS_PER_MONTH);
        let mut days = self.days % DAYS_PER_MONTH;
        if months > 0 && days < 0 {
            days += DAYS_PER_MONTH;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= DAYS_PER_MONTH;
            months += 1;
        }
        Ok(Self {
            months: i32::try_from(months).map_err(|_| interval_out_of_range())?,
            days,
            micros: self.micros,
        })
    }

    /// Both, with one sign throughout.
    pub fn justify_interval(&self) -> Result<Self> {
        let mut days = i64::from(self.days) + self.micros / MICROS_PER_DAY;
        let mut micros = self.micros % MICROS_PER_DAY;
        let mut months = i64::from(self.months) + days / i64::from(DAYS_PER_MONTH);
        days %= i64::from(DAYS_PER_MONTH);
        let month_days = i64::from(DAYS_PER_MONTH);
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            days += month_days;
            months -= 1;
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            days -= month_days;
            months += 1;
        }
        if days > 0 && micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= MICROS_PER_DAY;
            days += 1;
        }
        Ok(Self {
            months: i32::try_from(months).map_err(|_| interval_out_of_range())?,
            days: days as i32,
            micros,
        })
    }
}
