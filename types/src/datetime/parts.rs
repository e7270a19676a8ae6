//! Parts of a date and a time as they are read, one field after another.
//!
//! What a number means depends on which parts are known already; a mask says which.

use super::calendar::{JULIAN_EPOCH, civil_from_days, days_from_civil, days_in_month};
use super::words::{self, Special};
use super::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::io::DateOrder;
use crate::{SqlError, SqlState};

/// Why input was refused; becomes PostgreSQL's message for the type.
#[derive(Debug)]
pub(super) enum Fault {
    Syntax,
    /// A field is out of its range.
    Field,
    /// Month or day out of range: another DateStyle might read it.
    MonthOrDay,
    Interval,
    Displacement,
    Zone(String),
    Other(SqlError),
}

impl Fault {
    pub fn into_error(self, type_name: &str, input: &str) -> SqlError {
        let error = |state, message: String| SqlError::new(state, message);
        let overflow = || {
            error(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("date/time field value out of range: \"{input}\""),
            )
        };
        match self {
            Self::Syntax => error(
                SqlState::INVALID_DATETIME_FORMAT,
                format!("invalid input syntax for type {type_name}: \"{input}\""),
            ),
            Self::Field => overflow(),
            Self::MonthOrDay => overflow().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Self::Interval => error(
                SqlState::INTERVAL_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{input}\""),
            ),
            Self::Displacement => error(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{input}\""),
            ),
            Self::Zone(name) => {
                error(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
            }
            Self::Other(error) => error,
        }
    }
}

pub(super) type Mask = u32;
pub(super) const YEAR: Mask = 1;
pub(super) const MONTH: Mask = 1 << 1;
pub(super) const DAY: Mask = 1 << 2;
pub(super) const HOUR: Mask = 1 << 3;
pub(super) const MINUTE: Mask = 1 << 4;
pub(super) const SECOND: Mask = 1 << 5;
/// With [`SECOND`]: seconds that have decimals.
pub(super) const SUBSECOND: Mask = 1 << 6;
pub(super) const DAY_OF_YEAR: Mask = 1 << 7;
pub(super) const ZONE: Mask = 1 << 8;
pub(super) const SUMMER_TIME: Mask = 1 << 9;
pub(super) const WEEKDAY: Mask = 1 << 10;
pub(super) const AM_PM: Mask = 1 << 11;
pub(super) const ERA: Mask = 1 << 12;
pub(super) const RESERVED: Mask = 1 << 13;
pub(super) const DATE: Mask = YEAR | MONTH | DAY;
pub(super) const SECONDS: Mask = SECOND | SUBSECOND;
pub(super) const TIME: Mask = HOUR | MINUTE | SECONDS;

/// The digits at the start of a text, as C's strtol reads them, and what follows; no digits are 0.
pub(super) fn leading_integer(text: &str) -> Result<(i32, &str), Fault> {
    let signed = usize::from(text.starts_with(['-', '+']));
    let end = text[signed..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| end + signed);
    if end == signed {
        return Ok((0, text));
    }
    Ok((text[..end].parse().map_err(|_| Fault::Field)?, &text[end..]))
}

/// `.5` as microseconds; a point alone is nothing.
pub(super) fn fraction_micros(text: &str) -> Result<i64, Fault> {
    Ok((fraction(text)? * 1e6).round_ties_even() as i64)
}

pub(super) fn fraction(text: &str) -> Result<f64, Fault> {
    let digits = text.strip_prefix('.').ok_or(Fault::Syntax)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Syntax);
    }
    if digits.is_empty() { Ok(0.0) } else { format!("0.{digits}").parse().map_err(|_| Fault::Syntax) }
}

/// `+02`, `-0230`, `+02:30:15` as seconds east.
pub(super) fn offset(text: &str) -> Result<i32, Fault> {
    let body = text.strip_prefix(['+', '-']).ok_or(Fault::Syntax)?;
    let displaced = |fault| if matches!(fault, Fault::Field) { Fault::Displacement } else { fault };
    let (mut hour, mut rest) = leading_integer(body).map_err(displaced)?;
    let (mut minute, mut second) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (minute, rest) = leading_integer(after).map_err(displaced)?;
        if let Some(after) = rest.strip_prefix(':') {
            (second, rest) = leading_integer(after).map_err(displaced)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hour, minute) = (hour / 100, hour % 100);
    }
    if !(0..=15).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
        return Err(Fault::Displacement);
    }
    if !rest.is_empty() {
        return Err(Fault::Syntax);
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Ok(if text.starts_with('-') { -seconds } else { seconds })
}

#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub day_of_year: i32,
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
    pub micros: i64,
    /// The year was written with two digits at most.
    pub short_year: bool,
    pub julian: bool,
    pub before_christ: bool,
    pub is_pm: Option<bool>,
}

impl Parts {
    pub fn set_date(&mut self, days: i32) {
        let (year, month, day) = civil_from_days(days);
        (self.year, self.month, self.day) = (year, month as i32, day as i32);
    }

    pub fn set_julian(&mut self, day: i32) -> Result<Mask, Fault> {
        if day < 0 {
            return Err(Fault::Field);
        }
        self.set_date(day - JULIAN_EPOCH);
        self.julian = true;
        Ok(DATE)
    }

    /// Microseconds since midnight.
    pub fn time_of_day(&self) -> i64 {
        i64::from(self.hour) * MICROS_PER_HOUR
            + i64::from(self.minute) * MICROS_PER_MINUTE
            + i64::from(self.second) * MICROS_PER_SECOND
            + self.micros
    }

    /// 24:00:00 is the end of the day; a 60th second is a leap second.
    pub fn time_overflows(&self) -> bool {
        !(0..=24).contains(&self.hour)
            || !(0..60).contains(&self.minute)
            || !(0..=60).contains(&self.second)
            || !(0..=MICROS_PER_SECOND).contains(&self.micros)
            || self.time_of_day() > MICROS_PER_DAY
    }

    /// `HH:MM[:SS[.ffffff]]`, or `MM:SS.ffffff`.
    pub fn read_time(&mut self, text: &str) -> Result<Mask, Fault> {
        let (hour, rest) = leading_integer(text)?;
        let (minute, rest) = leading_integer(rest.strip_prefix(':').ok_or(Fault::Syntax)?)?;
        (self.hour, self.minute, self.second, self.micros) = (hour, minute, 0, 0);
        if rest.starts_with('.') {
            (self.hour, self.minute, self.second) = (0, hour, minute);
            self.micros = fraction_micros(rest)?;
        } else if let Some(after) = rest.strip_prefix(':') {
            let (second, rest) = leading_integer(after)?;
            self.second = second;
            self.micros = if rest.is_empty() { 0 } else { fraction_micros(rest)? };
        } else if !rest.is_empty() {
            return Err(Fault::Syntax);
        }
        if !(0..60).contains(&self.minute) || !(0..=60).contains(&self.second) || self.hour < 0 {
            return Err(Fault::Field);
        }
        Ok(TIME)
    }

    /// A date between delimiters, its month perhaps by name.
    pub fn read_date(&mut self, text: &str, known: Mask, order: DateOrder) -> Result<Mask, Fault> {
        let mut pieces: Vec<&str> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let first = rest.chars().next().ok_or(Fault::Syntax)?;
            let same = |c: char| c.is_ascii_digit() == first.is_ascii_digit() && c.is_ascii_alphanumeric();
            let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
            pieces.push(&rest[..end]);
            // The character after a piece is taken for a delimiter, whatever it is.
            let after = rest[end..].chars().next().map_or(0, char::len_utf8);
            rest = &rest[end + after..];
        }
        let (mut all, mut found) = (known, 0);
        let mut add = |mask: Mask| {
            if all & mask != 0 {
                return Err(Fault::Syntax);
            }
            all |= mask;
            found |= mask;
            Ok(all)
        };
        let mut so_far = known;
        let mut named_month = false;
        for piece in pieces.iter().filter(|piece| piece.starts_with(|c: char| c.is_ascii_alphabetic())) {
            match words::special(piece) {
                Some(Special::Ignored) => {}
                Some(Special::Month(month)) => {
                    self.month = month;
                    named_month = true;
                    so_far = add(MONTH)?;
                }
                _ => return Err(Fault::Syntax),
            }
        }
        for piece in pieces.iter().filter(|piece| piece.starts_with(|c: char| c.is_ascii_digit())) {
            let mask = self.read_number(piece, named_month, so_far, order)?;
            so_far = add(mask)?;
        }
        if so_far & !(DAY_OF_YEAR | ZONE) & (DATE | TIME) != DATE { Err(Fault::Syntax) } else { Ok(found) }
    }

    /// A number whose meaning depends on what is known.
    pub fn read_number(
        &mut self,
        text: &str,
        named_month: bool,
        known: Mask,
        order: DateOrder,
    ) -> Result<Mask, Fault> {
        let (value, rest) = leading_integer(text)?;
        if rest.len() == text.len() {
            return Err(Fault::Syntax);
        }
        if rest.starts_with('.') {
            if text.len() - rest.len() > 2 {
                return self.read_run_together(text, known | DATE);
            }
            self.micros = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(Fault::Syntax);
        }
        let length = text.len();
        if length == 3 && known & DATE == YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(DAY_OF_YEAR | MONTH | DAY);
        }
        let is_year = length >= 3 || order == DateOrder::Ymd;
        let mask = match known & DATE {
            0 if is_year => YEAR,
            0 if order == DateOrder::Dmy => DAY,
            0 => MONTH,
            YEAR => MONTH,
            MONTH if named_month && is_year => YEAR,
            MONTH => DAY,
            mask if mask == YEAR | MONTH => {
                if named_month && length >= 3 && self.short_year {
                    // What was taken for the year was the day.
                    self.day = self.year;
                    self.year = value;
                    self.short_year = false;
                    return Ok(DAY);
                }
                DAY
            }
            DAY => MONTH,
            mask if mask == MONTH | DAY => YEAR,
            DATE => return self.read_run_together(text, known),
            _ => return Err(Fault::Syntax),
        };
        match mask {
            YEAR => {
                self.year = value;
                self.short_year = length <= 2;
            }
            MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(mask)
    }

    /// `20240131`, `240131`, `hhmmss[.f]`, `hhmm`.
    pub fn read_run_together(&mut self, text: &str, known: Mask) -> Result<Mask, Fault> {
        let integer = |text: &str| text.parse::<i32>().unwrap_or(if text.is_empty() { 0 } else { i32::MAX });
        let mut digits = text;
        if let Some(point) = text.find('.') {
            self.micros = fraction_micros(&text[point..])?;
            digits = &text[..point];
        } else if known & DATE != DATE && text.len() >= 6 {
            let (year, month) = text[..text.len() - 2].split_at(text.len() - 4);
            self.day = integer(&text[text.len() - 2..]);
            self.month = integer(month);
            self.year = integer(year);
            self.short_year |= year.len() == 2;
            return Ok(DATE);
        }
        if known & TIME != TIME && matches!(digits.len(), 4 | 6) {
            self.hour = integer(&digits[..2]);
            self.minute = integer(&digits[2..4]);
            self.second = integer(&digits[4..]);
            return Ok(TIME);
        }
        Err(Fault::Syntax)
    }

    /// The year in full and astronomical, the day of the year as a date, and everything in its range.
    pub fn validate(&mut self, known: Mask) -> Result<(), Fault> {
        if known & YEAR != 0 && !self.julian {
            if self.before_christ {
                if self.year <= 0 {
                    return Err(Fault::Field);
                }
                self.year = 1 - self.year;
            } else if self.short_year {
                match self.year {
                    year if year < 0 => return Err(Fault::Field),
                    0..70 => self.year += 2000,
                    70..100 => self.year += 1900,
                    _ => {}
                }
            } else if self.year <= 0 {
                return Err(Fault::Field);
            }
        }
        if known & DAY_OF_YEAR != 0 {
            if !(-4800..=5_900_000).contains(&self.year) {
                return Err(Fault::Field);
            }
            self.set_date(days_from_civil(self.year, 1, 1) + self.day_of_year - 1);
        }
        if known & MONTH != 0 && !(1..=12).contains(&self.month) {
            return Err(Fault::MonthOrDay);
        }
        if known & DAY != 0 && !(1..=31).contains(&self.day) {
            return Err(Fault::MonthOrDay);
        }
        if known & DATE == DATE && self.day > days_in_month(self.year, self.month as u32) as i32 {
            return Err(Fault::Field);
        }
        Ok(())
    }

    /// Applies AM or PM.
    pub fn apply_half(&mut self) -> Result<(), Fault> {
        match self.is_pm {
            Some(_) if self.hour > 12 => return Err(Fault::Field),
            Some(false) if self.hour == 12 => self.hour = 0,
            Some(true) if self.hour != 12 => self.hour += 12,
            _ => {}
        }
        Ok(())
    }
}
