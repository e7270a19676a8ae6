//! Output in DateStyle ISO and IntervalStyle postgres.

use std::fmt::Write;

use super::calendar::civil_from_days;
use super::fields::DateTimeFields;
use super::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE,
    MICROS_PER_SECOND, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY, TimeZone,
};
use crate::Interval;

fn two(value: u32, out: &mut String) {
    out.push(char::from(b'0' + (value / 10 % 10) as u8));
    out.push(char::from(b'0' + (value % 10) as u8));
}

/// `YYYY-MM-DD`, the year counted from 1 BC backwards; returns whether BC has to follow.
fn push_civil(year: i32, month: u32, day: u32, out: &mut String) -> bool {
    let is_bc = year <= 0;
    let shown = if is_bc { 1 - year } else { year } as u32;
    if shown < 10_000 {
        two(shown / 100, out);
        two(shown, out);
    } else {
        write!(out, "{shown}").expect("writing to a string cannot fail");
    }
    out.push('-');
    two(month, out);
    out.push('-');
    two(day, out);
    is_bc
}

/// `.5` for 500000; nothing for 0.
pub(super) fn push_fraction(micros: u32, out: &mut String) {
    if micros != 0 {
        let text = format!("{micros:06}");
        out.push('.');
        out.push_str(text.trim_end_matches('0'));
    }
}

pub(super) fn push_time(fields: &DateTimeFields, out: &mut String) {
    two(fields.hour, out);
    out.push(':');
    two(fields.minute, out);
    out.push(':');
    two(fields.second, out);
    push_fraction(fields.micros, out);
}

pub fn format_date(days: i32, out: &mut String) {
    match days {
        DATE_INFINITY => out.push_str("infinity"),
        DATE_NEGATIVE_INFINITY => out.push_str("-infinity"),
        _ => {
            let (year, month, day) = civil_from_days(days);
            if push_civil(year, month, day, out) {
                out.push_str(" BC");
            }
        }
    }
}

pub fn format_time(micros: i64, out: &mut String) {
    let mut fields = DateTimeFields::from_timestamp(micros.clamp(0, MICROS_PER_DAY) % MICROS_PER_DAY);
    if micros >= MICROS_PER_DAY {
        fields.hour = 24;
    }
    push_time(&fields, out);
}

fn push_infinity(micros: i64, out: &mut String) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.push_str("infinity"),
        TIMESTAMP_NEGATIVE_INFINITY => out.push_str("-infinity"),
        _ => return false,
    }
    true
}

pub fn format_timestamp(micros: i64, out: &mut String) {
    if push_infinity(micros, out) {
        return;
    }
    let fields = DateTimeFields::from_timestamp(micros);
    let is_bc = push_civil(fields.year, fields.month, fields.day, out);
    out.push(' ');
    push_time(&fields, out);
    if is_bc {
        out.push_str(" BC");
    }
}

pub fn format_timestamptz(micros: i64, zone: &TimeZone, out: &mut String) {
    if push_infinity(micros, out) {
        return;
    }
    let offset = zone.offset_at_utc(micros);
    let fields = DateTimeFields::from_timestamp(micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND));
    let is_bc = push_civil(fields.year, fields.month, fields.day, out);
    out.push(' ');
    push_time(&fields, out);
    push_offset(offset, out);
    if is_bc {
        out.push_str(" BC");
    }
}

/// `+02`, `+05:30`.
pub(super) fn push_offset(offset: i32, out: &mut String) {
    out.push(if offset < 0 { '-' } else { '+' });
    let magnitude = offset.unsigned_abs();
    two(magnitude / 3600, out);
    if !magnitude.is_multiple_of(3600) {
        out.push(':');
        two(magnitude / 60 % 60, out);
        if !magnitude.is_multiple_of(60) {
            out.push(':');
            two(magnitude % 60, out);
        }
    }
}

pub fn format_interval(interval: &Interval, out: &mut String) {
    let start = out.len();
    let mut after_negative = false;
    for (value, unit) in
        [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")]
    {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.push(' ');
        }
        let sign = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, "{sign}{value} {unit}{plural}").expect("writing to a string cannot fail");
        after_negative = value < 0;
    }
    let nothing_yet = out.len() == start;
    if !nothing_yet && interval.micros == 0 {
        return;
    }
    if !nothing_yet {
        out.push(' ');
    }
    if interval.micros < 0 {
        out.push('-');
    } else if after_negative {
        out.push('+');
    }
    let magnitude = interval.micros.unsigned_abs();
    let hours = magnitude / MICROS_PER_HOUR as u64;
    let minutes = magnitude / MICROS_PER_MINUTE as u64 % 60;
    let seconds = magnitude / MICROS_PER_SECOND as u64 % 60;
    write!(out, "{hours:02}:{minutes:02}:{seconds:02}").expect("writing to a string cannot fail");
    push_fraction((magnitude % MICROS_PER_SECOND as u64) as u32, out);
}
