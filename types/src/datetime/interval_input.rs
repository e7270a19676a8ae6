//! Input of intervals: `1 year 2 mons 3 days 04:05:06`, `1-2`, `P1Y2M3DT4H5M6S`, `3 days ago`.

use super::input::fraction_micros;
use super::tokens::{Token, tokenize};
use super::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::{Interval, Result, SqlError, SqlState};

enum Fault {
    Syntax,
    Range,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u32)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
            Unit::Microsecond
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
            Unit::Millisecond
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

/// A value in three parts that are added up exactly and checked at the end.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i128,
    /// Units given so far, one bit each: none may come twice.
    seen: u32,
}

/// A number split so that fractions cascade without losing the whole part's precision.
#[derive(Clone, Copy)]
struct Quantity {
    whole: i64,
    /// Carries the sign too.
    fraction: f64,
}

fn quantity(negative: bool, text: &str) -> Result<Quantity, Fault> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || (whole.is_empty() && fraction.is_empty()) {
        return Err(Fault::Syntax);
    }
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Syntax);
    }
    let magnitude: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Fault::Range)? };
    let part: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().unwrap_or(0.0) };
    Ok(if negative {
        Quantity { whole: -magnitude, fraction: -part }
    } else {
        Quantity { whole: magnitude, fraction: part }
    })
}

impl Sum {
    fn claim(&mut self, units: &[Unit]) -> Result<(), Fault> {
        let mask = units.iter().fold(0, |mask, unit| mask | 1 << *unit as u32);
        if self.seen & mask != 0 {
            return Err(Fault::Syntax);
        }
        self.seen |= mask;
        Ok(())
    }

    fn add_fractional_days(&mut self, days: f64) {
        let whole = days.trunc();
        self.days += whole as i64;
        self.micros += ((days - whole) * MICROS_PER_DAY as f64).round_ties_even() as i128;
    }

    fn add(&mut self, quantity: Quantity, unit: Unit) -> Result<(), Fault> {
        let Quantity { whole, fraction } = quantity;
        let months = |factor: i64| whole.checked_mul(factor).ok_or(Fault::Range);
        let time = |sum: &mut Self, factor: i64| {
            sum.micros +=
                i128::from(whole) * i128::from(factor) + (fraction * factor as f64).round_ties_even() as i128;
        };
        match unit {
            Unit::Microsecond => time(self, 1),
            Unit::Millisecond => time(self, 1000),
            Unit::Second => time(self, MICROS_PER_SECOND),
            Unit::Minute => time(self, MICROS_PER_MINUTE),
            Unit::Hour => time(self, MICROS_PER_HOUR),
            Unit::Day => {
                self.days = self.days.checked_add(whole).ok_or(Fault::Range)?;
                self.add_fractional_days(fraction);
            }
            Unit::Week => {
                let days = whole.checked_mul(7).and_then(|days| self.days.checked_add(days));
                self.days = days.ok_or(Fault::Range)?;
                self.add_fractional_days(fraction * 7.0);
            }
            Unit::Month => {
                self.months = self.months.checked_add(whole).ok_or(Fault::Range)?;
                self.add_fractional_days(fraction * 30.0);
            }
            Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium => {
                let factor = match unit {
                    Unit::Year => 12,
                    Unit::Decade => 120,
                    Unit::Century => 1200,
                    _ => 12_000,
                };
                // Fractions of a year are whole months, rounded.
                let extra = (fraction * factor as f64).round_ties_even() as i64;
                self.months = self
                    .months
                    .checked_add(months(factor)?)
                    .and_then(|m| m.checked_add(extra))
                    .ok_or(Fault::Range)?;
            }
        }
        Ok(())
    }

    /// `[-]HH:MM[:SS[.f]]` or `MM:SS.f`.
    fn add_time(&mut self, negative: bool, text: &str) -> Result<(), Fault> {
        let parts: Vec<&str> = text.split(':').collect();
        let digits = |text: &str| -> Result<i128, Fault> {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Fault::Syntax);
            }
            text.parse::<i64>().map(i128::from).map_err(|_| Fault::Range)
        };
        let (hours, minutes, seconds) = match parts[..] {
            [minutes, seconds] if seconds.contains('.') => (0, digits(minutes)?, seconds),
            [hours, minutes] => (digits(hours)?, digits(minutes)?, "0"),
            [hours, minutes, seconds] => (digits(hours)?, digits(minutes)?, seconds),
            _ => return Err(Fault::Syntax),
        };
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Fault::Syntax);
        }
        let whole = digits(whole)?;
        if minutes > 59 || whole > 60 {
            return Err(Fault::Range);
        }
        let total = hours * i128::from(MICROS_PER_HOUR)
            + minutes * i128::from(MICROS_PER_MINUTE)
            + whole * i128::from(MICROS_PER_SECOND)
            + i128::from(fraction_micros(fraction));
        self.micros += if negative { -total } else { total };
        Ok(())
    }

    fn finish(self, negate: bool) -> Result<Interval, Fault> {
        let sign = if negate { -1 } else { 1 };
        Ok(Interval {
            months: i32::try_from(self.months * sign).map_err(|_| Fault::Range)?,
            days: i32::try_from(self.days * sign).map_err(|_| Fault::Range)?,
            micros: i64::try_from(self.micros * i128::from(sign)).map_err(|_| Fault::Range)?,
        })
    }
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
pub fn parse_interval(input: &str, typmod: i32) -> Result<Interval> {
    let text = input.trim();
    let result = if text.starts_with('P') || text.starts_with("-P") {
        parse_iso(text).or_else(|_| parse_verbose(input, typmod))
    } else {
        parse_verbose(input, typmod)
    };
    result.map_err(|fault| match fault {
        Fault::Syntax => SqlError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{input}\""),
        ),
        Fault::Range => SqlError::new(
            SqlState::INTERVAL_FIELD_OVERFLOW,
            format!("interval field value out of range: \"{input}\""),
        ),
    })
}

fn parse_verbose(input: &str, typmod: i32) -> Result<Interval, Fault> {
    if input.len() > 1000 {
        return Err(Fault::Syntax);
    }
    let tokens = tokenize(input).ok_or(Fault::Syntax)?;
    let mut sum = Sum::default();
    let mut negate = false;
    let mut any = false;
    let mut index = 0;
    while index < tokens.len() {
        let (negative, text) = match &tokens[index] {
            Token::Word(word) if word == "@" => {
                index += 1;
                continue;
            }
            Token::Word(word) if word == "ago" && any && index + 1 == tokens.len() => {
                negate = true;
                index += 1;
                continue;
            }
            Token::Word(_) => return Err(Fault::Syntax),
            Token::Time(text) => (false, text.as_str()),
            Token::Number(text) | Token::Decimal(text) => (false, text.as_str()),
            Token::Signed(sign, text) => (*sign == '-', text.as_str()),
            // Years and months: 1-2. The tokenizer cannot tell it from a date.
            Token::Date(parts) => {
                let [years, months] = &parts[..] else { return Err(Fault::Syntax) };
                sum.add(quantity(false, years)?, Unit::Year)?;
                sum.add(quantity(false, months)?, Unit::Month)?;
                any = true;
                index += 1;
                continue;
            }
        };
        any = true;
        index += 1;
        if text.contains(':') {
            sum.claim(&[Unit::Hour, Unit::Minute, Unit::Second, Unit::Millisecond, Unit::Microsecond])?;
            sum.add_time(negative, text)?;
            continue;
        }
        // -1-2: years and months under one sign.
        if let (Token::Signed(..), Some(Token::Signed('-', months))) = (&tokens[index - 1], tokens.get(index))
            && index + 1 == tokens.len()
            && tokens.len() == 2
        {
            sum.add(quantity(negative, text)?, Unit::Year)?;
            sum.add(quantity(negative, months)?, Unit::Month)?;
            index += 1;
            continue;
        }
        let value = quantity(negative, text)?;
        match tokens.get(index) {
            Some(Token::Word(word)) if word != "ago" => {
                let unit = unit(word).ok_or(Fault::Syntax)?;
                if unit == Unit::Second && value.fraction != 0.0 {
                    sum.claim(&[Unit::Second, Unit::Millisecond, Unit::Microsecond])?;
                } else {
                    sum.claim(&[unit])?;
                }
                sum.add(value, unit)?;
                index += 1;
            }
            // A number right before a time is days.
            Some(Token::Time(_)) => sum.add(value, Unit::Day)?,
            Some(Token::Signed(_, next)) if next.contains(':') => sum.add(value, Unit::Day)?,
            _ => {
                let unit = default_unit(typmod);
                sum.claim(&[unit])?;
                sum.add(value, unit)?;
            }
        }
    }
    if any { sum.finish(negate) } else { Err(Fault::Syntax) }
}

/// `P1Y2M3W4DT5H6M7.8S` and the alternative `P0001-02-03T04:05:06`.
fn parse_iso(text: &str) -> Result<Interval, Fault> {
    let (negate, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let body = body.strip_prefix('P').ok_or(Fault::Syntax)?;
    if body.is_empty() {
        return Err(Fault::Syntax);
    }
    let (date, time) = body.split_once('T').map_or((body, None), |(date, time)| (date, Some(time)));
    let mut sum = Sum::default();
    let is_alternative = date.trim_start_matches('-').contains('-') && !date.contains(['Y', 'M', 'W', 'D']);
    if is_alternative {
        let parts: Vec<&str> = date.split('-').collect();
        let [years, months, days] = parts[..] else { return Err(Fault::Syntax) };
        sum.add(quantity(false, years)?, Unit::Year)?;
        sum.add(quantity(false, months)?, Unit::Month)?;
        sum.add(quantity(false, days)?, Unit::Day)?;
    } else {
        designated(date, &mut sum, |letter| match letter {
            'Y' => Some(Unit::Year),
            'M' => Some(Unit::Month),
            'W' => Some(Unit::Week),
            'D' => Some(Unit::Day),
            _ => None,
        })?;
    }
    match time {
        Some(time) if time.contains(':') => {
            let (negative, time) = time.strip_prefix('-').map_or((false, time), |rest| (true, rest));
            sum.add_time(negative, time)?;
        }
        Some(time) => designated(time, &mut sum, |letter| match letter {
            'H' => Some(Unit::Hour),
            'M' => Some(Unit::Minute),
            'S' => Some(Unit::Second),
            _ => None,
        })?,
        None => {}
    }
    sum.finish(negate)
}

fn designated(mut text: &str, sum: &mut Sum, unit: impl Fn(char) -> Option<Unit>) -> Result<(), Fault> {
    while !text.is_empty() {
        let (negative, body) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            _ => (false, text),
        };
        let end = body.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(Fault::Syntax)?;
        let letter = body[end..].chars().next().ok_or(Fault::Syntax)?;
        sum.add(quantity(negative, &body[..end])?, unit(letter).ok_or(Fault::Syntax)?)?;
        text = &body[end + letter.len_utf8()..];
    }
    Ok(())
}
