//! `to_char` of timestamps and intervals.

use basalt_types::datetime::calendar::{
    JULIAN_EPOCH, UNIX_EPOCH_DAYS, civil_from_days, day_of_week, day_of_year, iso_week, iso_week_start,
};
use basalt_types::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, TimeZone, timestamptz_to_timestamp};
use basalt_types::{Result, SqlError, SqlState};
use chrono_tz::OffsetName;

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::format::template::{DAYS, MONTHS, Part, ROMAN_MONTHS, ordinal, split};
use crate::value::{Timestamp, TimestampTz};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "to_char(timestamp,text)" => |a: Timestamp, template: &str| timestamp_text(a.0, None, template),
        "to_char(interval,text)" => super::interval::interval_text,
    });
    call_scalars!(builder, {
        "to_char(timestamptz,text)" => |call: &Call<'_>, a: TimestampTz, template: &str| {
            let zone = &call.context.io.time_zone;
            let local = timestamptz_to_timestamp(a.0, zone)?;
            timestamp_text(local, Some((zone, a.0)), template)
        },
    });
}

/// What the fields read.
pub(super) struct Moment {
    /// Counted as people do: there is no year 0 before Christ. Of an interval, whole years.
    pub year: i64,
    pub before_christ: bool,
    pub month: u32,
    pub day: i64,
    /// Days since 2000-01-01; `None` for an interval.
    pub days: Option<i32>,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
    /// Abbreviation and seconds east.
    pub zone: Option<(String, i32)>,
}

fn timestamp_text(local: i64, zone: Option<(&TimeZone, i64)>, template: &str) -> Result<Option<String>> {
    if local == i64::MAX || local == i64::MIN || template.is_empty() {
        return Ok(None);
    }
    let days = local.div_euclid(MICROS_PER_DAY) as i32;
    let time = local.rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let moment = Moment {
        year: if year <= 0 { 1 - i64::from(year) } else { i64::from(year) },
        before_christ: year <= 0,
        month,
        day: i64::from(day),
        days: Some(days),
        hour: time / (3600 * MICROS_PER_SECOND),
        minute: time / (60 * MICROS_PER_SECOND) % 60,
        second: time / MICROS_PER_SECOND % 60,
        micros: time % MICROS_PER_SECOND,
        zone: zone.map(|(zone, instant)| (abbreviation(zone, instant), zone.offset_at_utc(instant))),
    };
    print(&moment, template).map(Some)
}

fn abbreviation(zone: &TimeZone, instant: i64) -> String {
    use chrono::TimeZone as _;
    let unix = instant.saturating_add(i64::from(UNIX_EPOCH_DAYS) * MICROS_PER_DAY);
    match (zone, chrono::DateTime::from_timestamp_micros(unix)) {
        (TimeZone::Named(zone), Some(moment)) => {
            zone.offset_from_utc_datetime(&moment.naive_utc()).abbreviation().unwrap_or_default().to_owned()
        }
        _ => zone.name().trim_start_matches('<').split('>').next().unwrap_or_default().to_owned(),
    }
}

fn print(moment: &Moment, template: &str) -> Result<String> {
    let mut result = String::new();
    for part in &split(template)? {
        push(&mut result, moment, part)?;
    }
    Ok(result)
}

/// Zero-padded unless the fill mode is off; a minus sign comes on top.
pub(super) fn push_number(result: &mut String, value: i64, width: usize, fill: bool, suffix: Option<&str>) {
    let width = if !fill { 0 } else { width + usize::from(value < 0) };
    let text = format!("{value:0width$}");
    result.push_str(&text);
    if let Some(written) = suffix {
        result.push_str(&ordinal(&text, written));
    }
}

/// A name in the case of the field: all capitals, capitalised, or small.
fn cased(name: &str, written: &str) -> String {
    let mut letters = written.chars().filter(char::is_ascii_alphabetic);
    match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
        (true, true) => name.to_uppercase(),
        (true, false) => name.to_owned(),
        _ => name.to_lowercase(),
    }
}

pub(super) fn of_interval() -> SqlError {
    SqlError::new(SqlState::INVALID_DATETIME_FORMAT, "invalid format specification for an interval value")
        .with_hint("Intervals are not tied to specific calendar dates.")
}

pub(super) fn push(result: &mut String, moment: &Moment, part: &Part) -> Result<()> {
    let (name, written, fill, suffix) = match part {
        Part::Literal(text) => {
            result.push_str(text);
            return Ok(());
        }
        Part::Separator(character) => {
            result.push(*character);
            return Ok(());
        }
        Part::Field { name, written, fill, ordinal } => (*name, written, *fill, ordinal.as_deref()),
    };
    if let Some((value, width)) = clock_number(moment, name) {
        push_number(result, value, width, fill, suffix);
        return Ok(());
    }
    if let Some(text) = clock_text(moment, name) {
        let upper = written.starts_with(|first: char| first.is_ascii_uppercase());
        result.push_str(&if upper || name == "OF" { text } else { text.to_lowercase() });
        return Ok(());
    }
    let days = moment.days.ok_or_else(of_interval)?;
    if let Some((value, width)) = calendar_number(moment, days, name) {
        push_number(result, value, width, fill, suffix);
        return Ok(());
    }
    let month = moment.month as usize - 1;
    let weekday = day_of_week(days) as usize;
    let (text, width) = match name {
        "MONTH" => (cased(MONTHS[month], written), 9),
        "MON" => (cased(&MONTHS[month][..3], written), 3),
        "DAY" => (cased(DAYS[weekday], written), 9),
        "DY" => (cased(&DAYS[weekday][..3], written), 3),
        "RM" if written.starts_with('R') => (ROMAN_MONTHS[month].to_owned(), 4),
        _ => (ROMAN_MONTHS[month].to_lowercase(), 4),
    };
    let width = if fill { width } else { 0 };
    result.push_str(&format!("{text:<width$}"));
    Ok(())
}

/// (value, width) of fields that intervals have, too.
fn clock_number(moment: &Moment, name: &str) -> Option<(i64, usize)> {
    let seconds = moment.hour * 3600 + moment.minute * 60 + moment.second;
    Some(match name {
        "HH24" => (moment.hour, 2),
        "HH12" | "HH" => (if moment.hour % 12 == 0 { 12 } else { moment.hour % 12 }, 2),
        "MI" => (moment.minute, 2),
        "SS" => (moment.second, 2),
        "MS" | "FF3" => (moment.micros / 1000, 3),
        "US" | "FF6" => (moment.micros, 6),
        "FF1" => (moment.micros / 100_000, 1),
        "FF2" => (moment.micros / 10_000, 2),
        "FF4" => (moment.micros / 100, 4),
        "FF5" => (moment.micros / 10, 5),
        "SSSS" | "SSSSS" => (seconds, 0),
        "YYYY" => (moment.year, 4),
        "YYY" => (moment.year % 1000, 3),
        "YY" => (moment.year % 100, 2),
        "Y" => (moment.year % 10, 1),
        // Unlike the others it counts its sign.
        "DD" => (moment.day, if moment.day < 0 { 1 } else { 2 }),
        _ => return None,
    })
}

fn clock_text(moment: &Moment, name: &str) -> Option<String> {
    let afternoon = moment.hour.rem_euclid(24) >= 12;
    let zone = |form: fn(char, i32) -> String| {
        let east = moment.zone.as_ref().map_or(0, |(_, east)| *east);
        form(if east < 0 { '-' } else { '+' }, east.abs())
    };
    Some(match name {
        "AM" | "PM" => if afternoon { "PM" } else { "AM" }.into(),
        "A.M." | "P.M." => if afternoon { "P.M." } else { "A.M." }.into(),
        "AD" | "BC" => if moment.before_christ { "BC" } else { "AD" }.into(),
        "A.D." | "B.C." => if moment.before_christ { "B.C." } else { "A.D." }.into(),
        "Y,YYY" => format!("{},{:03}", moment.year / 1000, moment.year % 1000),
        "TZ" => moment.zone.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
        "TZH" => zone(|sign, east| format!("{sign}{:02}", east / 3600)),
        "TZM" => zone(|_, east| format!("{:02}", east / 60 % 60)),
        "OF" => zone(|sign, east| match east / 60 % 60 {
            0 => format!("{sign}{:02}", east / 3600),
            minutes => format!("{sign}{:02}:{minutes:02}", east / 3600),
        }),
        _ => return None,
    })
}

/// (value, width) of fields that need a day of the calendar.
fn calendar_number(moment: &Moment, days: i32, name: &str) -> Option<(i64, usize)> {
    let (iso_year, week) = iso_week(days);
    let iso_year = if iso_year <= 0 { 1 - i64::from(iso_year) } else { i64::from(iso_year) };
    let iso_weekday = i64::from((day_of_week(days) + 6) % 7) + 1;
    let century = (moment.year - 1) / 100 + 1;
    Some(match name {
        "MM" => (i64::from(moment.month), 2),
        "DDD" => (i64::from(day_of_year(days)), 3),
        "IDDD" => {
            let start = iso_week_start(iso_week(days).0, 1);
            (i64::from(days - start) + 1, 3)
        }
        "D" => (i64::from(day_of_week(days)) + 1, 1),
        "ID" => (iso_weekday, 1),
        "W" => ((moment.day - 1) / 7 + 1, 1),
        "WW" => ((i64::from(day_of_year(days)) - 1) / 7 + 1, 2),
        "IW" => (i64::from(week), 2),
        "IYYY" => (iso_year, 4),
        "IYY" => (iso_year % 1000, 3),
        "IY" => (iso_year % 100, 2),
        "I" => (iso_year % 10, 1),
        "CC" => (if moment.before_christ { -century } else { century }, 2),
        "Q" => (i64::from((moment.month - 1) / 3) + 1, 1),
        "J" => (i64::from(days) + i64::from(JULIAN_EPOCH), 1),
        _ => return None,
    })
}
