//! `+` and `-` of dates, times, timestamps and intervals; `*` and `/` of intervals.
//!
//! Months move the calendar month and cut the day at the month's end; days move local days, so that a timestamptz keeps
//! its local time over a change of daylight saving; microseconds move the instant.

use basalt_types::datetime::{
    MICROS_PER_DAY, TimeZone, is_valid_date, is_valid_timestamp, timestamp_difference,
    timestamp_minus_interval, timestamp_plus_interval, timestamptz_minus_interval, timestamptz_plus_interval,
};
use basalt_types::{Interval, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::cast::date_to_timestamp;
use crate::value::{Date, Time, Timestamp, TimestampTz};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "date_mi" => date_difference,
        "date_pli" => move_date,
        "date_mii" => |a: Date, days: i32| {
            if is_infinite_date(a) { Ok(a) } else { move_date(a, days.checked_neg().ok_or_else(date_out_of_range)?) }
        },
        "integer_pl_date" => |days: i32, a: Date| move_date(a, days),
        "date_pl_interval" => |a: Date, by: Interval| add_interval(date_to_timestamp(a)?, by),
        "date_mi_interval" => |a: Date, by: Interval| {
            timestamp_minus_interval(date_to_timestamp(a)?.0, &by).map(Timestamp)
        },
        "interval_pl_date" => |by: Interval, a: Date| add_interval(date_to_timestamp(a)?, by),
        "datetime_pl" => date_and_time,
        "timedate_pl" => |time: Time, date: Date| date_and_time(date, time),
        "time_pl_interval" => |a: Time, by: Interval| move_time(a, by.micros),
        "interval_pl_time" => |by: Interval, a: Time| move_time(a, by.micros),
        "time_mi_interval" => |a: Time, by: Interval| move_time(a, by.micros.wrapping_neg()),
        "time_mi_time" => |a: Time, b: Time| Interval::new(0, 0, a.0 - b.0),
    });
    scalars!(builder, {
        "timestamp_pl_interval" => add_interval,
        "timestamp_mi_interval" => |a: Timestamp, by: Interval| timestamp_minus_interval(a.0, &by).map(Timestamp),
        "interval_pl_timestamp" => |by: Interval, a: Timestamp| add_interval(a, by),
        "timestamp_mi" => |a: Timestamp, b: Timestamp| timestamp_difference(a.0, b.0),
        "timestamptz_mi" => |a: TimestampTz, b: TimestampTz| timestamp_difference(a.0, b.0),
    });
    call_scalars!(builder, {
        "timestamptz_pl_interval" => |call: &Call<'_>, a: TimestampTz, by: Interval| add_zoned(a, by, &call.context.io.time_zone),
        "interval_pl_timestamptz" => |call: &Call<'_>, by: Interval, a: TimestampTz| add_zoned(a, by, &call.context.io.time_zone),
        "timestamptz_mi_interval" => |call: &Call<'_>, a: TimestampTz, by: Interval| {
            timestamptz_minus_interval(a.0, &by, &call.context.io.time_zone).map(TimestampTz)
        },
    });
    scalars!(builder, {
        "interval_pl" => |a: Interval, b: Interval| a.checked_add(&b),
        "interval_mi" => |a: Interval, b: Interval| a.checked_sub(&b),
        "interval_um" => |a: Interval| a.checked_neg(),
        "interval_mul" => |a: Interval, factor: f64| a.checked_mul_f64(factor),
        "mul_d_interval" => |factor: f64, a: Interval| a.checked_mul_f64(factor),
        "interval_div" => |a: Interval, divisor: f64| a.checked_div_f64(divisor),
    });
}

#[cold]
pub fn timestamp_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

#[cold]
pub fn date_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")
}

pub fn is_infinite(micros: i64) -> bool {
    micros == i64::MAX || micros == i64::MIN
}

fn is_infinite_date(date: Date) -> bool {
    date.0 == i32::MAX || date.0 == i32::MIN
}

fn date_difference(a: Date, b: Date) -> Result<i32> {
    if is_infinite_date(a) || is_infinite_date(b) {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"));
    }
    Ok(a.0 - b.0)
}

fn move_date(date: Date, days: i32) -> Result<Date> {
    if is_infinite_date(date) {
        return Ok(date);
    }
    date.0.checked_add(days).filter(|days| is_valid_date(*days)).map(Date).ok_or_else(date_out_of_range)
}

pub fn date_and_time(date: Date, time: Time) -> Result<Timestamp> {
    let midnight = date_to_timestamp(date)?;
    if is_infinite(midnight.0) {
        return Ok(midnight);
    }
    midnight
        .0
        .checked_add(time.0)
        .filter(|micros| is_valid_timestamp(*micros))
        .map(Timestamp)
        .ok_or_else(timestamp_out_of_range)
}

pub fn move_time(time: Time, micros: i64) -> Time {
    Time((time.0 + micros % MICROS_PER_DAY).rem_euclid(MICROS_PER_DAY))
}

pub fn add_interval(timestamp: Timestamp, by: Interval) -> Result<Timestamp> {
    timestamp_plus_interval(timestamp.0, &by).map(Timestamp)
}

pub fn add_zoned(timestamp: TimestampTz, by: Interval, zone: &TimeZone) -> Result<TimestampTz> {
    timestamptz_plus_interval(timestamp.0, &by, zone).map(TimestampTz)
}
