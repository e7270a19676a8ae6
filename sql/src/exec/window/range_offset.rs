//! Distances between ordering keys: RANGE BETWEEN offset PRECEDING AND offset FOLLOWING.

use std::cmp::Ordering;

use basalt_functions::EvalContext;
use basalt_types::{
    Datum, Interval, Numeric, Result, SqlError,
    compare::compare_floats,
    datetime::{
        date_to_timestamp, timestamp_minus_interval, timestamp_plus_interval, timestamptz_minus_interval,
        timestamptz_plus_interval,
    },
};

pub(super) fn is_negative(offset: &Datum) -> bool {
    match offset {
        Datum::Int2(value) => *value < 0,
        Datum::Int4(value) => *value < 0,
        Datum::Int8(value) => *value < 0,
        // NaN is no distance either.
        Datum::Float4(value) => value.is_nan() || *value < 0.0,
        Datum::Float8(value) => value.is_nan() || *value < 0.0,
        Datum::Numeric(value) => value.is_nan() || value.compare(&Numeric::from_i128(0)).is_lt(),
        Datum::Interval(value) => value.compare(&Interval::new(0, 0, 0)).is_lt(),
        _ => false,
    }
}

/// How `key` compares with `base - offset` or `base + offset`.
pub(super) fn reaches(
    key: &Datum,
    base: &Datum,
    offset: &Datum,
    subtract: bool,
    eval: &EvalContext,
) -> Result<Ordering> {
    if let (Some(key), Some(base), Some(offset)) = (integer(key), integer(base), integer(offset)) {
        // Sums of 64-bit integers can't overflow here.
        return Ok(key.cmp(&if subtract { base - offset } else { base + offset }));
    }
    match (key, base, offset) {
        (Datum::Numeric(key), Datum::Numeric(base), Datum::Numeric(offset)) => {
            numeric(key, base, offset, subtract)
        }
        (Datum::Interval(key), Datum::Interval(base), Datum::Interval(offset)) => {
            let edge = if subtract { base.checked_sub(offset)? } else { base.checked_add(offset)? };
            Ok(key.compare(&edge))
        }
        (Datum::Timestamp(key), Datum::Timestamp(base), Datum::Interval(offset)) => {
            Ok(key.cmp(&shifted(*base, offset, subtract)?))
        }
        (Datum::Date(key), Datum::Date(base), Datum::Interval(offset)) => {
            Ok(date_to_timestamp(*key)?.cmp(&shifted(date_to_timestamp(*base)?, offset, subtract)?))
        }
        (Datum::TimestampTz(key), Datum::TimestampTz(base), Datum::Interval(offset)) => {
            let zone = &eval.io.time_zone;
            let edge = if subtract {
                timestamptz_minus_interval(*base, offset, zone)?
            } else {
                timestamptz_plus_interval(*base, offset, zone)?
            };
            Ok(key.cmp(&edge))
        }
        (Datum::Time(key), Datum::Time(base), Datum::Interval(offset)) => {
            // Beyond midnight there is nothing: no wrapping around.
            let by = if subtract { -i128::from(offset.micros) } else { i128::from(offset.micros) };
            Ok(i128::from(*key).cmp(&(i128::from(*base) + by)))
        }
        _ => match (float(key), float(base), float(offset)) {
            (Some(key), Some(base), Some(offset)) => Ok(floats(key, base, offset, subtract)),
            _ => Err(SqlError::internal(format!("RANGE offset {offset:?} from {base:?}"))),
        },
    }
}

fn integer(value: &Datum) -> Option<i128> {
    match value {
        Datum::Int2(value) => Some((*value).into()),
        Datum::Int4(value) => Some((*value).into()),
        Datum::Int8(value) => Some((*value).into()),
        _ => None,
    }
}

fn float(value: &Datum) -> Option<f64> {
    match value {
        Datum::Float4(value) => Some((*value).into()),
        Datum::Float8(value) => Some(*value),
        _ => None,
    }
}

/// NaN is near itself only. Infinity minus infinity reaches everywhere on the way.
fn floats(key: f64, base: f64, offset: f64, subtract: bool) -> Ordering {
    if key.is_nan() || base.is_nan() {
        return compare_floats(key, base);
    }
    let opposite = if subtract { base == f64::INFINITY } else { base == f64::NEG_INFINITY };
    if offset.is_infinite() && opposite {
        return if subtract { Ordering::Greater } else { Ordering::Less };
    }
    compare_floats(key, if subtract { base - offset } else { base + offset })
}

fn numeric(key: &Numeric, base: &Numeric, offset: &Numeric, subtract: bool) -> Result<Ordering> {
    if key.is_nan() || base.is_nan() {
        return Ok(key.compare(base));
    }
    let edge = if subtract { base.sub(offset)? } else { base.add(offset)? };
    if edge.is_nan() {
        return Ok(if subtract { Ordering::Greater } else { Ordering::Less });
    }
    Ok(key.compare(&edge))
}

fn shifted(timestamp: i64, offset: &Interval, subtract: bool) -> Result<i64> {
    if subtract {
        timestamp_minus_interval(timestamp, offset)
    } else {
        timestamp_plus_interval(timestamp, offset)
    }
}
