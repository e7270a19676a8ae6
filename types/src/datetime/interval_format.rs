//! Output of intervals in each IntervalStyle.

use std::fmt::Write;

use super::format::push_fraction;
use super::{MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, format_interval};
use crate::Interval;
use crate::io::IntervalStyle;

/// The parts of an interval, all of the sign that they have.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    /// In microseconds.
    seconds: i64,
}

impl Parts {
    fn of(interval: &Interval) -> Self {
        Self {
            years: i64::from(interval.months / 12),
            months: i64::from(interval.months % 12),
            days: i64::from(interval.days),
            hours: interval.micros / MICROS_PER_HOUR,
            minutes: interval.micros / MICROS_PER_MINUTE % 60,
            seconds: interval.micros % MICROS_PER_MINUTE,
        }
    }

    fn all(&self) -> [i64; 6] {
        [self.years, self.months, self.days, self.hours, self.minutes, self.seconds]
    }
}

/// Seconds without a sign.
fn push_seconds(micros: i64, padded: bool, out: &mut String) {
    let magnitude = micros.unsigned_abs();
    let whole = magnitude / MICROS_PER_SECOND as u64;
    if padded {
        write!(out, "{whole:02}").expect("writing to a string cannot fail");
    } else {
        write!(out, "{whole}").expect("writing to a string cannot fail");
    }
    push_fraction((magnitude % MICROS_PER_SECOND as u64) as u32, out);
}

/// Appends an interval in a style.
pub fn format_interval_in(interval: &Interval, style: IntervalStyle, out: &mut String) {
    match style {
        IntervalStyle::Postgres => format_interval(interval, out),
        IntervalStyle::PostgresVerbose => verbose(&Parts::of(interval), out),
        IntervalStyle::Iso8601 => iso(&Parts::of(interval), out),
        IntervalStyle::SqlStandard => sql_standard(Parts::of(interval), out),
    }
}

/// `@ 1 year 2 mons ago`: the first part gives the sign of all.
fn verbose(parts: &Parts, out: &mut String) {
    out.push('@');
    let (mut any, mut before) = (false, false);
    let named = [
        (parts.years, "year"),
        (parts.months, "mon"),
        (parts.days, "day"),
        (parts.hours, "hour"),
        (parts.minutes, "min"),
    ];
    for (value, unit) in named.into_iter().filter(|(value, _)| *value != 0) {
        let shown = if !any {
            before = value < 0;
            value.abs()
        } else if before {
            -value
        } else {
            value
        };
        any = true;
        let plural = if shown == 1 { "" } else { "s" };
        write!(out, " {shown} {unit}{plural}").expect("writing to a string cannot fail");
    }
    if parts.seconds != 0 {
        out.push(' ');
        if !any {
            before = parts.seconds < 0;
        } else if (parts.seconds < 0) != before {
            out.push('-');
        }
        any = true;
        push_seconds(parts.seconds, false, out);
        out.push_str(if parts.seconds.abs() == MICROS_PER_SECOND { " sec" } else { " secs" });
    }
    if !any {
        out.push_str(" 0");
    }
    if before {
        out.push_str(" ago");
    }
}

fn iso(parts: &Parts, out: &mut String) {
    if parts.all() == [0; 6] {
        out.push_str("PT0S");
        return;
    }
    let push = |out: &mut String, value: i64, unit: char| {
        if value != 0 {
            write!(out, "{value}{unit}").expect("writing to a string cannot fail");
        }
    };
    out.push('P');
    push(out, parts.years, 'Y');
    push(out, parts.months, 'M');
    push(out, parts.days, 'D');
    if parts.hours != 0 || parts.minutes != 0 || parts.seconds != 0 {
        out.push('T');
    }
    push(out, parts.hours, 'H');
    push(out, parts.minutes, 'M');
    if parts.seconds != 0 {
        if parts.seconds < 0 {
            out.push('-');
        }
        push_seconds(parts.seconds, false, out);
        out.push('S');
    }
}

fn sql_standard(mut parts: Parts, out: &mut String) {
    let negative = parts.all().iter().any(|part| *part < 0);
    let positive = parts.all().iter().any(|part| *part > 0);
    let has_months = parts.years != 0 || parts.months != 0;
    let has_time = parts.hours != 0 || parts.minutes != 0 || parts.seconds != 0;
    let standard = !(negative && positive) && !(has_months && (has_time || parts.days != 0));
    if !negative && !positive {
        out.push('0');
        return;
    }
    let push = |out: &mut String, text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("writing to a string cannot fail");
    };
    if !standard {
        // Each part has a sign, so that none holds for another.
        let sign = |negative: bool| if negative { '-' } else { '+' };
        let months = sign(parts.years < 0 || parts.months < 0);
        let time = sign(parts.hours < 0 || parts.minutes < 0 || parts.seconds < 0);
        push(out, format_args!("{months}{}-{} ", parts.years.abs(), parts.months.abs()));
        push(out, format_args!("{}{} ", sign(parts.days < 0), parts.days.abs()));
        push(out, format_args!("{time}{}:{:02}:", parts.hours.abs(), parts.minutes.abs()));
        push_seconds(parts.seconds, true, out);
        return;
    }
    if negative {
        out.push('-');
        let Parts { years, months, days, hours, minutes, seconds } = parts;
        parts = Parts {
            years: -years,
            months: -months,
            days: -days,
            hours: -hours,
            minutes: -minutes,
            seconds: -seconds,
        };
    }
    if has_months {
        push(out, format_args!("{}-{}", parts.years, parts.months));
        return;
    }
    if parts.days != 0 {
        push(out, format_args!("{} ", parts.days));
    }
    push(out, format_args!("{}:{:02}:", parts.hours, parts.minutes));
    push_seconds(parts.seconds, true, out);
}
