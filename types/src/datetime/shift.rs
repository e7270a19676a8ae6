//! Timestamps moved by intervals, and conversions between dates and timestamps.

use super::calendar::{civil_from_days, days_from_civil, days_in_month};
use super::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY,
    TimeZone, is_infinite_timestamp, is_valid_timestamp, timestamp_out_of_range, timestamp_to_timestamptz,
    timestamptz_to_timestamp,
};
use crate::{Interval, Result, SqlError, SqlState};

/// Months first (the day cut to the month's length), then days.
fn shift_calendar(local: i64, months: i32, days: i32) -> Result<i64> {
    let mut day_number = local.div_euclid(MICROS_PER_DAY);
    let time = local.rem_euclid(MICROS_PER_DAY);
    if months != 0 {
        let (year, month, day) = civil_from_days(day_number as i32);
        let total = i64::from(year) * 12 + i64::from(month) - 1 + i64::from(months);
        let year = total.div_euclid(12);
        if !(-4800..=300_000).contains(&year) {
            return Err(timestamp_out_of_range());
        }
        let (year, month) = (year as i32, total.rem_euclid(12) as u32 + 1);
        day_number = i64::from(days_from_civil(year, month, day.min(days_in_month(year, month))));
    }
    (day_number + i64::from(days))
        .checked_mul(MICROS_PER_DAY)
        .and_then(|micros| micros.checked_add(time))
        .filter(|micros| is_valid_timestamp(*micros))
        .ok_or_else(timestamp_out_of_range)
}

fn add_micros(timestamp: i64, micros: i64) -> Result<i64> {
    timestamp
        .checked_add(micros)
        .filter(|micros| is_valid_timestamp(*micros))
        .ok_or_else(timestamp_out_of_range)
}

pub fn timestamp_plus_interval(timestamp: i64, interval: &Interval) -> Result<i64> {
    if is_infinite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    let shifted = if interval.months != 0 || interval.days != 0 {
        shift_calendar(timestamp, interval.months, interval.days)?
    } else {
        timestamp
    };
    add_micros(shifted, interval.micros)
}

pub fn timestamp_minus_interval(timestamp: i64, interval: &Interval) -> Result<i64> {
    timestamp_plus_interval(timestamp, &interval.checked_neg()?)
}

/// Months and days move the local time in `zone`; the rest is elapsed time.
pub fn timestamptz_plus_interval(instant: i64, interval: &Interval, zone: &TimeZone) -> Result<i64> {
    if is_infinite_timestamp(instant) {
        return Ok(instant);
    }
    let mut shifted = instant;
    // Each step ends on a valid local time before the next begins.
    for (months, days) in [(interval.months, 0), (0, interval.days)] {
        if months != 0 || days != 0 {
            let local = timestamptz_to_timestamp(shifted, zone)?;
            shifted = timestamp_to_timestamptz(shift_calendar(local, months, days)?, zone)?;
        }
    }
    add_micros(shifted, interval.micros)
}

pub fn timestamptz_minus_interval(instant: i64, interval: &Interval, zone: &TimeZone) -> Result<i64> {
    timestamptz_plus_interval(instant, &interval.checked_neg()?, zone)
}

/// Midnight of a date.
pub fn date_to_timestamp(days: i32) -> Result<i64> {
    match days {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_NEGATIVE_INFINITY => Ok(TIMESTAMP_NEGATIVE_INFINITY),
        _ => i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .filter(|micros| is_valid_timestamp(*micros))
            .ok_or_else(|| {
                SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
            }),
    }
}

/// The date of a timestamp.
pub fn timestamp_to_date(timestamp: i64) -> i32 {
    match timestamp {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEGATIVE_INFINITY => DATE_NEGATIVE_INFINITY,
        _ => timestamp.div_euclid(MICROS_PER_DAY) as i32,
    }
}
