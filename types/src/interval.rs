//! `interval`: months, days and microseconds kept apart, as in PostgreSQL.

use std::cmp::Ordering;
use std::hash::Hash;

use crate::datetime::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE};
use crate::io::round_micros;
use crate::{Result, SqlError, SqlState};

/// A span of time. Equality here is structural; SQL compares 1 month as 30 days and 1 day as 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

fn out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

impl Interval {
    pub fn new(months: i32, days: i32, micros: i64) -> Self {
        Self { months, days, micros }
    }

    /// Total microseconds with 30-day months and 24-hour days: what SQL compares.
    pub fn comparable(&self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * i128::from(MICROS_PER_DAY) + i128::from(self.micros)
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        self.comparable().cmp(&other.comparable())
    }

    pub fn hash_value(&self, state: &mut impl std::hash::Hasher) {
        self.comparable().hash(state);
    }

    pub fn checked_neg(&self) -> Result<Self> {
        Ok(Self {
            months: self.months.checked_neg().ok_or_else(out_of_range)?,
            days: self.days.checked_neg().ok_or_else(out_of_range)?,
            micros: self.micros.checked_neg().ok_or_else(out_of_range)?,
        })
    }

    pub fn checked_add(&self, other: &Self) -> Result<Self> {
        Ok(Self {
            months: self.months.checked_add(other.months).ok_or_else(out_of_range)?,
            days: self.days.checked_add(other.days).ok_or_else(out_of_range)?,
            micros: self.micros.checked_add(other.micros).ok_or_else(out_of_range)?,
        })
    }

    pub fn checked_sub(&self, other: &Self) -> Result<Self> {
        Ok(Self {
            months: self.months.checked_sub(other.months).ok_or_else(out_of_range)?,
            days: self.days.checked_sub(other.days).ok_or_else(out_of_range)?,
            micros: self.micros.checked_sub(other.micros).ok_or_else(out_of_range)?,
        })
    }

    /// `interval year to month`, `interval(p)`: drops what is below the last field and rounds the seconds.
    pub fn apply_typmod(&self, typmod: i32) -> Result<Self> {
        if typmod < 0 {
            return Ok(*self);
        }
        const YEAR: i32 = 1 << 2;
        const MONTH: i32 = 1 << 1;
        const DAY: i32 = 1 << 3;
        const HOUR: i32 = 1 << 10;
        const MINUTE: i32 = 1 << 11;
        const SECOND: i32 = 1 << 12;
        const ALL: i32 = 0x7fff;
        let range = (typmod >> 16) & ALL;
        let mut result = *self;
        if range != ALL {
            if range & (SECOND | MINUTE | HOUR) == 0 {
                result.micros = 0;
                if range & DAY == 0 {
                    result.days = 0;
                    if range & MONTH == 0 && range & YEAR != 0 {
                        result.months = result.months / 12 * 12;
                    }
                }
            } else if range & SECOND == 0 {
                let unit = if range & MINUTE == 0 { MICROS_PER_HOUR } else { MICROS_PER_MINUTE };
                result.micros = result.micros / unit * unit;
            }
        }
        result.micros = round_micros(result.micros, typmod & 0xffff);
        Ok(result)
    }
}
