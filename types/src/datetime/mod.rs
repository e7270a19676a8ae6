//! Dates, times and intervals: reading, writing, time zones and arithmetic.
//!
//! Days and microseconds count from 2000-01-01, as in PostgreSQL; the calendar is proleptic Gregorian.

pub mod calendar;
mod zone;

pub use zone::{TimeZone, timestamp_to_timestamptz, timestamptz_to_timestamp};

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

pub const DATE_INFINITY: i32 = i32::MAX;
pub const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub const TIMESTAMP_NEGATIVE_INFINITY: i64 = i64::MIN;

/// 4714-11-24 BC, Julian day 0.
pub const DATE_MIN: i32 = -2_451_545;
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

pub(crate) fn timestamp_out_of_range() -> crate::SqlError {
    crate::SqlError::new(crate::SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

pub(crate) fn date_out_of_range() -> crate::SqlError {
    crate::SqlError::new(crate::SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")
}
