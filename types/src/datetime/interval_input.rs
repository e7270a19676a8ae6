//! Input of intervals: `1 year 2 mons 3 days 04:05:06`, `1-2`, `3 days ago`; in the form of ISO 8601 in [`super::interval_iso`].
//!
//! Fields are read from right to left, so that a unit is known before its number; a number before a time is days.

use super::interval_iso::parse_iso;
use super::interval_sum::{IntervalSum, Unit};
use super::parts::{Fault, Parts, fraction};
use super::tokens::{Field, Kind, split};
use crate::io::IntervalStyle;
use crate::{Interval, Result, SqlError};

fn unit(word: &str) -> Option<Unit> {
    // Only ten letters of a word count.
    let word = &word[..word.len().min(10)];
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
        _ => return None,
    })
}

/// The unit of a number that stands alone: seconds, unless the declared fields say otherwise.
fn default_unit(typmod: i32) -> Unit {
    if typmod < 0 {
        return Unit::Second;
    }
    match (typmod >> 16) & 0x7fff {
        0x0004 => Unit::Year,
        0x0002 | 0x0006 => Unit::Month,
        0x0008 => Unit::Day,
        0x0400 | 0x0408 => Unit::Hour,
        0x0800 | 0x0c00 | 0x0c08 => Unit::Minute,
        _ => Unit::Second,
    }
}

/// `interval_in`.
pub fn parse_interval(input: &str, typmod: i32, style: IntervalStyle) -> Result<Interval> {
    let sum = match parse_fields(input, typmod, style) {
        Err(Fault::Syntax) => parse_iso(input),
        other => other,
    };
    sum.and_then(|sum| sum.finish()).map_err(|fault: Fault| -> SqlError {
        let fault = if matches!(fault, Fault::Field) { Fault::Interval } else { fault };
        fault.into_error("interval", input)
    })
}

fn parse_fields(input: &str, typmod: i32, style: IntervalStyle) -> Result<IntervalSum, Fault> {
    let fields = split(input).ok_or(Fault::Syntax)?;
    // The SQL standard's one sign holds for the whole value.
    let is_signed = |field: &Field| field.text.starts_with(['-', '+']);
    let negative = style == IntervalStyle::SqlStandard
        && fields.first().is_some_and(|field| field.text.starts_with('-'))
        && !fields[1..].iter().any(is_signed);
    let mut reader = Reader { sum: IntervalSum::default(), seen: 0, negative, unit: None, typmod };
    let mut ago = false;
    for field in fields.iter().rev() {
        match field.kind {
            Kind::Word | Kind::SignedWord if field.text == "ago" => ago = true,
            Kind::Word | Kind::SignedWord => reader.unit = Some(unit(&field.text).ok_or(Fault::Syntax)?),
            Kind::Time => reader.time(&field.text, false)?,
            Kind::Signed if field.text[1..].contains(':') => {
                // What is no time after all is no number either.
                let negative = field.text.starts_with('-');
                reader.time(&field.text[1..], negative).map_err(|_| Fault::Syntax)?;
            }
            Kind::Signed | Kind::Date | Kind::Number => reader.number(&field.text)?,
        }
    }
    if reader.seen == 0 {
        return Err(Fault::Syntax);
    }
    if ago { reader.sum.negated() } else { Ok(reader.sum) }
}

struct Reader {
    sum: IntervalSum,
    /// Units given so far, one bit each: none may come twice.
    seen: u32,
    negative: bool,
    unit: Option<Unit>,
    typmod: i32,
}

const fn bit(unit: Unit) -> u32 {
    1 << unit as u32
}

const ALL_SECONDS: u32 = bit(Unit::Second) | bit(Unit::Millisecond) | bit(Unit::Microsecond);

impl Reader {
    fn claim(&mut self, units: u32) -> Result<(), Fault> {
        if self.seen & units != 0 {
            return Err(Fault::Syntax);
        }
        self.seen |= units;
        Ok(())
    }

    fn time(&mut self, text: &str, minus: bool) -> Result<(), Fault> {
        let mut parts = Parts::default();
        let (hours, rest) = text.split_once(':').ok_or(Fault::Syntax)?;
        // Hours may exceed what a time of day has room for; minutes before a point may not.
        let are_hours = !hours.is_empty() && rest.find('.').is_none_or(|point| rest[..point].contains(':'));
        let micros = if are_hours && hours.bytes().all(|byte| byte.is_ascii_digit()) {
            parts.read_time(&format!("0:{rest}"))?;
            let hours: i64 = hours.parse().map_err(|_| Fault::Field)?;
            let whole = hours.checked_mul(super::MICROS_PER_HOUR).ok_or(Fault::Field)?;
            whole.checked_add(parts.time_of_day()).ok_or(Fault::Field)?
        } else {
            parts.read_time(text)?;
            parts.time_of_day()
        };
        self.sum.add_micros(if minus || self.negative { -micros } else { micros })?;
        // A number before it is days.
        self.unit = Some(Unit::Day);
        self.claim(bit(Unit::Hour) | bit(Unit::Minute) | ALL_SECONDS)
    }

    fn number(&mut self, text: &str) -> Result<(), Fault> {
        let minus = text.starts_with('-');
        let signed = usize::from(text.starts_with(['-', '+']));
        let end = text[signed..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| end + signed);
        let (digits, rest) = text.split_at(end);
        let mut value: i64 = match &digits[signed..] {
            "" => 0,
            _ => digits.parse().map_err(|_| Fault::Field)?,
        };
        let mut share = 0.0;
        let mut unit = self.unit.unwrap_or_else(|| default_unit(self.typmod));
        if let Some(months) = rest.strip_prefix('-') {
            // Years and months: 1-2.
            let months_end = months.find(|c: char| !c.is_ascii_digit()).unwrap_or(months.len());
            let count: i64 = match &months[..months_end] {
                "" => 0,
                count => count.parse().map_err(|_| Fault::Field)?,
            };
            if count >= 12 {
                return Err(Fault::Field);
            }
            if months_end < months.len() {
                return Err(Fault::Syntax);
            }
            unit = Unit::Month;
            let count = if minus { -count } else { count };
            value = value.checked_mul(12).and_then(|years| years.checked_add(count)).ok_or(Fault::Field)?;
        } else if rest.starts_with('.') {
            share = fraction(rest)?;
            if minus {
                share = -share;
            }
        } else if !rest.is_empty() {
            return Err(Fault::Syntax);
        }
        if self.negative {
            (value, share) = (-value.abs(), -share.abs());
        }
        self.sum.add(value, share, unit)?;
        self.unit = Some(match unit {
            Unit::Hour => Unit::Day,
            other => other,
        });
        self.claim(if unit == Unit::Second && share != 0.0 { ALL_SECONDS } else { bit(unit) })
    }
}
