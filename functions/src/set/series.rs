//! `generate_series`.

use basalt_types::{Datum, Interval, Numeric, Result, SqlError, SqlState};

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::scalar::{add_interval, add_zoned};
use crate::set::empty;
use crate::value::{Timestamp, TimestampTz};
use crate::{Call, RowSource};

pub fn register(builder: &mut Builder) {
    for declared in [
        "generate_series(int4,int4)",
        "generate_series(int4,int4,int4)",
        "generate_series(int8,int8)",
        "generate_series(int8,int8,int8)",
    ] {
        builder.set(declared, integers);
    }
    builder.set("generate_series(numeric,numeric)", numerics);
    builder.set("generate_series(numeric,numeric,numeric)", numerics);
    builder.set("generate_series(timestamp,timestamp,interval)", timestamps);
    builder.set("generate_series(timestamptz,timestamptz,interval)", timestamps);
}

fn refuse(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// From `start` while `within`, by `next`; the row after a failed step is the error.
fn series<T: Clone + Send + 'static>(
    start: T,
    within: impl Fn(&T) -> bool + Send + 'static,
    next: impl Fn(&T) -> Result<Option<T>> + Send + 'static,
    datum: fn(T) -> Datum,
) -> RowSource {
    let mut upcoming = Ok(Some(start));
    Box::new(std::iter::from_fn(move || match std::mem::replace(&mut upcoming, Ok(None)) {
        Ok(Some(value)) if within(&value) => {
            upcoming = next(&value);
            Some(Ok(vec![datum(value)]))
        }
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

fn integers(_: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    if args.iter().any(Datum::is_null) {
        return Ok(empty());
    }
    let (start, stop, step, datum): (i64, i64, i64, fn(i64) -> Datum) = match args {
        [Datum::Int4(start), Datum::Int4(stop), step @ ..] => {
            let step = if let [Datum::Int4(step)] = step { *step } else { 1 };
            (i64::from(*start), i64::from(*stop), i64::from(step), |value| Datum::Int4(value as i32))
        }
        [Datum::Int8(start), Datum::Int8(stop), step @ ..] => {
            let step = if let [Datum::Int8(step)] = step { *step } else { 1 };
            (*start, *stop, step, Datum::Int8)
        }
        _ => return Err(unexpected(args)),
    };
    if step == 0 {
        return Err(refuse("step size cannot equal zero"));
    }
    let within = move |value: &i64| if step > 0 { *value <= stop } else { *value >= stop };
    // Past the end of bigint there is nothing within the series.
    Ok(series(start, within, move |value| Ok(value.checked_add(step)), datum))
}

fn numerics(_: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    if args.iter().any(Datum::is_null) {
        return Ok(empty());
    }
    let (start, stop, step) = match args {
        [Datum::Numeric(start), Datum::Numeric(stop)] => (start, stop, Numeric::ONE),
        [Datum::Numeric(start), Datum::Numeric(stop), Datum::Numeric(step)] => (start, stop, step.clone()),
        _ => return Err(unexpected(args)),
    };
    for (name, value) in [("start value", start), ("stop value", stop), ("step size", &step)] {
        if value.is_nan() {
            return Err(refuse(&format!("{name} cannot be NaN")));
        }
        if value.is_infinite() {
            return Err(refuse(&format!("{name} cannot be infinity")));
        }
    }
    if step.is_zero() {
        return Err(refuse("step size cannot equal zero"));
    }
    let (stop, descending) = (stop.clone(), step.is_negative());
    let within = move |value: &Numeric| {
        if descending { value.compare(&stop).is_ge() } else { value.compare(&stop).is_le() }
    };
    Ok(series(start.clone(), within, move |value| value.add(&step).map(Some), Datum::Numeric))
}

fn timestamps(call: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    if args.iter().any(Datum::is_null) {
        return Ok(empty());
    }
    let direction = |step: &Interval| match step.comparable() {
        0 => Err(refuse("step size cannot equal zero")),
        span => Ok(span > 0),
    };
    let inside = |ascending: bool, stop: i64| {
        move |value: &i64| if ascending { *value <= stop } else { *value >= stop }
    };
    match args {
        [Datum::Timestamp(start), Datum::Timestamp(stop), Datum::Interval(step)] => {
            let (ascending, step) = (direction(step)?, *step);
            let next = move |value: &i64| add_interval(Timestamp(*value), step).map(|next| Some(next.0));
            Ok(series(*start, inside(ascending, *stop), next, Datum::Timestamp))
        }
        [Datum::TimestampTz(start), Datum::TimestampTz(stop), Datum::Interval(step)] => {
            let (ascending, step) = (direction(step)?, *step);
            let zone = call.context.io.time_zone.clone();
            let next =
                move |value: &i64| add_zoned(TimestampTz(*value), step, &zone).map(|next| Some(next.0));
            Ok(series(*start, inside(ascending, *stop), next, Datum::TimestampTz))
        }
        _ => Err(unexpected(args)),
    }
}
