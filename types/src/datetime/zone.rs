//! Time zones: fixed offsets and the names of the tz database.

use chrono::{NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::OffsetName as _;

use super::calendar::{UNIX_EPOCH_DAYS, civil_from_days, day_of_week, days_from_civil, is_leap_year};
use super::{MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};
use crate::{Result, SqlError, SqlState};

/// A session's or a literal's time zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TimeZone {
    /// Seconds east of Greenwich, and the name to show (`<+02>-02`).
    Fixed {
        seconds_east: i32,
        name: Box<str>,
    },
    Named(chrono_tz::Tz),
}

impl TimeZone {
    pub fn utc() -> Self {
        Self::Named(chrono_tz::Tz::UTC)
    }

    pub fn fixed(seconds_east: i32) -> Self {
        Self::Fixed { seconds_east, name: fixed_name(seconds_east).into() }
    }

    /// Reads a value of `SET TIME ZONE`: a name of the tz database in any case, or hours east as a number.
    pub fn parse(input: &str) -> Result<Self> {
        let text = input.trim();
        if let Ok(hours) = text.parse::<f64>()
            && hours.abs() <= 167.0
        {
            return Ok(Self::fixed((hours * 3600.0) as i32));
        }
        Self::from_name(text).or_else(|| posix_zone(text)).ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"TimeZone\": \"{input}\""),
            )
        })
    }

    /// A zone by name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse()
            .ok()
            .or_else(|| {
                chrono_tz::TZ_VARIANTS.iter().copied().find(|zone| zone.name().eq_ignore_ascii_case(name))
            })
            .map(Self::Named)
    }

    /// A zone by a POSIX specification without daylight saving.
    pub fn posix(text: &str) -> Option<Self> {
        posix_zone(text)
    }

    /// Seconds east, of a zone where they never change.
    pub fn fixed_offset(&self) -> Option<i32> {
        match self {
            Self::Fixed { seconds_east, .. } => Some(*seconds_east),
            Self::Named(zone) => {
                const ALIKE: [&str; 11] = [
                    "UTC",
                    "GMT",
                    "GMT0",
                    "GMT+0",
                    "GMT-0",
                    "UCT",
                    "Universal",
                    "Greenwich",
                    "Zulu",
                    "MST",
                    "HST",
                ];
                let name = zone.name();
                let alike = ALIKE.contains(&name) || name == "EST" || name.starts_with("Etc/");
                alike.then(|| self.offset_at_utc(0))
            }
        }
    }

    /// What the zone is called at an instant: `EST`, or `+03` where it has no letters.
    pub fn abbreviation_at(&self, micros: i64) -> Option<String> {
        match self {
            Self::Fixed { name, .. } => match name.strip_prefix('<') {
                Some(rest) => rest.split_once('>').map(|(shown, _)| shown.to_owned()),
                None => {
                    let letters = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
                    (letters > 0).then(|| name[..letters].to_owned())
                }
            },
            Self::Named(zone) => {
                let moment = naive(within_table(micros))?;
                Some(zone.offset_from_utc_datetime(&moment).abbreviation()?.to_owned())
            }
        }
    }

    /// What `SHOW timezone` prints.
    pub fn name(&self) -> &str {
        match self {
            Self::Fixed { name, .. } => name,
            Self::Named(zone) => zone.name(),
        }
    }

    /// Seconds east of Greenwich at an instant.
    pub fn offset_at_utc(&self, micros: i64) -> i32 {
        match self {
            Self::Fixed { seconds_east, .. } => *seconds_east,
            Self::Named(chrono_tz::Tz::UTC) => 0,
            Self::Named(zone) => match naive(within_table(micros)) {
                Some(instant) => zone.offset_from_utc_datetime(&instant).fix().local_minus_utc(),
                None => 0,
            },
        }
    }

    /// Seconds east of Greenwich at a local time. An ambiguous or skipped local time is read as standard time, as
    /// PostgreSQL does.
    pub fn offset_at_local(&self, micros: i64) -> i32 {
        let offset_at = |micros: i64| self.offset_at_utc(micros);
        match self {
            Self::Fixed { seconds_east, .. } => *seconds_east,
            Self::Named(chrono_tz::Tz::UTC) => 0,
            Self::Named(_) => {
                let before = offset_at(micros.saturating_sub(MICROS_PER_DAY));
                let after = offset_at(micros.saturating_add(MICROS_PER_DAY));
                if before == after {
                    return before;
                }
                let is_valid = |offset: i32| {
                    offset_at(micros.saturating_sub(i64::from(offset) * MICROS_PER_SECOND)) == offset
                };
                match (is_valid(before), is_valid(after)) {
                    (true, false) => before,
                    (false, true) => after,
                    // Both: fall back, the later (standard) reading. Neither: spring forward, the offset before.
                    (true, true) => before.min(after),
                    (false, false) => before.min(after),
                }
            }
        }
    }
}

/// The compiled table of transitions ends with the year 2099. Later years follow the rules of the last ones, so an
/// instant there is moved to a year with the same calendar among 2071 to 2098.
fn within_table(micros: i64) -> i64 {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let Ok(days) = i32::try_from(days) else { return micros };
    let (year, ..) = civil_from_days(days);
    if year < 2099 {
        return micros;
    }
    let first_day = days_from_civil(year, 1, 1);
    let twin = (2071..2099)
        .find(|candidate| {
            is_leap_year(*candidate) == is_leap_year(year)
                && day_of_week(days_from_civil(*candidate, 1, 1)) == day_of_week(first_day)
        })
        .expect("28 consecutive years have every calendar");
    micros - i64::from(first_day - days_from_civil(twin, 1, 1)) * MICROS_PER_DAY
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    let unix = micros.checked_add(i64::from(UNIX_EPOCH_DAYS) * MICROS_PER_DAY)?;
    chrono::DateTime::from_timestamp_micros(unix).map(|instant| instant.naive_utc())
}

/// A POSIX zone without daylight saving: `<+02>-02`, `ABC-3:30`; its sign is west-positive.
fn posix_zone(text: &str) -> Option<TimeZone> {
    let offset = match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>').filter(|(name, _)| name.len() >= 3)?.1,
        None => {
            let letters = text.find(|c: char| !c.is_ascii_alphabetic()).filter(|letters| *letters >= 1)?;
            &text[letters..]
        }
    };
    let (sign, digits) = match offset.as_bytes().first()? {
        b'-' => (1, &offset[1..]),
        b'+' => (-1, &offset[1..]),
        _ => (-1, offset),
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        if unit == 0 || part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value: i32 = part.parse().ok()?;
        if value > if unit == 3600 { 167 } else { 59 } {
            return None;
        }
        seconds += value * unit;
        unit /= 60;
    }
    Some(TimeZone::Fixed { seconds_east: sign * seconds, name: text.into() })
}

/// `<+02>-02`, as PostgreSQL names a numeric zone: POSIX signs are west-positive.
fn fixed_name(seconds_east: i32) -> String {
    let part = |seconds: i32| {
        let magnitude = seconds.abs();
        let sign = if seconds < 0 { '-' } else { '+' };
        let mut text = format!("{sign}{:02}", magnitude / 3600);
        if magnitude % 3600 != 0 {
            text.push_str(&format!(":{:02}", magnitude / 60 % 60));
            if magnitude % 60 != 0 {
                text.push_str(&format!(":{:02}", magnitude % 60));
            }
        }
        text
    };
    format!("<{}>{}", part(seconds_east), part(-seconds_east))
}

fn is_infinite(micros: i64) -> bool {
    micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEGATIVE_INFINITY
}

/// Reads a local time in a zone.
pub fn timestamp_to_timestamptz(local: i64, zone: &TimeZone) -> Result<i64> {
    if is_infinite(local) {
        return Ok(local);
    }
    local
        .checked_sub(i64::from(zone.offset_at_local(local)) * MICROS_PER_SECOND)
        .filter(|micros| super::is_valid_timestamp(*micros))
        .ok_or_else(super::timestamp_out_of_range)
}

/// The local time of an instant in a zone.
pub fn timestamptz_to_timestamp(instant: i64, zone: &TimeZone) -> Result<i64> {
    if is_infinite(instant) {
        return Ok(instant);
    }
    instant
        .checked_add(i64::from(zone.offset_at_utc(instant)) * MICROS_PER_SECOND)
        .filter(|micros| super::is_valid_timestamp(*micros))
        .ok_or_else(super::timestamp_out_of_range)
}
