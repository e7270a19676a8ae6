//! `+` and `-` of dates, times, timestamps and intervals; `*` and `/` of intervals.
//!
//! Months move the calendar month and cut the day at the month's end; days move local days, so that a timestamptz keeps
//! its local time over a change of daylight saving; microseconds move the instant.

use basalt_types::datetime::calendar::{civil_from_days, days_from_civil, days_in_month};
use basalt_types::datetime::{
    MICROS_PER_DAY, TimeZone, is_valid_date, is_valid_timestamp, timestamp_to_timestamptz,
    timestamptz_to_timestamp,
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
        "date_mii" => |a: Date, days: i32| move_date(a, days.checked_neg().ok_or_else(date_out_of_range)?),
        "integer_pl_date" => |days: i32, a: Date| move_date(a, days),
        "date_pl_interval" => |a: Date, by: Interval| add_interval(date_to_timestamp(a)?, by),
        "date_mi_interval" => |a: Date, by: Interval| add_interval(date_to_timestamp(a)?, by.checked_neg()?),
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
        "timestamp_mi_interval" => |a: Timestamp, by: Interval| add_interval(a, by.checked_neg()?),
        "interval_pl_timestamp" => |by: Interval, a: Timestamp| add_interval(a, by),
        "timestamp_mi" => |a: Timestamp, b: Timestamp| difference(a.0, b.0),
        "timestamptz_mi" => |a: TimestampTz, b: TimestampTz| difference(a.0, b.0),
    });
    call_scalars!(builder, {
        "timestamptz_pl_interval" => |call: &Call<'_>, a: TimestampTz, by: Interval| add_zoned(a, by, &call.context.io.time_zone),
        "interval_pl_timestamptz" => |call: &Call<'_>, by: Interval, a: TimestampTz| add_zoned(a, by, &call.context.io.time_zone),
        "timestamptz_mi_interval" => |call: &Call<'_>, a: TimestampTz, by: Interval| {
            add_zoned(a, by.checked_neg()?, &call.context.io.time_zone)
        },
    });
    scalars!(builder, {
        "interval_pl" => |a: Interval, b: Interval| a.checked_add(&b),
        "interval_mi" => |a: Interval, b: Interval| a.checked_sub(&b),
        "interval_um" => |a: Interval| a.checked_neg(),
        "interval_mul" => multiply_interval,
        "mul_d_interval" => |factor: f64, a: Interval| multiply_interval(a, factor),
        "interval_div" => divide_interval,
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

#[cold]
pub fn interval_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
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

fn date_and_time(date: Date, time: Time) -> Result<Timestamp> {
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

fn move_time(time: Time, micros: i64) -> Time {
    Time((time.0 + micros % MICROS_PER_DAY).rem_euclid(MICROS_PER_DAY))
}

/// Days and microseconds between two instants.
fn difference(a: i64, b: i64) -> Result<Interval> {
    if is_infinite(a) || is_infinite(b) {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    let micros = a.checked_sub(b).ok_or_else(interval_out_of_range)?;
    Ok(Interval::new(0, (micros / MICROS_PER_DAY) as i32, micros % MICROS_PER_DAY))
}

/// The day `months` later, at most the last of its month.
fn add_months(days: i32, months: i32) -> Result<i32> {
    let (year, month, day) = civil_from_days(days);
    let total = i64::from(year) * 12 + i64::from(month) - 1 + i64::from(months);
    let year = i32::try_from(total.div_euclid(12))
        .ok()
        .filter(|year| (-4714..=294_277).contains(year))
        .ok_or_else(timestamp_out_of_range)?;
    let month = total.rem_euclid(12) as u32 + 1;
    Ok(days_from_civil(year, month, day.min(days_in_month(year, month))))
}

/// Adds the months and days of an interval to a local time.
fn add_calendar(local: i64, by: Interval) -> Result<i64> {
    let (mut days, time) = (local.div_euclid(MICROS_PER_DAY) as i32, local.rem_euclid(MICROS_PER_DAY));
    if by.months != 0 {
        days = add_months(days, by.months)?;
    }
    days.checked_add(by.days)
        .and_then(|days| i64::from(days).checked_mul(MICROS_PER_DAY)?.checked_add(time))
        .filter(|micros| is_valid_timestamp(*micros))
        .ok_or_else(timestamp_out_of_range)
}

fn add_micros(micros: i64, by: i64) -> Result<i64> {
    micros.checked_add(by).filter(|micros| is_valid_timestamp(*micros)).ok_or_else(timestamp_out_of_range)
}

pub fn add_interval(timestamp: Timestamp, by: Interval) -> Result<Timestamp> {
    if is_infinite(timestamp.0) {
        return Ok(timestamp);
    }
    add_micros(add_calendar(timestamp.0, by)?, by.micros).map(Timestamp)
}

pub fn add_zoned(timestamp: TimestampTz, by: Interval, zone: &TimeZone) -> Result<TimestampTz> {
    if is_infinite(timestamp.0) {
        return Ok(timestamp);
    }
    let mut instant = timestamp.0;
    if by.months != 0 || by.days != 0 {
        let local = add_calendar(timestamptz_to_timestamp(instant, zone)?, by)?;
        instant = timestamp_to_timestamptz(local, zone)?;
    }
    add_micros(instant, by.micros).map(TimestampTz)
}

/// Rounds to microseconds of the unit, so that float noise does not become a second less.
fn round_to_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

/// `months`, `days` and `micros` are the interval's fields times a factor. Fractions of months become days of a 30-day
/// month, fractions of days become time.
fn scaled(months: f64, days: f64, micros: f64) -> Result<Interval> {
    let fits = |value: f64| value >= f64::from(i32::MIN) && value < -f64::from(i32::MIN);
    if !fits(months) || !fits(days) {
        return Err(interval_out_of_range());
    }
    let (whole_months, whole_days) = (months.trunc(), days.trunc());
    let month_days = round_to_micros((months - whole_months) * 30.0);
    let mut seconds = round_to_micros((days - whole_days + month_days - month_days.trunc()) * 86_400.0);
    let mut result_days = whole_days as i64;
    if seconds.abs() >= 86_400.0 {
        let carried = (seconds / 86_400.0).trunc();
        result_days += carried as i64;
        seconds -= carried * 86_400.0;
    }
    result_days += month_days as i64;
    let micros = (micros + seconds * 1e6).round_ties_even();
    if !(micros >= i64::MIN as f64 && micros < -(i64::MIN as f64)) {
        return Err(interval_out_of_range());
    }
    let days = i32::try_from(result_days).map_err(|_| interval_out_of_range())?;
    Ok(Interval::new(whole_months as i32, days, micros as i64))
}

pub fn multiply_interval(span: Interval, factor: f64) -> Result<Interval> {
    scaled(f64::from(span.months) * factor, f64::from(span.days) * factor, span.micros as f64 * factor)
}

pub fn divide_interval(span: Interval, divisor: f64) -> Result<Interval> {
    if divisor == 0.0 {
        return Err(SqlError::division_by_zero());
    }
    scaled(f64::from(span.months) / divisor, f64::from(span.days) / divisor, span.micros as f64 / divisor)
}
