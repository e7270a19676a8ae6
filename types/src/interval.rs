//! `interval`: months, days and microseconds kept apart, as in PostgreSQL.

use std::cmp::Ordering;
use std::hash::Hash;

use crate::datetime::MICROS_PER_DAY;
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

    /// `interval(p)`: rounds the seconds.
    pub fn apply_typmod(&self, typmod: i32) -> Result<Self> {
        if typmod < 0 {
            return Ok(*self);
        }
        Ok(Self { micros: round_micros(self.micros, typmod & 0xffff), ..*self })
    }
}
