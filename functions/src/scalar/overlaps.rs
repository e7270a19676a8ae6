//! `(start, end) OVERLAPS (start, end)`: half-open spans, each a point when it has no length.

use basalt_types::{Datum, Result};

use crate::Call;
use crate::builder::{Builder, scalars};
use crate::scalar::datetime_arithmetic::move_time;
use crate::scalar::{add_interval, add_zoned};
use crate::value::{Time, Timestamp, TimestampTz, invoke};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "overlaps(time,time,time,time)" => overlaps::<Time>,
        "overlaps(timestamp,timestamp,timestamp,timestamp)" => overlaps::<Timestamp>,
        "overlaps(timestamptz,timestamptz,timestamptz,timestamptz)" => overlaps::<TimestampTz>,
    });
    for point in ["time", "timestamp", "timestamptz"] {
        for (first, second) in [("interval", "interval"), ("interval", point), (point, "interval")] {
            builder.scalar(&format!("overlaps({point},{first},{point},{second})"), with_lengths, None);
        }
    }
}

/// Spans of which one or both are given by their length.
fn with_lengths(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let mut ends = args.to_vec();
    for at in [1, 3] {
        ends[at] = match (&args[at - 1], &args[at]) {
            (Datum::Null, Datum::Interval(_)) => Datum::Null,
            (Datum::Time(start), Datum::Interval(by)) => Datum::Time(move_time(Time(*start), by.micros).0),
            (Datum::Timestamp(start), Datum::Interval(by)) => {
                Datum::Timestamp(add_interval(Timestamp(*start), *by)?.0)
            }
            (Datum::TimestampTz(start), Datum::Interval(by)) => {
                Datum::TimestampTz(add_zoned(TimestampTz(*start), *by, &call.context.io.time_zone)?.0)
            }
            (_, end) => end.clone(),
        };
    }
    let known: Option<&Datum> = ends.iter().find(|end| !end.is_null());
    match known {
        None => Ok(Datum::Null),
        Some(Datum::Time(_)) => invoke(overlaps::<Time>, &ends),
        Some(Datum::Timestamp(_)) => invoke(overlaps::<Timestamp>, &ends),
        Some(_) => invoke(overlaps::<TimestampTz>, &ends),
    }
}

/// A span with its earlier end first; one end may be unknown, which is then the second.
fn ordered<T: Ord>(start: Option<T>, end: Option<T>) -> Option<(T, Option<T>)> {
    match (start, end) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some((one, None)),
        (Some(start), Some(end)) if start > end => Some((end, Some(start))),
        (Some(start), end) => Some((start, end)),
    }
}

/// Known as soon as the known ends decide it.
fn overlaps<T: Ord + Copy>(s1: Option<T>, e1: Option<T>, s2: Option<T>, e2: Option<T>) -> Option<bool> {
    let (first, second) = (ordered(s1, e1)?, ordered(s2, e2)?);
    let (earlier, later) = if first.0 <= second.0 { (first, second) } else { (second, first) };
    if earlier.0 == later.0 {
        return earlier.1.and(later.1).map(|_| true);
    }
    if later.0 < earlier.1? {
        return Some(true);
    }
    later.1.map(|_| false)
}
