//! Parts, truncation, construction and zones of dates and times.

use basalt_types::datetime::{
    self, MICROS_PER_DAY, MICROS_PER_SECOND, TimeZone, calendar, timestamp_to_timestamptz,
    timestamptz_to_timestamp,
};
use basalt_types::{Interval, Numeric, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::datetime_arithmetic::{is_infinite, timestamp_out_of_range};
use crate::value::{Date, Time, Timestamp, TimestampTz};

pub fn register(builder: &mut Builder) {
    parts(builder);
    construction(builder);
    spans(builder);
    zones(builder);
}

fn as_float(part: Result<Option<Numeric>>) -> Result<Option<f64>> {
    part.map(|part| part.map(|part| part.to_f64_lossy()))
}

fn zone<'a>(call: &'a Call<'_>) -> &'a TimeZone {
    &call.context.io.time_zone
}

fn parts(builder: &mut Builder) {
    scalars!(builder, {
        "extract(text,date)" => |name: &str, a: Date| datetime::extract_date(name, a.0),
        "extract(text,time)" => |name: &str, a: Time| datetime::extract_time(name, a.0),
        "extract(text,timestamp)" => |name: &str, a: Timestamp| datetime::extract_timestamp(name, a.0),
        "extract(text,interval)" => |name: &str, a: Interval| datetime::extract_interval(name, &a),
        // A date's part in double precision is that of its timestamp, hours and minutes included.
        "date_part(text,date)" => |name: &str, a: Date| {
            as_float(datetime::extract_timestamp(name, crate::scalar::date_to_timestamp(a)?.0))
        },
        "date_part(text,time)" => |name: &str, a: Time| as_float(datetime::extract_time(name, a.0)),
        "date_part(text,timestamp)" => |name: &str, a: Timestamp| as_float(datetime::extract_timestamp(name, a.0)),
        "date_part(text,interval)" => |name: &str, a: Interval| as_float(datetime::extract_interval(name, &a)),
        "date_trunc(text,timestamp)" => |name: &str, a: Timestamp| datetime::date_trunc_timestamp(name, a.0).map(Timestamp),
        "date_trunc(text,interval)" => |name: &str, a: Interval| datetime::date_trunc_interval(name, &a),
    });
    call_scalars!(builder, {
        "extract(text,timestamptz)" => |call: &Call<'_>, name: &str, a: TimestampTz| datetime::extract_timestamptz(name, a.0, zone(call)),
        "date_part(text,timestamptz)" => |call: &Call<'_>, name: &str, a: TimestampTz| {
            as_float(datetime::extract_timestamptz(name, a.0, zone(call)))
        },
        "date_trunc(text,timestamptz)" => |call: &Call<'_>, name: &str, a: TimestampTz| {
            datetime::date_trunc_timestamptz(name, a.0, zone(call)).map(TimestampTz)
        },
    });
    scalars!(builder, {
        "date_trunc(text,timestamptz,text)" => |name: &str, a: TimestampTz, zone: &str| {
            datetime::date_trunc_timestamptz(name, a.0, &named_zone(zone)?).map(TimestampTz)
        },
        "date_bin(interval,timestamp,timestamp)" => |stride: Interval, a: Timestamp, origin: Timestamp| {
            bin(stride, a.0, origin.0).map(Timestamp)
        },
        "date_bin(interval,timestamptz,timestamptz)" => |stride: Interval, a: TimestampTz, origin: TimestampTz| {
            bin(stride, a.0, origin.0).map(TimestampTz)
        },
    });
}

/// The start of the stride, counted from `origin`, that holds an instant.
fn bin(stride: Interval, micros: i64, origin: i64) -> Result<i64> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    if is_infinite(origin) {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "origin out of range"));
    }
    if stride.months != 0 {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let length = i64::from(stride.days)
        .checked_mul(MICROS_PER_DAY)
        .and_then(|days| days.checked_add(stride.micros))
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
    if length <= 0 {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "stride must be greater than zero"));
    }
    let distance = micros.checked_sub(origin).ok_or_else(timestamp_out_of_range)?;
    distance
        .div_euclid(length)
        .checked_mul(length)
        .and_then(|bins| origin.checked_add(bins))
        .ok_or_else(timestamp_out_of_range)
}

fn construction(builder: &mut Builder) {
    scalars!(builder, {
        "make_date" => |year: i32, month: i32, day: i32| datetime::make_date(year, month, day).map(Date),
        "make_time" => |hour: i32, minute: i32, second: f64| datetime::make_time(hour, minute, second).map(Time),
        "make_timestamp" => |year: i32, month: i32, day: i32, hour: i32, minute: i32, second: f64| {
            datetime::make_timestamp(year, month, day, hour, minute, second).map(Timestamp)
        },
        "make_timestamptz(int4,int4,int4,int4,int4,float8,text)" => |year: i32, month: i32, day: i32, hour: i32, minute: i32, second: f64, zone: &str| {
            let local = datetime::make_timestamp(year, month, day, hour, minute, second)?;
            timestamp_to_timestamptz(local, &named_zone(zone)?).map(TimestampTz)
        },
        "make_interval" => make_interval,
        "to_timestamp(float8)" => from_epoch,
    });
    call_scalars!(builder, {
        "make_timestamptz(int4,int4,int4,int4,int4,float8)" => |call: &Call<'_>, year: i32, month: i32, day: i32, hour: i32, minute: i32, second: f64| {
            let local = datetime::make_timestamp(year, month, day, hour, minute, second)?;
            timestamp_to_timestamptz(local, zone(call)).map(TimestampTz)
        },
    });
}

fn make_interval(
    years: i32,
    months: i32,
    weeks: i32,
    days: i32,
    hours: i32,
    minutes: i32,
    seconds: f64,
) -> Result<Interval> {
    let overflow = || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
    if !seconds.is_finite() {
        return Err(overflow());
    }
    let months = years.checked_mul(12).and_then(|years| years.checked_add(months)).ok_or_else(overflow)?;
    let days = weeks.checked_mul(7).and_then(|weeks| weeks.checked_add(days)).ok_or_else(overflow)?;
    let whole = (i64::from(hours) * 3600 + i64::from(minutes) * 60) * MICROS_PER_SECOND;
    let fraction = (seconds * MICROS_PER_SECOND as f64).round_ties_even();
    if fraction.abs() >= i64::MAX as f64 {
        return Err(overflow());
    }
    let micros = whole.checked_add(fraction as i64).ok_or_else(overflow)?;
    Ok(Interval::new(months, days, micros))
}

/// Seconds since 1970.
fn from_epoch(seconds: f64) -> Result<TimestampTz> {
    if seconds.is_nan() {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(TimestampTz(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
    }
    let shifted = seconds - f64::from(calendar::UNIX_EPOCH_DAYS) * 86_400.0;
    let micros = (shifted * MICROS_PER_SECOND as f64).round_ties_even();
    if micros.abs() < 9.3e18 && datetime::is_valid_timestamp(micros as i64) {
        return Ok(TimestampTz(micros as i64));
    }
    Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{seconds}\"")))
}

fn spans(builder: &mut Builder) {
    scalars!(builder, {
        "justify_hours" => |a: Interval| a.justify_hours(),
        "justify_days" => |a: Interval| a.justify_days(),
        "justify_interval" => |a: Interval| a.justify_interval(),
        "isfinite(date)" => |a: Date| !datetime::is_infinite_date(a.0),
        "isfinite(timestamp)" => |a: Timestamp| !is_infinite(a.0),
        "isfinite(timestamptz)" => |a: TimestampTz| !is_infinite(a.0),
        "isfinite(interval)" => |_: Interval| true,
        "age(timestamp,timestamp)" => |a: Timestamp, b: Timestamp| datetime::age(a.0, b.0),
    });
    call_scalars!(builder, {
        "age(timestamptz,timestamptz)" => |call: &Call<'_>, a: TimestampTz, b: TimestampTz| {
            datetime::age(timestamptz_to_timestamp(a.0, zone(call))?, timestamptz_to_timestamp(b.0, zone(call))?)
        },
        "age(timestamp)" => |call: &Call<'_>, a: Timestamp| datetime::age(midnight(call)?, a.0),
        "age(timestamptz)" => |call: &Call<'_>, a: TimestampTz| {
            datetime::age(midnight(call)?, timestamptz_to_timestamp(a.0, zone(call))?)
        },
    });
}

/// The start of the current local day.
fn midnight(call: &Call<'_>) -> Result<i64> {
    let local = timestamptz_to_timestamp(call.context.transaction_micros, zone(call))?;
    Ok(local - local.rem_euclid(MICROS_PER_DAY))
}

fn zones(builder: &mut Builder) {
    scalars!(builder, {
        "timezone(text,timestamp)" => |name: &str, a: Timestamp| timestamp_to_timestamptz(a.0, &named_zone(name)?).map(TimestampTz),
        "timezone(text,timestamptz)" => |name: &str, a: TimestampTz| timestamptz_to_timestamp(a.0, &named_zone(name)?).map(Timestamp),
        "timezone(interval,timestamp)" => |by: Interval, a: Timestamp| timestamp_to_timestamptz(a.0, &offset_zone(by)?).map(TimestampTz),
        "timezone(interval,timestamptz)" => |by: Interval, a: TimestampTz| timestamptz_to_timestamp(a.0, &offset_zone(by)?).map(Timestamp),
    });
}

/// A zone by name or as a POSIX offset, which counts to the west.
fn named_zone(name: &str) -> Result<TimeZone> {
    let posix = || {
        let (sign, rest) = match name.as_bytes().first()? {
            b'+' => (-1, &name[1..]),
            b'-' => (1, &name[1..]),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours <= 167 && minutes < 60).then(|| TimeZone::fixed(sign * (hours * 3600 + minutes * 60)))
    };
    TimeZone::from_name(name).or_else(posix).ok_or_else(|| {
        SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
    })
}

fn offset_zone(by: Interval) -> Result<TimeZone> {
    if by.months != 0 || by.days != 0 {
        let mut text = String::new();
        datetime::format_interval(&by, &mut text);
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("interval time zone \"{text}\" must not include months or days"),
        ));
    }
    Ok(TimeZone::fixed((by.micros / MICROS_PER_SECOND).clamp(-604_800, 604_800) as i32))
}
