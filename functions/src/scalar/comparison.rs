//! `=`, `<>`, `<`, `<=`, `>`, `>=` of every ordered type and pair of types.

use std::cmp::Ordering;

use basalt_types::compare::{compare_bpchar, compare_floats};
use basalt_types::{Array, Datum, Interval, Numeric, Oid, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::value::{Char, Date, Fields, Time, Timestamp, TimestampTz, Uuid};

/// Registers the six comparisons under PostgreSQL's names: prefix, operation, suffix.
macro_rules! comparisons {
    ($builder:expr, $prefix:literal, $suffix:literal, $left:ty, $right:ty, $compare:expr) => {
        comparisons!($builder, $prefix, $suffix, $prefix, $left, $right, $compare)
    };
    ($builder:expr, $prefix:literal, $suffix:literal, $order_prefix:literal, $left:ty, $right:ty, $compare:expr) => {
        scalars!($builder, {
            concat!($prefix, "eq", $suffix) => |a: $left, b: $right| $compare(a, b).is_eq(),
            concat!($prefix, "ne", $suffix) => |a: $left, b: $right| $compare(a, b).is_ne(),
            concat!($order_prefix, "lt", $suffix) => |a: $left, b: $right| $compare(a, b).is_lt(),
            concat!($order_prefix, "le", $suffix) => |a: $left, b: $right| $compare(a, b).is_le(),
            concat!($order_prefix, "gt", $suffix) => |a: $left, b: $right| $compare(a, b).is_gt(),
            concat!($order_prefix, "ge", $suffix) => |a: $left, b: $right| $compare(a, b).is_ge(),
        })
    };
}

/// The same for comparisons that read the session's time zone and so may fail.
macro_rules! zoned_comparisons {
    ($builder:expr, $prefix:literal, $suffix:literal, $left:ty, $right:ty, $compare:expr) => {
        call_scalars!($builder, {
            concat!($prefix, "eq", $suffix) => |call: &Call<'_>, a: $left, b: $right| $compare(call, a, b).is_eq(),
            concat!($prefix, "ne", $suffix) => |call: &Call<'_>, a: $left, b: $right| $compare(call, a, b).is_ne(),
            concat!($prefix, "lt", $suffix) => |call: &Call<'_>, a: $left, b: $right| $compare(call, a, b).is_lt(),
            concat!($prefix, "le", $suffix) => |call: &Call<'_>, a: $left, b: $right| $compare(call, a, b).is_le(),
            concat!($prefix, "gt", $suffix) => |call: &Call<'_>, a: $left, b: $right| $compare(call, a, b).is_gt(),
            concat!($prefix, "ge", $suffix) => |call: &Call<'_>, a: $left, b: $right| $compare(call, a, b).is_ge(),
        })
    };
}

pub fn register(builder: &mut Builder) {
    numbers(builder);
    strings(builder);
    datetimes(builder);
    comparisons!(builder, "bool", "", bool, bool, |a: bool, b| a.cmp(&b));
    comparisons!(builder, "uuid_", "", Uuid, Uuid, |a: Uuid, b| a.cmp(&b));
    comparisons!(builder, "array_", "", &Array, &Array, compare_arrays);
    record_comparisons(builder);
}

fn numbers(builder: &mut Builder) {
    comparisons!(builder, "int2", "", i16, i16, |a: i16, b| a.cmp(&b));
    comparisons!(builder, "int4", "", i32, i32, |a: i32, b| a.cmp(&b));
    comparisons!(builder, "int8", "", i64, i64, |a: i64, b| a.cmp(&b));
    comparisons!(builder, "int24", "", i16, i32, |a, b: i32| i32::from(a).cmp(&b));
    comparisons!(builder, "int42", "", i32, i16, |a: i32, b| a.cmp(&i32::from(b)));
    comparisons!(builder, "int28", "", i16, i64, |a, b: i64| i64::from(a).cmp(&b));
    comparisons!(builder, "int82", "", i64, i16, |a: i64, b| a.cmp(&i64::from(b)));
    comparisons!(builder, "int48", "", i32, i64, |a, b: i64| i64::from(a).cmp(&b));
    comparisons!(builder, "int84", "", i64, i32, |a: i64, b| a.cmp(&i64::from(b)));
    comparisons!(builder, "float4", "", f32, f32, |a, b| compare_floats(f64::from(a), f64::from(b)));
    comparisons!(builder, "float8", "", f64, f64, compare_floats);
    comparisons!(builder, "float48", "", f32, f64, |a, b| compare_floats(f64::from(a), b));
    comparisons!(builder, "float84", "", f64, f32, |a, b| compare_floats(a, f64::from(b)));
    comparisons!(builder, "numeric_", "", &Numeric, &Numeric, Numeric::compare);
    comparisons!(builder, "oid", "", Oid, Oid, |a: Oid, b| a.cmp(&b));
    scalars!(builder, {
        "xideq" => |a: Oid, b: Oid| a == b,
        "xidneq" => |a: Oid, b: Oid| a != b,
        "xideqint4" => |a: Oid, b: i32| a.0 == b as u32,
        "xidneqint4" => |a: Oid, b: i32| a.0 != b as u32,
    });
}

fn bytewise(a: &str, b: &str) -> Ordering {
    a.as_bytes().cmp(b.as_bytes())
}

fn strings(builder: &mut Builder) {
    comparisons!(builder, "text", "", "text_", &str, &str, bytewise);
    comparisons!(builder, "name", "", &str, &str, bytewise);
    comparisons!(builder, "name", "text", &str, &str, bytewise);
    comparisons!(builder, "text", "name", &str, &str, bytewise);
    comparisons!(builder, "bpchar", "", &str, &str, compare_bpchar);
    comparisons!(builder, "bytea", "", &[u8], &[u8], |a: &[u8], b: &[u8]| a.cmp(b));
    comparisons!(builder, "char", "", Char, Char, |a: Char, b| a.cmp(&b));
    comparisons!(builder, "oidvector", "", &Array, &Array, compare_oidvectors);
    scalars!(builder, {
        "text_pattern_lt" => |a: &str, b: &str| bytewise(a, b).is_lt(),
        "text_pattern_le" => |a: &str, b: &str| bytewise(a, b).is_le(),
        "text_pattern_gt" => |a: &str, b: &str| bytewise(a, b).is_gt(),
        "text_pattern_ge" => |a: &str, b: &str| bytewise(a, b).is_ge(),
        "bpchar_pattern_lt" => |a: &str, b: &str| compare_bpchar(a, b).is_lt(),
        "bpchar_pattern_le" => |a: &str, b: &str| compare_bpchar(a, b).is_le(),
        "bpchar_pattern_gt" => |a: &str, b: &str| compare_bpchar(a, b).is_gt(),
        "bpchar_pattern_ge" => |a: &str, b: &str| compare_bpchar(a, b).is_ge(),
    });
}

fn datetimes(builder: &mut Builder) {
    comparisons!(builder, "date_", "", Date, Date, |a: Date, b| a.cmp(&b));
    comparisons!(builder, "time_", "", Time, Time, |a: Time, b| a.cmp(&b));
    comparisons!(builder, "timestamp_", "", Timestamp, Timestamp, |a: Timestamp, b| a.cmp(&b));
    // PostgreSQL registers timestamptz_eq and the rest beside timestamp's.
    comparisons!(builder, "timestamptz_", "", TimestampTz, TimestampTz, |a: TimestampTz, b| a.cmp(&b));
    comparisons!(builder, "interval_", "", Interval, Interval, |a: Interval, b| a.compare(&b));
    comparisons!(builder, "date_", "_timestamp", Date, Timestamp, |a, b: Timestamp| date_micros(a)
        .cmp(&i128::from(b.0)));
    comparisons!(builder, "timestamp_", "_date", Timestamp, Date, |a: Timestamp, b| i128::from(a.0)
        .cmp(&date_micros(b)));
    zoned_comparisons!(builder, "date_", "_timestamptz", Date, TimestampTz, |call, a, b: TimestampTz| {
        local_micros(call, date_micros(a)).cmp(&i128::from(b.0))
    });
    zoned_comparisons!(builder, "timestamptz_", "_date", TimestampTz, Date, |call, a: TimestampTz, b| {
        i128::from(a.0).cmp(&local_micros(call, date_micros(b)))
    });
    zoned_comparisons!(
        builder,
        "timestamp_",
        "_timestamptz",
        Timestamp,
        TimestampTz,
        |call, a: Timestamp, b: TimestampTz| { local_micros(call, i128::from(a.0)).cmp(&i128::from(b.0)) }
    );
    zoned_comparisons!(
        builder,
        "timestamptz_",
        "_timestamp",
        TimestampTz,
        Timestamp,
        |call, a: TimestampTz, b: Timestamp| { i128::from(a.0).cmp(&local_micros(call, i128::from(b.0))) }
    );
}

/// A date as microseconds, wide enough for the dates that no timestamp reaches.
fn date_micros(date: Date) -> i128 {
    match date.0 {
        i32::MAX => i128::from(i64::MAX),
        i32::MIN => i128::from(i64::MIN),
        // Beyond the timestamps, but before their infinities.
        days => (i128::from(days) * i128::from(basalt_types::datetime::MICROS_PER_DAY))
            .clamp(i128::from(i64::MIN) + 1, i128::from(i64::MAX) - 1),
    }
}

/// The instant of a local time in the session's zone.
fn local_micros(call: &Call<'_>, local: i128) -> i128 {
    match i64::try_from(local) {
        Ok(i64::MAX | i64::MIN) | Err(_) => local,
        Ok(micros) => local - i128::from(call.context.io.time_zone.offset_at_local(micros)) * 1_000_000,
    }
}

/// Arrays of char(n) ignore trailing blanks in their elements, too.
pub fn compare_arrays(a: &Array, b: &Array) -> Ordering {
    if a.element_type == Oid::BPCHAR && b.element_type == Oid::BPCHAR {
        return Datum::Array(stripped(a).into()).compare(&Datum::Array(stripped(b).into()));
    }
    let by_element = a
        .elements
        .iter()
        .zip(&b.elements)
        .map(|(left, right)| left.compare(right))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.elements.len().cmp(&b.elements.len()));
    by_element.then_with(|| a.dimensions.len().cmp(&b.dimensions.len())).then_with(|| {
        let lengths = |array: &Array| array.dimensions.iter().map(|(length, _)| *length).collect::<Vec<_>>();
        let bounds = |array: &Array| array.dimensions.iter().map(|(_, bound)| *bound).collect::<Vec<_>>();
        lengths(a).cmp(&lengths(b)).then_with(|| bounds(a).cmp(&bounds(b)))
    })
}

fn stripped(array: &Array) -> Array {
    let strip = |item: &Datum| match item {
        Datum::Text(text) => Datum::text(basalt_types::compare::strip_blanks(text)),
        other => other.clone(),
    };
    Array { elements: array.elements.iter().map(strip).collect(), ..array.clone() }
}

/// oidvector orders by length first.
fn compare_oidvectors(a: &Array, b: &Array) -> Ordering {
    a.elements.len().cmp(&b.elements.len()).then_with(|| compare_arrays(a, b))
}

fn compare_records(a: Fields<'_>, b: Fields<'_>) -> Result<Ordering> {
    if a.0.len() != b.0.len() {
        return Err(SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            "cannot compare record types with different numbers of columns",
        ));
    }
    Ok(a.0
        .iter()
        .zip(b.0)
        .map(|(left, right)| left.compare(right))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal))
}

fn record_comparisons(builder: &mut Builder) {
    scalars!(builder, {
        "record_eq" => |a: Fields<'_>, b: Fields<'_>| compare_records(a, b).map(Ordering::is_eq),
        "record_ne" => |a: Fields<'_>, b: Fields<'_>| compare_records(a, b).map(Ordering::is_ne),
        "record_lt" => |a: Fields<'_>, b: Fields<'_>| compare_records(a, b).map(Ordering::is_lt),
        "record_le" => |a: Fields<'_>, b: Fields<'_>| compare_records(a, b).map(Ordering::is_le),
        "record_gt" => |a: Fields<'_>, b: Fields<'_>| compare_records(a, b).map(Ordering::is_gt),
        "record_ge" => |a: Fields<'_>, b: Fields<'_>| compare_records(a, b).map(Ordering::is_ge),
    });
}
