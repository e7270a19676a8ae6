//! `extract(field FROM value)`; `date_part` is the same as a double.

use super::calendar::{JULIAN_EPOCH, UNIX_EPOCH_DAYS, day_of_week, day_of_year, iso_week};
use super::fields::DateTimeFields;
use super::truncate::{Unit, unit, unrecognized, unsupported};
use super::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE,
    MICROS_PER_SECOND, TIMESTAMP_INFINITY, TimeZone, is_infinite_timestamp, timestamp_to_date,
    timestamptz_to_timestamp,
};
use crate::{Interval, Numeric, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Unit(Unit),
    Epoch,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Julian,
    Zone,
    ZoneHour,
    ZoneMinute,
}

fn field(name: &str) -> Option<Field> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "epoch" => Field::Epoch,
        "dow" => Field::DayOfWeek,
        "isodow" => Field::IsoDayOfWeek,
        "doy" => Field::DayOfYear,
        "isoyear" => Field::IsoYear,
        "julian" | "j" | "jd" => Field::Julian,
        "timezone" => Field::Zone,
        "timezone_hour" | "timezone_h" => Field::ZoneHour,
        "timezone_minute" | "timezone_m" => Field::ZoneMinute,
        _ => Field::Unit(unit(&lower)?),
    })
}

fn integer(value: impl Into<i64>) -> Numeric {
    Numeric::from_i64(value.into())
}

fn scaled(value: i64, scale: u32) -> Numeric {
    Numeric::from_scaled(i128::from(value), scale).expect("an i64 with a small scale is within the limits")
}

/// BC years are counted without a year zero.
fn shown_year(year: i32) -> i32 {
    if year > 0 { year } else { year - 1 }
}

fn period(year: i32, length: i32) -> i32 {
    if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) }
}

/// Of an infinite value only what grows with it is known.
fn of_infinity(field: Field, is_positive: bool) -> Option<Numeric> {
    let grows = matches!(
        field,
        Field::Epoch
            | Field::IsoYear
            | Field::Julian
            | Field::Unit(Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium)
    );
    grows.then_some(if is_positive { Numeric::INFINITY } else { Numeric::NEGATIVE_INFINITY })
}

/// Fields of a local time that need no zone and no epoch.
fn of_local(field: Field, local: i64) -> Result<Option<Numeric>> {
    let fields = DateTimeFields::from_timestamp(local);
    let days = timestamp_to_date(local);
    let within_minute = i64::from(fields.second) * MICROS_PER_SECOND + i64::from(fields.micros);
    Ok(Some(match field {
        Field::Unit(unit) => match unit {
            Unit::Microsecond => integer(within_minute),
            Unit::Millisecond => scaled(within_minute, 3),
            Unit::Second => scaled(within_minute, 6),
            Unit::Minute => integer(fields.minute),
            Unit::Hour => integer(fields.hour),
            Unit::Day => integer(fields.day),
            Unit::Week => integer(iso_week(days).1),
            Unit::Month => integer(fields.month),
            Unit::Quarter => integer((fields.month - 1) / 3 + 1),
            Unit::Year => integer(shown_year(fields.year)),
            Unit::Decade => integer(fields.year.div_euclid(10)),
            Unit::Century => integer(period(fields.year, 100)),
            Unit::Millennium => integer(period(fields.year, 1000)),
        },
        Field::DayOfWeek => integer(day_of_week(days)),
        Field::IsoDayOfWeek => integer((day_of_week(days) + 6) % 7 + 1),
        Field::DayOfYear => integer(day_of_year(days)),
        Field::IsoYear => integer(shown_year(iso_week(days).0)),
        Field::Julian => {
            let fraction = integer(fields.time_of_day()).div(&integer(MICROS_PER_DAY))?;
            integer(i64::from(days) + i64::from(JULIAN_EPOCH)).add(&fraction)?
        }
        Field::Epoch | Field::Zone | Field::ZoneHour | Field::ZoneMinute => return Ok(None),
    }))
}

fn epoch(micros: i64) -> Result<Numeric> {
    let shift = i128::from(UNIX_EPOCH_DAYS) * i128::from(MICROS_PER_DAY);
    Numeric::from_scaled(i128::from(micros) + shift, 6)
}

/// `extract` from timestamp; SQL NULL is `None`.
pub fn extract_timestamp(name: &str, timestamp: i64) -> Result<Option<Numeric>> {
    const TYPE: &str = "timestamp without time zone";
    let field = field(name).ok_or_else(|| unrecognized(name, TYPE))?;
    if is_infinite_timestamp(timestamp) {
        return Ok(of_infinity(field, timestamp == TIMESTAMP_INFINITY));
    }
    if matches!(field, Field::Zone | Field::ZoneHour | Field::ZoneMinute) {
        return Err(unsupported(name, TYPE));
    }
    if field == Field::Epoch {
        return epoch(timestamp).map(Some);
    }
    of_local(field, timestamp)
}

/// `extract` from timestamp with time zone, seen in `zone`.
pub fn extract_timestamptz(name: &str, instant: i64, zone: &TimeZone) -> Result<Option<Numeric>> {
    let field = field(name).ok_or_else(|| unrecognized(name, "timestamp with time zone"))?;
    if is_infinite_timestamp(instant) {
        return Ok(of_infinity(field, instant == TIMESTAMP_INFINITY));
    }
    let offset = zone.offset_at_utc(instant);
    match field {
        Field::Epoch => epoch(instant).map(Some),
        Field::Zone => Ok(Some(integer(offset))),
        Field::ZoneHour => Ok(Some(integer(offset / 3600))),
        Field::ZoneMinute => Ok(Some(integer(offset / 60 % 60))),
        _ => of_local(field, timestamptz_to_timestamp(instant, zone)?),
    }
}

/// `extract` from date: fields of time are refused.
pub fn extract_date(name: &str, days: i32) -> Result<Option<Numeric>> {
    let field = field(name).ok_or_else(|| unrecognized(name, "date"))?;
    let is_time = matches!(
        field,
        Field::Zone
            | Field::ZoneHour
            | Field::ZoneMinute
            | Field::Unit(Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour)
    );
    if is_time {
        return Err(unsupported(name, "date"));
    }
    if days == DATE_INFINITY || days == DATE_NEGATIVE_INFINITY {
        return Ok(of_infinity(field, days == DATE_INFINITY));
    }
    match field {
        Field::Epoch => Ok(Some(integer((i64::from(days) + i64::from(UNIX_EPOCH_DAYS)) * 86_400))),
        Field::Julian => Ok(Some(integer(i64::from(days) + i64::from(JULIAN_EPOCH)))),
        // Dates reach beyond timestamps: fields are those of the same day 400-year cycles nearer.
        _ => extract_far_date(field, days),
    }
}

fn extract_far_date(field: Field, days: i32) -> Result<Option<Numeric>> {
    let (year, month, _) = super::calendar::civil_from_days(days);
    Ok(Some(match field {
        Field::Unit(Unit::Year) => integer(shown_year(year)),
        Field::Unit(Unit::Decade) => integer(year.div_euclid(10)),
        Field::Unit(Unit::Century) => integer(period(year, 100)),
        Field::Unit(Unit::Millennium) => integer(period(year, 1000)),
        Field::Unit(Unit::Quarter) => integer((month - 1) / 3 + 1),
        Field::IsoYear => integer(shown_year(iso_week(days).0)),
        Field::DayOfWeek => integer(day_of_week(days)),
        Field::IsoDayOfWeek => integer((day_of_week(days) + 6) % 7 + 1),
        Field::DayOfYear => integer(day_of_year(days)),
        Field::Unit(Unit::Week) => integer(iso_week(days).1),
        Field::Unit(Unit::Month) => integer(month),
        _ => integer(super::calendar::civil_from_days(days).2),
    }))
}

/// `extract` from time.
pub fn extract_time(name: &str, micros: i64) -> Result<Option<Numeric>> {
    const TYPE: &str = "time without time zone";
    let field = field(name).ok_or_else(|| unrecognized(name, TYPE))?;
    let within_minute = micros % MICROS_PER_MINUTE;
    Ok(Some(match field {
        Field::Unit(Unit::Microsecond) => integer(within_minute),
        Field::Unit(Unit::Millisecond) => scaled(within_minute, 3),
        Field::Unit(Unit::Second) => scaled(within_minute, 6),
        Field::Unit(Unit::Minute) => integer(micros / MICROS_PER_MINUTE % 60),
        Field::Unit(Unit::Hour) => integer(micros / MICROS_PER_HOUR),
        Field::Epoch => scaled(micros, 6),
        _ => return Err(unsupported(name, TYPE)),
    }))
}

/// `extract` from interval.
pub fn extract_interval(name: &str, interval: &Interval) -> Result<Option<Numeric>> {
    const TYPE: &str = "interval";
    let field = field(name).ok_or_else(|| unrecognized(name, TYPE))?;
    let within_minute = interval.micros % MICROS_PER_MINUTE;
    let years = interval.months / 12;
    Ok(Some(match field {
        Field::Unit(unit) => match unit {
            Unit::Microsecond => integer(within_minute),
            Unit::Millisecond => scaled(within_minute, 3),
            Unit::Second => scaled(within_minute, 6),
            Unit::Minute => integer(interval.micros / MICROS_PER_MINUTE % 60),
            Unit::Hour => integer(interval.micros / MICROS_PER_HOUR),
            Unit::Day => integer(interval.days),
            Unit::Month => integer(interval.months % 12),
            Unit::Quarter => integer(interval.months % 12 / 3 + 1),
            Unit::Year => integer(years),
            Unit::Decade => integer(years / 10),
            Unit::Century => integer(years / 100),
            Unit::Millennium => integer(years / 1000),
            Unit::Week => return Err(unsupported(name, TYPE)),
        },
        Field::Epoch => {
            // A year counts 365.25 days here, a month 30.
            let day_quarters = i128::from(years) * 1461
                + i128::from(interval.months % 12) * 120
                + i128::from(interval.days) * 4;
            let micros = day_quarters * i128::from(MICROS_PER_DAY / 4) + i128::from(interval.micros);
            Numeric::from_scaled(micros, 6)?
        }
        _ => return Err(unsupported(name, TYPE)),
    }))
}
