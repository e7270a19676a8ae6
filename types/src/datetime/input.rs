//! Input of date, time, timestamp and timestamp with time zone.
//!
//! Fields are read from left to right, and each may be read once.

use super::calendar::{UNIX_EPOCH_DAYS, days_from_civil};
use super::parts::{
    AM_PM, DATE, DAY, ERA, Fault, HOUR, MINUTE, MONTH, Mask, Parts, RESERVED, SECOND, SECONDS, SUMMER_TIME,
    TIME, WEEKDAY, YEAR, ZONE, fraction_micros, leading_integer, offset,
};
use super::tokens::{Field, Kind, split};
use super::words::{self, Label, Special};
use super::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY,
    TIMESTAMP_NEGATIVE_INFINITY, TimeZone, is_valid_date, is_valid_timestamp,
};
use crate::{IoSettings, Result, SqlError, SqlState};

/// Seconds that daylight saving adds.
const SUMMER_SECONDS: i32 = 3600;

/// A label, or the `t` before a time, which says how the next field is meant.
#[derive(Clone, Copy, PartialEq)]
enum Prefix {
    Label(Label),
    Time,
}

struct Decoder<'a> {
    settings: &'a IoSettings,
    /// For the type time: a date may be missing, and digits alone are a time.
    time_only: bool,
    parts: Parts,
    known: Mask,
    prefix: Option<Prefix>,
    named_month: bool,
    special: Option<Special>,
    /// Seconds east.
    offset: i32,
    zone: Option<TimeZone>,
}

/// What the fields amount to.
struct Decoded {
    special: Option<Special>,
    parts: Parts,
    /// Seconds east; `None` without a zone.
    offset: Option<i32>,
}

impl Decoded {
    fn local_micros(&self) -> Option<i64> {
        days_of(&self.parts).and_then(|days| {
            i64::from(days).checked_mul(MICROS_PER_DAY)?.checked_add(self.parts.time_of_day())
        })
    }
}

fn days_of(parts: &Parts) -> Option<i32> {
    // Within the calendar's arithmetic, and beyond every valid date.
    if !(-4800..=5_874_898).contains(&parts.year) {
        return None;
    }
    Some(days_from_civil(parts.year, parts.month as u32, parts.day as u32))
        .filter(|days| is_valid_date(*days))
}

fn named_zone(name: &str) -> Option<TimeZone> {
    TimeZone::from_name(name).or_else(|| TimeZone::posix(&name.to_ascii_uppercase()))
}

/// The transaction's start in the session's zone.
fn local_now(settings: &IoSettings) -> Result<(i64, i32), Fault> {
    let now = settings.now_micros.ok_or_else(|| {
        Fault::Other(SqlError::internal("the current time is not known where this was read"))
    })?;
    let east = settings.time_zone.offset_at_utc(now);
    Ok((now + i64::from(east) * MICROS_PER_SECOND, east))
}

impl Decoder<'_> {
    fn run(mut self, fields: &[Field]) -> Result<Decoded, Fault> {
        for (index, field) in fields.iter().enumerate() {
            let mask = match field.kind {
                Kind::Date => self.date_field(fields, index)?,
                Kind::Time => {
                    if self.time_only {
                        self.parts.read_time(&field.text)?
                    } else {
                        if self.prefix.take().is_some_and(|prefix| prefix != Prefix::Time) {
                            return Err(Fault::Syntax);
                        }
                        let mask = self.parts.read_time(&field.text)?;
                        if self.parts.time_overflows() {
                            return Err(Fault::Field);
                        }
                        mask
                    }
                }
                Kind::Signed => {
                    self.offset = offset(&field.text)?;
                    ZONE
                }
                Kind::Number => self.number(fields, index)?,
                Kind::Word | Kind::SignedWord => self.word(fields, index)?,
            };
            if self.known & mask != 0 {
                return Err(Fault::Syntax);
            }
            self.known |= mask;
        }
        self.finish()
    }

    fn date_field(&mut self, fields: &[Field], index: usize) -> Result<Mask, Fault> {
        let text = &fields[index].text;
        let order = self.settings.date_order;
        if self.time_only {
            let last = &fields[fields.len() - 1];
            let beside_time =
                index == 0 && fields.len() >= 2 && (last.kind == Kind::Date || fields[1].kind == Kind::Time);
            if beside_time {
                return self.parts.read_date(text, self.known, order);
            }
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                return self.time_with_offset(text, self.known | DATE);
            }
            return self.zone_name(text);
        }
        if self.prefix == Some(Prefix::Label(Label::Julian)) {
            self.prefix = None;
            let (day, rest) = leading_integer(text)?;
            let mask = self.parts.set_julian(day)?;
            self.offset = offset(rest)?;
            return Ok(mask | TIME | ZONE);
        }
        if self.prefix.is_none() && self.known & (MONTH | DAY) != MONTH | DAY {
            return self.parts.read_date(text, self.known, order);
        }
        // With a date already there this is a time with an offset, or the name of a zone.
        if self.prefix.is_none() && !text.starts_with(|c: char| c.is_ascii_digit()) {
            return self.zone_name(text);
        }
        if self.prefix.take().is_some_and(|prefix| prefix != Prefix::Time) {
            return Err(Fault::Syntax);
        }
        self.time_with_offset(text, self.known)
    }

    /// `hhmmss-zz`.
    fn time_with_offset(&mut self, text: &str, known: Mask) -> Result<Mask, Fault> {
        if self.known & TIME == TIME {
            return Err(Fault::Syntax);
        }
        let sign = text.find('-').ok_or(Fault::Syntax)?;
        self.offset = offset(&text[sign..])?;
        Ok(self.parts.read_run_together(&text[..sign], known)? | ZONE)
    }

    fn zone_name(&mut self, text: &str) -> Result<Mask, Fault> {
        self.zone = Some(named_zone(text).ok_or_else(|| Fault::Zone(text.to_owned()))?);
        Ok(ZONE)
    }

    fn number(&mut self, fields: &[Field], index: usize) -> Result<Mask, Fault> {
        let text = &fields[index].text;
        if let Some(prefix) = self.prefix.take() {
            return self.labelled(prefix, text);
        }
        let order = self.settings.date_order;
        let point = text.find('.');
        if self.time_only {
            let last_is_date = fields[fields.len() - 1].kind == Kind::Date;
            return match point {
                Some(_) if index == 0 && fields.len() >= 2 && last_is_date => {
                    self.parts.read_date(text, self.known, order)
                }
                Some(whole) if whole > 2 => self.parts.read_run_together(text, self.known | DATE),
                Some(_) => Err(Fault::Syntax),
                None if text.len() > 4 => self.parts.read_run_together(text, self.known | DATE),
                None => self.parts.read_number(text, false, self.known | DATE, order),
            };
        }
        match point {
            Some(_) if self.known & DATE == 0 => self.parts.read_date(text, self.known, order),
            Some(whole) if whole > 2 => self.parts.read_run_together(text, self.known),
            _ if text.len() >= 6 && (self.known & DATE == 0 || self.known & TIME == 0) => {
                self.parts.read_run_together(text, self.known)
            }
            _ => self.parts.read_number(text, self.named_month, self.known, order),
        }
    }

    fn labelled(&mut self, prefix: Prefix, text: &str) -> Result<Mask, Fault> {
        let (value, rest) = leading_integer(text)?;
        let decimals = matches!(prefix, Prefix::Time | Prefix::Label(Label::Julian | Label::Second));
        if !(rest.is_empty() || rest.starts_with('.') && decimals) {
            return Err(Fault::Syntax);
        }
        let label = match prefix {
            Prefix::Label(label) => label,
            Prefix::Time => {
                let mask = self.parts.read_run_together(text, self.known | DATE)?;
                return if mask == TIME { Ok(mask) } else { Err(Fault::Syntax) };
            }
        };
        let parts = &mut self.parts;
        Ok(match label {
            Label::Year => {
                parts.year = value;
                YEAR
            }
            Label::Month if self.known & MONTH != 0 && self.known & HOUR != 0 => {
                parts.minute = value;
                MINUTE
            }
            Label::Month => {
                parts.month = value;
                MONTH
            }
            Label::Day => {
                parts.day = value;
                DAY
            }
            Label::Hour => {
                parts.hour = value;
                HOUR
            }
            Label::Minute => {
                parts.minute = value;
                MINUTE
            }
            Label::Second => {
                parts.second = value;
                if rest.is_empty() {
                    SECOND
                } else {
                    parts.micros = fraction_micros(rest)?;
                    SECONDS
                }
            }
            Label::Julian => {
                let mask = parts.set_julian(value)?;
                if rest.is_empty() {
                    return Ok(mask);
                }
                let share = super::parts::fraction(rest)?;
                let micros = (share * MICROS_PER_DAY as f64) as i64;
                parts.second = (micros / MICROS_PER_SECOND % 60) as i32;
                parts.minute = (micros / (60 * MICROS_PER_SECOND) % 60) as i32;
                parts.hour = (micros / (3600 * MICROS_PER_SECOND)) as i32;
                parts.micros = micros % MICROS_PER_SECOND;
                mask | TIME
            }
            Label::Other => return Err(Fault::Syntax),
        })
    }

    fn word(&mut self, fields: &[Field], index: usize) -> Result<Mask, Fault> {
        let text = fields[index].text.as_str();
        if let Some(east) = words::abbreviation(text) {
            self.offset = east;
            return Ok(ZONE);
        }
        let Some(special) = words::special(text) else {
            self.zone = Some(named_zone(text).ok_or(Fault::Syntax)?);
            return Ok(ZONE);
        };
        if self.time_only {
            match special {
                Special::Now => {
                    self.special = Some(special);
                    return Ok(TIME);
                }
                Special::Allballs
                | Special::SummerTime
                | Special::Pm(_)
                | Special::BeforeChrist(_)
                | Special::Label(_)
                | Special::IsoTime
                | Special::Ignored => {}
                _ => return Err(Fault::Syntax),
            }
        }
        self.special_word(special, fields, index)
    }

    fn special_word(&mut self, special: Special, fields: &[Field], index: usize) -> Result<Mask, Fault> {
        let parts = &mut self.parts;
        Ok(match special {
            Special::Ignored => 0,
            Special::Infinity | Special::NegativeInfinity | Special::Epoch => {
                self.special = Some(special);
                RESERVED
            }
            Special::Now => {
                self.special = Some(special);
                DATE | TIME | ZONE
            }
            Special::Relative(days) => {
                let (local, _) = local_now(self.settings)?;
                parts.set_date(local.div_euclid(MICROS_PER_DAY) as i32 + days);
                DATE
            }
            Special::Allballs => {
                (parts.hour, parts.minute, parts.second) = (0, 0, 0);
                self.offset = 0;
                TIME | ZONE
            }
            Special::Month(month) => {
                // A number taken for the month before its name came was the day.
                let was_day = self.known & MONTH != 0
                    && !self.named_month
                    && self.known & DAY == 0
                    && (1..=31).contains(&parts.month);
                if was_day {
                    parts.day = parts.month;
                }
                self.named_month = true;
                parts.month = month;
                if was_day { DAY } else { MONTH }
            }
            Special::Weekday => WEEKDAY,
            Special::Pm(is_pm) => {
                parts.is_pm = Some(is_pm);
                AM_PM
            }
            Special::BeforeChrist(before) => {
                parts.before_christ = before;
                ERA
            }
            Special::SummerTime => {
                self.offset += SUMMER_SECONDS;
                SUMMER_TIME
            }
            Special::Label(label) => {
                self.prefix = Some(Prefix::Label(label));
                0
            }
            Special::IsoTime => {
                let next = fields.get(index + 1).map(|field| field.kind);
                let sensible = matches!(next, Some(Kind::Number | Kind::Time | Kind::Date));
                if !sensible || (!self.time_only && self.known & DATE != DATE) {
                    return Err(Fault::Syntax);
                }
                self.prefix = Some(Prefix::Time);
                0
            }
        })
    }

    fn finish(mut self) -> Result<Decoded, Fault> {
        if self.special == Some(Special::Now) {
            return Ok(Decoded { special: self.special, parts: self.parts, offset: None });
        }
        self.parts.validate(self.known)?;
        self.parts.apply_half()?;
        if self.time_only && self.parts.time_overflows() {
            return Err(Fault::Field);
        }
        let mut decoded = Decoded {
            special: self.special,
            parts: self.parts,
            offset: (self.known & ZONE != 0).then_some(self.offset),
        };
        if self.special.is_some() {
            return Ok(decoded);
        }
        let wanted = if self.time_only { TIME } else { DATE };
        if self.known & wanted != wanted {
            return Err(Fault::Syntax);
        }
        if let Some(zone) = self.zone {
            if self.known & SUMMER_TIME != 0 {
                return Err(Fault::Syntax);
            }
            decoded.offset = match zone.fixed_offset() {
                Some(east) => Some(east),
                // The offset of a zone with daylight saving needs a date.
                None if self.known & DATE != DATE => return Err(Fault::Syntax),
                None => decoded.local_micros().map(|local| zone.offset_at_local(local)),
            };
        } else if self.known & SUMMER_TIME != 0 && self.known & ZONE == 0 {
            return Err(Fault::Syntax);
        }
        Ok(decoded)
    }
}

fn decode(input: &str, settings: &IoSettings, time_only: bool) -> Result<Decoded, Fault> {
    let fields = split(input).ok_or(Fault::Syntax)?;
    let decoder = Decoder {
        settings,
        time_only,
        parts: Parts::default(),
        known: 0,
        prefix: None,
        named_month: false,
        special: None,
        offset: 0,
        zone: None,
    };
    decoder.run(&fields)
}

/// `date_in`.
pub fn parse_date(input: &str, settings: &IoSettings) -> Result<i32> {
    let run = || -> Result<i32, Fault> {
        let decoded = decode(input, settings, false)?;
        Ok(match decoded.special {
            Some(Special::Infinity) => DATE_INFINITY,
            Some(Special::NegativeInfinity) => DATE_NEGATIVE_INFINITY,
            Some(Special::Epoch) => -UNIX_EPOCH_DAYS,
            Some(_) => local_now(settings)?.0.div_euclid(MICROS_PER_DAY) as i32,
            None => days_of(&decoded.parts).ok_or_else(|| {
                Fault::Other(SqlError::new(
                    SqlState::DATETIME_FIELD_OVERFLOW,
                    format!("date out of range: \"{input}\""),
                ))
            })?,
        })
    };
    run().map_err(|fault| fault.into_error("date", input))
}

/// `time_in`; a date and a zone may stand with it and are dropped.
pub fn parse_time(input: &str, settings: &IoSettings) -> Result<i64> {
    let run = || -> Result<i64, Fault> {
        let decoded = decode(input, settings, true)?;
        match decoded.special {
            Some(_) => Ok(local_now(settings)?.0.rem_euclid(MICROS_PER_DAY)),
            None => Ok(decoded.parts.time_of_day()),
        }
    };
    run().map_err(|fault| fault.into_error("time", input))
}

/// `timestamp_in`; a zone is read and dropped.
pub fn parse_timestamp(input: &str, settings: &IoSettings) -> Result<i64> {
    parse_instant(input, settings, false)
}

/// `timestamptz_in`; without a zone the time is local to the session's.
pub fn parse_timestamptz(input: &str, settings: &IoSettings) -> Result<i64> {
    parse_instant(input, settings, true)
}

fn parse_instant(input: &str, settings: &IoSettings, zoned: bool) -> Result<i64> {
    let run = || -> Result<i64, Fault> {
        let decoded = decode(input, settings, false)?;
        match decoded.special {
            Some(Special::Infinity) => return Ok(TIMESTAMP_INFINITY),
            Some(Special::NegativeInfinity) => return Ok(TIMESTAMP_NEGATIVE_INFINITY),
            Some(Special::Epoch) => return Ok(-i64::from(UNIX_EPOCH_DAYS) * MICROS_PER_DAY),
            Some(_) => {
                let (local, east) = local_now(settings)?;
                return Ok(if zoned { local - i64::from(east) * MICROS_PER_SECOND } else { local });
            }
            None => {}
        }
        let micros = decoded.local_micros().and_then(|local| {
            if !zoned {
                return Some(local);
            }
            let east = decoded.offset.unwrap_or_else(|| settings.time_zone.offset_at_local(local));
            local.checked_sub(i64::from(east) * MICROS_PER_SECOND)
        });
        micros.filter(|micros| is_valid_timestamp(*micros)).ok_or_else(|| {
            Fault::Other(SqlError::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("timestamp out of range: \"{input}\""),
            ))
        })
    };
    let type_name = if zoned { "timestamp with time zone" } else { "timestamp" };
    run().map_err(|fault| fault.into_error(type_name, input))
}
