//! Cast functions, named after their target types.

use basalt_types::compare::strip_blanks;
use basalt_types::datetime::{
    MICROS_PER_DAY, is_valid_timestamp, timestamp_to_timestamptz, timestamptz_to_timestamp,
};
use basalt_types::{
    Datum, Interval, LengthRule, Numeric, Oid, Result, SqlError, SqlState, SqlType, apply_typmod,
};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::datetime_arithmetic::date_and_time;
use crate::value::{Char, Date, Time, Timestamp, TimestampTz};

pub fn register(builder: &mut Builder) {
    integers(builder);
    floats(builder);
    strings(builder);
    datetimes(builder);
}

fn integers(builder: &mut Builder) {
    scalars!(builder, {
        "int2(int4)" => |a: i32| i16::try_from(a).map_err(|_| SqlError::out_of_range("smallint")),
        "int2(int8)" => |a: i64| i16::try_from(a).map_err(|_| SqlError::out_of_range("smallint")),
        "int4(int2)" => |a: i16| i32::from(a),
        "int4(int8)" => |a: i64| i32::try_from(a).map_err(|_| SqlError::out_of_range("integer")),
        "int8(int2)" => |a: i16| i64::from(a),
        "int8(int4)" => |a: i32| i64::from(a),
        "int2(float4)" => |a: f32| round_to_integer(f64::from(a), -32768.0, 32768.0, "smallint").map(|a| a as i16),
        "int2(float8)" => |a: f64| round_to_integer(a, -32768.0, 32768.0, "smallint").map(|a| a as i16),
        "int4(float4)" => |a: f32| round_to_integer(f64::from(a), -2147483648.0, 2147483648.0, "integer").map(|a| a as i32),
        "int4(float8)" => |a: f64| round_to_integer(a, -2147483648.0, 2147483648.0, "integer").map(|a| a as i32),
        "int8(float4)" => |a: f32| round_to_integer(f64::from(a), BIGINT_LOW, -BIGINT_LOW, "bigint").map(|a| a as i64),
        "int8(float8)" => |a: f64| round_to_integer(a, BIGINT_LOW, -BIGINT_LOW, "bigint").map(|a| a as i64),
        "int2(numeric)" => Numeric::to_i16,
        "int4(numeric)" => Numeric::to_i32,
        "int8(numeric)" => Numeric::to_i64,
        "int4(bool)" => |a: bool| i32::from(a),
        "bool(int4)" => |a: i32| a != 0,
        "int4(char)" => |a: Char| i32::from(a.0 as i8),
        "char(int4)" => |a: i32| i8::try_from(a).map(|a| Char(a as u8)).map_err(|_| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "\"char\" out of range")),
        "oid(int8)" => |a: i64| u32::try_from(a).map(Oid).map_err(|_| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range")),
        "int8(oid)" => |a: Oid| i64::from(a.0),
    });
}

const BIGINT_LOW: f64 = -9_223_372_036_854_775_808.0;

/// Rounds half to even; `high` is excluded.
fn round_to_integer(value: f64, low: f64, high: f64, type_name: &str) -> Result<f64> {
    let rounded = value.round_ties_even();
    if rounded >= low && rounded < high { Ok(rounded) } else { Err(SqlError::out_of_range(type_name)) }
}

fn floats(builder: &mut Builder) {
    scalars!(builder, {
        "float4(int2)" => |a: i16| f32::from(a),
        "float4(int4)" => |a: i32| a as f32,
        "float4(int8)" => |a: i64| a as f32,
        "float8(int2)" => |a: i16| f64::from(a),
        "float8(int4)" => |a: i32| f64::from(a),
        "float8(int8)" => |a: i64| a as f64,
        "float8(float4)" => |a: f32| f64::from(a),
        "float4(float8)" => narrow,
        "float4(numeric)" => Numeric::to_f32,
        "float8(numeric)" => Numeric::to_f64,
        "numeric(int2)" => |a: i16| Numeric::from(a),
        "numeric(int4)" => |a: i32| Numeric::from(a),
        "numeric(int8)" => |a: i64| Numeric::from(a),
        "numeric(float4)" => Numeric::from_f32,
        "numeric(float8)" => Numeric::from_f64,
    });
}

fn narrow(value: f64) -> Result<f32> {
    let result = value as f32;
    if result.is_infinite() && value.is_finite() {
        Err(super::float::overflow())
    } else if result == 0.0 && value != 0.0 {
        Err(super::float::underflow())
    } else {
        Ok(result)
    }
}

fn strings(builder: &mut Builder) {
    scalars!(builder, {
        "text(bool)" => |a: bool| if a { "true" } else { "false" },
        "text(bpchar)" => |a: &str| strip_blanks(a).to_owned(),
        "text(name)" => |a: &str| a.to_owned(),
        "varchar(name)" => |a: &str| a.to_owned(),
        "bpchar(name)" => |a: &str| a.to_owned(),
        "text(char)" => char_text,
        "bpchar(char)" => char_text,
        "char(text)" => |a: &str| Char(a.as_bytes().first().copied().unwrap_or(0)),
        "name(text)" => |a: &str| truncate_name(a).to_owned(),
        "name(varchar)" => |a: &str| truncate_name(a).to_owned(),
        "name(bpchar)" => |a: &str| truncate_name(strip_blanks(a)).trim_end_matches(' ').to_owned(),
        "varchar(varchar,int4,bool)" => |a: &Datum, typmod: i32, explicit: bool| length(a, Oid::VARCHAR, typmod, explicit),
        "bpchar(bpchar,int4,bool)" => |a: &Datum, typmod: i32, explicit: bool| length(a, Oid::BPCHAR, typmod, explicit),
    });
    call_scalars!(builder, { "regclass" => to_regclass });
}

/// Bytes above 127 print as an octal escape, since alone they are not UTF-8.
fn char_text(a: Char) -> String {
    match a.0 {
        0 => String::new(),
        byte if byte < 128 => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    }
}

/// At most 63 bytes, cut between characters.
pub fn truncate_name(text: &str) -> &str {
    const NAME_BYTES_MAX: usize = 63;
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}

fn length(value: &Datum, oid: Oid, typmod: i32, explicit: bool) -> Result<Datum> {
    let rule = if explicit { LengthRule::ExplicitCast } else { LengthRule::Assignment };
    apply_typmod(value.clone(), SqlType::new(oid, typmod), rule)
}

fn to_regclass(call: &Call<'_>, name: &str) -> Result<Datum> {
    crate::io::input(call, SqlType::REGCLASS, name)
}

fn datetimes(builder: &mut Builder) {
    scalars!(builder, {
        "timestamp(date)" => date_to_timestamp,
        "timestamp(date,time)" => date_and_time,
        "date(timestamp)" => |a: Timestamp| timestamp_to_date(a.0),
        "time(timestamp)" => |a: Timestamp| time_of(a.0),
        "time(interval)" => |a: Interval| Time(a.micros.rem_euclid(MICROS_PER_DAY)),
        "interval(time)" => |a: Time| Interval::new(0, 0, a.0),
        "timestamp(timestamp,int4)" => |a: &Datum, typmod: i32| length(a, Oid::TIMESTAMP, typmod, true),
        "timestamptz(timestamptz,int4)" => |a: &Datum, typmod: i32| length(a, Oid::TIMESTAMPTZ, typmod, true),
        "time(time,int4)" => |a: &Datum, typmod: i32| length(a, Oid::TIME, typmod, true),
        "interval(interval,int4)" => |a: &Datum, typmod: i32| length(a, Oid::INTERVAL, typmod, true),
    });
    call_scalars!(builder, {
        "timestamptz(timestamp)" => |call: &Call<'_>, a: Timestamp| {
            timestamp_to_timestamptz(a.0, &call.context.io.time_zone).map(TimestampTz)
        },
        "timestamptz(date,time)" => |call: &Call<'_>, date: Date, time: Time| {
            timestamp_to_timestamptz(date_and_time(date, time)?.0, &call.context.io.time_zone).map(TimestampTz)
        },
        "timestamp(timestamptz)" => local,
        "timestamptz(date)" => |call: &Call<'_>, a: Date| {
            timestamp_to_timestamptz(date_to_timestamp(a)?.0, &call.context.io.time_zone).map(TimestampTz)
        },
        "date(timestamptz)" => |call: &Call<'_>, a: TimestampTz| timestamp_to_date(local(call, a)?.0),
        "time(timestamptz)" => |call: &Call<'_>, a: TimestampTz| Ok::<_, SqlError>(time_of(local(call, a)?.0)),
    });
}

pub fn local(call: &Call<'_>, instant: TimestampTz) -> Result<Timestamp> {
    timestamptz_to_timestamp(instant.0, &call.context.io.time_zone).map(Timestamp)
}

pub fn date_to_timestamp(date: Date) -> Result<Timestamp> {
    match date.0 {
        i32::MAX => Ok(Timestamp(i64::MAX)),
        i32::MIN => Ok(Timestamp(i64::MIN)),
        days => i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .filter(|micros| is_valid_timestamp(*micros))
            .map(Timestamp)
            .ok_or_else(|| {
                SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
            }),
    }
}

pub fn timestamp_to_date(micros: i64) -> Result<Date> {
    Ok(match micros {
        i64::MAX => Date(i32::MAX),
        i64::MIN => Date(i32::MIN),
        micros => Date(micros.div_euclid(MICROS_PER_DAY) as i32),
    })
}

/// The time of day; NULL for an infinite timestamp.
fn time_of(micros: i64) -> Option<Time> {
    (micros != i64::MAX && micros != i64::MIN).then(|| Time(micros.rem_euclid(MICROS_PER_DAY)))
}
