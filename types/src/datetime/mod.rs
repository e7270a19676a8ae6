//! Dates, times and intervals: reading, writing, time zones and arithmetic.
//!
//! Days and microseconds count from 2000-01-01, as in PostgreSQL; the calendar is proleptic Gregorian.

mod age;
pub mod calendar;
mod extract;
mod fields;
mod format;
mod input;
mod interval_format;
mod interval_input;
mod interval_iso;
mod interval_math;
mod interval_sum;
mod parts;
mod shift;
mod style;
mod tokens;
mod truncate;
mod words;
mod zone;

#[cfg(test)]
mod tests;

pub use age::{age, timestamp_difference};
pub use extract::{extract_date, extract_interval, extract_time, extract_timestamp, extract_timestamptz};
pub use fields::{DateTimeFields, make_date, make_time, make_timestamp};
pub use format::{format_date, format_interval, format_time, format_timestamp, format_timestamptz};
pub use input::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub use interval_format::format_interval_in;
pub use interval_input::parse_interval;
pub use shift::{
    date_to_timestamp, timestamp_minus_interval, timestamp_plus_interval, timestamp_to_date,
    timestamptz_minus_interval, timestamptz_plus_interval,
};
pub use style::{format_date_in, format_timestamp_in, format_timestamptz_in};
pub use truncate::{date_trunc_interval, date_trunc_timestamp, date_trunc_timestamptz};
pub use zone::{TimeZone, timestamp_to_timestamptz, timestamptz_to_timestamp};

use crate::{SqlError, SqlState};

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

pub const DATE_INFINITY: i32 = i32::MAX;
pub const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub const TIMESTAMP_NEGATIVE_INFINITY: i64 = i64::MIN;

/// 4714-11-24 BC, Julian day 0.
pub const DATE_MIN: i32 = -calendar::JULIAN_EPOCH;
/// 5874897-12-31.
pub const DATE_MAX: i32 = 2_147_483_493 - calendar::JULIAN_EPOCH;
/// The first microsecond of 4714-11-24 BC.
pub const TIMESTAMP_MIN: i64 = -211_813_488_000_000_000;
/// The first microsecond beyond 294276-12-31.
pub const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;

pub fn is_valid_timestamp(micros: i64) -> bool {
    (TIMESTAMP_MIN..TIMESTAMP_END).contains(&micros)
}

pub fn is_valid_date(days: i32) -> bool {
    (DATE_MIN..=DATE_MAX).contains(&days)
}

pub fn is_infinite_timestamp(micros: i64) -> bool {
    micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEGATIVE_INFINITY
}

pub fn is_infinite_date(days: i32) -> bool {
    days == DATE_INFINITY || days == DATE_NEGATIVE_INFINITY
}

pub(crate) fn timestamp_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

pub(crate) fn date_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")
}

pub(crate) fn interval_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}
