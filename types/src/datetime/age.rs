//! Differences between timestamps.

use super::calendar::days_in_month;
use super::fields::DateTimeFields;
use super::{MICROS_PER_DAY, is_infinite_timestamp, timestamp_out_of_range};
use crate::{Interval, Result, SqlError, SqlState};

/// `timestamp − timestamp`: days and time.
pub fn timestamp_difference(left: i64, right: i64) -> Result<Interval> {
    if is_infinite_timestamp(left) || is_infinite_timestamp(right) {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    let micros = left
        .checked_sub(right)
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
    Interval { months: 0, days: 0, micros }.justify_hours()
}

/// `age(left, right)`: years, months, days and time by the calendar. Both are local times. An infinity is refused
/// (PostgreSQL 15 takes its bit pattern for a year; later versions have infinite intervals).
pub fn age(left: i64, right: i64) -> Result<Interval> {
    if is_infinite_timestamp(left) || is_infinite_timestamp(right) {
        return Err(timestamp_out_of_range());
    }
    let (first, second) = (DateTimeFields::from_timestamp(left), DateTimeFields::from_timestamp(right));
    let is_negative = left < right;
    let (later, earlier) = if is_negative { (second, first) } else { (first, second) };
    let mut micros = later.time_of_day() - earlier.time_of_day();
    let mut days = later.day as i32 - earlier.day as i32;
    let mut months = (later.year - earlier.year) * 12 + later.month as i32 - earlier.month as i32;
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    // A month borrowed has the length of the earlier one's month.
    while days < 0 {
        days += days_in_month(earlier.year, earlier.month) as i32;
        months -= 1;
    }
    let interval = Interval { months, days, micros };
    if is_negative { interval.checked_neg() } else { Ok(interval) }
}
