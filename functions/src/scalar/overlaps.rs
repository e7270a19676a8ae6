//! `(start, end) OVERLAPS (start, end)`: half-open spans, each a point when it has no length.

use basalt_types::Interval;

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::{add_interval, add_zoned};
use crate::value::{Time, Timestamp, TimestampTz};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "overlaps(time,time,time,time)" => overlaps::<Time>,
        "overlaps(timestamp,timestamp,timestamp,timestamp)" => overlaps::<Timestamp>,
        "overlaps(timestamptz,timestamptz,timestamptz,timestamptz)" => overlaps::<TimestampTz>,
        "overlaps(timestamp,interval,timestamp,interval)" => |a: Option<Timestamp>, b: Option<Interval>, c: Option<Timestamp>, d: Option<Interval>| {
            let end = |start: Option<Timestamp>, by: Option<Interval>| start.zip(by).map(|(start, by)| add_interval(start, by)).transpose();
            Ok::<_, basalt_types::SqlError>(overlaps(a, end(a, b)?, c, end(c, d)?))
        },
    });
    call_scalars!(builder, {
        "overlaps(timestamptz,interval,timestamptz,interval)" => |call: &Call<'_>, a: Option<TimestampTz>, b: Option<Interval>, c: Option<TimestampTz>, d: Option<Interval>| {
            let zone = &call.context.io.time_zone;
            let end = |start: Option<TimestampTz>, by: Option<Interval>| start.zip(by).map(|(start, by)| add_zoned(start, by, zone)).transpose();
            Ok::<_, basalt_types::SqlError>(overlaps(a, end(a, b)?, c, end(c, d)?))
        },
    });
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
