//! A local time taken apart, and values put together from parts.

use super::calendar::{civil_from_days, days_from_civil, days_in_month};
use super::{
    MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, date_out_of_range, is_valid_date,
    is_valid_timestamp, timestamp_out_of_range,
};
use crate::{Result, SqlError, SqlState};

/// A finite local timestamp taken apart; `year` is astronomical (0 is 1 BC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTimeFields {
    pub year: i32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub micros: u32,
}

impl DateTimeFields {
    pub fn from_timestamp(micros: i64) -> Self {
        let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY) as i32);
        let time = micros.rem_euclid(MICROS_PER_DAY);
        Self {
            year,
            month,
            day,
            hour: (time / MICROS_PER_HOUR) as u32,
            minute: (time / MICROS_PER_MINUTE % 60) as u32,
            second: (time / MICROS_PER_SECOND % 60) as u32,
            micros: (time % MICROS_PER_SECOND) as u32,
        }
    }

    /// Microseconds since midnight.
    pub fn time_of_day(&self) -> i64 {
        i64::from(self.hour) * MICROS_PER_HOUR
            + i64::from(self.minute) * MICROS_PER_MINUTE
            + i64::from(self.second) * MICROS_PER_SECOND
            + i64::from(self.micros)
    }

    pub fn to_timestamp(self) -> Result<i64> {
        let days = i64::from(days_from_civil(self.year, self.month, self.day));
        days.checked_mul(MICROS_PER_DAY)
            .and_then(|micros| micros.checked_add(self.time_of_day()))
            .filter(|micros| is_valid_timestamp(*micros))
            .ok_or_else(timestamp_out_of_range)
    }
}

/// `make_date(year, month, day)`; a negative year is BC.
pub fn make_date(year: i32, month: i32, day: i32) -> Result<i32> {
    let refuse = || {
        SqlError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )
    };
    let astronomical = match year {
        0 => return Err(refuse()),
        year if year < 0 => year + 1,
        year => year,
    };
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(astronomical, month as u32) as i32 {
        return Err(refuse());
    }
    if !(-4713..=5_874_897).contains(&astronomical) {
        return Err(date_out_of_range());
    }
    let days = days_from_civil(astronomical, month as u32, day as u32);
    if is_valid_date(days) { Ok(days) } else { Err(date_out_of_range()) }
}

/// `make_time(hour, minute, second)`.
pub fn make_time(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let refuse = || {
        SqlError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        )
    };
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(refuse());
    }
    let micros = i64::from(hour) * MICROS_PER_HOUR
        + i64::from(minute) * MICROS_PER_MINUTE
        + (second * 1e6).round_ties_even() as i64;
    if micros > MICROS_PER_DAY { Err(refuse()) } else { Ok(micros) }
}

/// `make_timestamp(...)`.
pub fn make_timestamp(year: i32, month: i32, day: i32, hour: i32, minute: i32, second: f64) -> Result<i64> {
    let days = i64::from(make_date(year, month, day)?);
    days.checked_mul(MICROS_PER_DAY)
        .and_then(|micros| micros.checked_add(make_time(hour, minute, second).ok()?))
        .filter(|micros| is_valid_timestamp(*micros))
        .map_or_else(|| make_time(hour, minute, second).and(Err(timestamp_out_of_range())), Ok)
}
