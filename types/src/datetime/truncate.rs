//! `date_trunc`.

use super::calendar::{civil_from_days, days_from_civil};
use super::fields::DateTimeFields;
use super::{
    MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, TimeZone, is_infinite_timestamp,
    timestamp_to_timestamptz, timestamptz_to_timestamp,
};
use crate::{Interval, Result, SqlError, SqlState};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

/// A unit by any name that PostgreSQL takes.
pub(super) fn unit(name: &str) -> Option<Unit> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
            Unit::Microsecond
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
            Unit::Millisecond
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

pub(super) fn unrecognized(name: &str, type_name: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("unit \"{}\" not recognized for type {type_name}", name.to_ascii_lowercase()),
    )
}

pub(super) fn unsupported(name: &str, type_name: &str) -> SqlError {
    SqlError::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("unit \"{}\" not supported for type {type_name}", name.to_ascii_lowercase()),
    )
}

/// The first year of a period of `length` years that begins with year 1, 1 + length, …
fn period_start(year: i32, length: i32) -> i32 {
    if year > 0 {
        (year + length - 1) / length * length - (length - 1)
    } else {
        -((length - 1 - (year - 1)) / length) * length + 1
    }
}

fn truncate(local: i64, unit: Unit) -> Result<i64> {
    let step = |unit: i64| Ok(local.div_euclid(unit) * unit);
    let fields = DateTimeFields::from_timestamp(local);
    let start_of = |year: i32, month: u32| {
        DateTimeFields { year, month, day: 1, hour: 0, minute: 0, second: 0, micros: 0 }.to_timestamp()
    };
    match unit {
        Unit::Microsecond => Ok(local),
        Unit::Millisecond => step(1000),
        Unit::Second => step(MICROS_PER_SECOND),
        Unit::Minute => step(MICROS_PER_MINUTE),
        Unit::Hour => step(MICROS_PER_HOUR),
        Unit::Day => step(MICROS_PER_DAY),
        Unit::Week => {
            let days = local.div_euclid(MICROS_PER_DAY);
            let monday = days - (days + 5).rem_euclid(7);
            let (year, month, day) = civil_from_days(monday as i32);
            debug_assert_eq!(i64::from(days_from_civil(year, month, day)), monday);
            DateTimeFields { year, month, day, hour: 0, minute: 0, second: 0, micros: 0 }.to_timestamp()
        }
        Unit::Month => start_of(fields.year, fields.month),
        Unit::Quarter => start_of(fields.year, (fields.month - 1) / 3 * 3 + 1),
        Unit::Year => start_of(fields.year, 1),
        Unit::Decade => start_of(fields.year.div_euclid(10) * 10, 1),
        Unit::Century => start_of(period_start(fields.year, 100), 1),
        Unit::Millennium => start_of(period_start(fields.year, 1000), 1),
    }
}

pub fn date_trunc_timestamp(name: &str, timestamp: i64) -> Result<i64> {
    if is_infinite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    let unit = unit(name).ok_or_else(|| unrecognized(name, "timestamp without time zone"))?;
    truncate(timestamp, unit)
}

/// Truncates the local time in `zone`.
pub fn date_trunc_timestamptz(name: &str, instant: i64, zone: &TimeZone) -> Result<i64> {
    if is_infinite_timestamp(instant) {
        return Ok(instant);
    }
    let unit = unit(name).ok_or_else(|| unrecognized(name, "timestamp with time zone"))?;
    let local = timestamptz_to_timestamp(instant, zone)?;
    let truncated = truncate(local, unit)?;
    // Within a day the offset stays, so that the hour repeated in autumn is not moved.
    if matches!(unit, Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour) {
        return Ok(instant - (local - truncated));
    }
    timestamp_to_timestamptz(truncated, zone)
}

pub fn date_trunc_interval(name: &str, interval: &Interval) -> Result<Interval> {
    let unit = unit(name).ok_or_else(|| unrecognized(name, "interval"))?;
    let time = |step: i64| Interval { micros: interval.micros / step * step, ..*interval };
    let months = |step: i32| Interval { months: interval.months / step * step, days: 0, micros: 0 };
    Ok(match unit {
        Unit::Microsecond => *interval,
        Unit::Millisecond => time(1000),
        Unit::Second => time(MICROS_PER_SECOND),
        Unit::Minute => time(MICROS_PER_MINUTE),
        Unit::Hour => time(MICROS_PER_HOUR),
        Unit::Day => Interval { micros: 0, ..*interval },
        Unit::Week => {
            return Err(unsupported(name, "interval").with_detail("Months usually have fractional weeks."));
        }
        Unit::Month => months(1),
        Unit::Quarter => months(3),
        Unit::Year => months(12),
        Unit::Decade => months(120),
        Unit::Century => months(1200),
        Unit::Millennium => months(12_000),
    })
}
