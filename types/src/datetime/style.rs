//! Output of dates and timestamps in each DateStyle.

use std::fmt::Write;

use super::calendar::{civil_from_days, day_of_week};
use super::fields::DateTimeFields;
use super::format::{push_offset, push_time};
use super::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, TimeZone, format_date,
    format_timestamp, format_timestamptz, is_infinite_timestamp,
};
use crate::io::{DateOrder, DateStyle, IoSettings};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Day and month in the order of the session.
fn push_date(year: i32, month: u32, day: u32, settings: &IoSettings, out: &mut String) {
    let day_first = settings.date_order == DateOrder::Dmy || settings.date_style == DateStyle::German;
    let (first, second) = if day_first { (day, month) } else { (month, day) };
    let delimiter = match settings.date_style {
        DateStyle::Sql => '/',
        DateStyle::German => '.',
        _ => '-',
    };
    let shown = if year <= 0 { 1 - year } else { year };
    write!(out, "{first:02}{delimiter}{second:02}{delimiter}{shown:04}")
        .expect("writing to a string cannot fail");
}

fn push_era(year: i32, out: &mut String) {
    if year <= 0 {
        out.push_str(" BC");
    }
}

pub fn format_date_in(days: i32, settings: &IoSettings, out: &mut String) {
    if settings.date_style == DateStyle::Iso || matches!(days, DATE_INFINITY | DATE_NEGATIVE_INFINITY) {
        return format_date(days, out);
    }
    let (year, month, day) = civil_from_days(days);
    push_date(year, month, day, settings, out);
    push_era(year, out);
}

pub fn format_timestamp_in(micros: i64, settings: &IoSettings, out: &mut String) {
    if settings.date_style == DateStyle::Iso || is_infinite_timestamp(micros) {
        return format_timestamp(micros, out);
    }
    push_local(micros, settings, out, |_| {});
}

pub fn format_timestamptz_in(micros: i64, settings: &IoSettings, out: &mut String) {
    let zone = &settings.time_zone;
    if settings.date_style == DateStyle::Iso || is_infinite_timestamp(micros) {
        return format_timestamptz(micros, zone, out);
    }
    let east = zone.offset_at_utc(micros);
    let local = micros.saturating_add(i64::from(east) * MICROS_PER_SECOND);
    push_local(local, settings, out, |out| push_zone(zone, micros, east, out));
}

/// The zone's letters at an instant, or its offset where it has none.
fn push_zone(zone: &TimeZone, instant: i64, east: i32, out: &mut String) {
    match zone.abbreviation_at(instant) {
        Some(letters) => {
            out.push(' ');
            out.push_str(&letters);
        }
        None => {
            out.push(' ');
            push_offset(east, out);
        }
    }
}

fn push_local(micros: i64, settings: &IoSettings, out: &mut String, zone: impl FnOnce(&mut String)) {
    let fields = DateTimeFields::from_timestamp(micros);
    if settings.date_style != DateStyle::Postgres {
        push_date(fields.year, fields.month, fields.day, settings, out);
        out.push(' ');
        push_time(&fields, out);
        zone(out);
    } else {
        let weekday = DAYS[day_of_week(micros.div_euclid(MICROS_PER_DAY) as i32) as usize];
        let month = MONTHS[fields.month as usize - 1];
        let written = if settings.date_order == DateOrder::Dmy {
            format!("{weekday} {:02} {month} ", fields.day)
        } else {
            format!("{weekday} {month} {:02} ", fields.day)
        };
        out.push_str(&written);
        push_time(&fields, out);
        let shown = if fields.year <= 0 { 1 - fields.year } else { fields.year };
        write!(out, " {shown:04}").expect("writing to a string cannot fail");
        zone(out);
    }
    push_era(fields.year, out);
}
