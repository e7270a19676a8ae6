//! Input of date, time, timestamp and timestamp with time zone.

use super::calendar::{JULIAN_EPOCH, UNIX_EPOCH_DAYS, civil_from_days, days_from_civil, days_in_month};
use super::tokens::{Token, tokenize};
use super::words::{abbreviation, is_weekday, month_number};
use super::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE,
    MICROS_PER_SECOND, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY, TimeZone, is_valid_date,
    is_valid_timestamp,
};
use crate::{IoSettings, Result, SqlError, SqlState};

/// Why input was refused; becomes PostgreSQL's message for the type.
pub(super) enum Fault {
    Syntax,
    /// A field is out of its range.
    Field,
    /// Month or day out of range: another DateStyle might read it.
    MonthOrDay,
    Displacement,
    Zone(String),
    Other(SqlError),
}

impl Fault {
    fn into_error(self, type_name: &str, input: &str) -> SqlError {
        let overflow = || {
            SqlError::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("date/time field value out of range: \"{input}\""),
            )
        };
        match self {
            Self::Syntax => SqlError::new(
                SqlState::INVALID_DATETIME_FORMAT,
                format!("invalid input syntax for type {type_name}: \"{input}\""),
            ),
            Self::Field => overflow(),
            Self::MonthOrDay => overflow().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Self::Displacement => SqlError::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{input}\""),
            ),
            Self::Zone(name) => SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("time zone \"{name}\" not recognized"),
            ),
            Self::Other(error) => error,
        }
    }
}

#[derive(Clone, Debug)]
enum Zone {
    Offset(i32),
    Named(TimeZone),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Special {
    Infinity,
    NegativeInfinity,
    Epoch,
    Now,
}

#[derive(Default)]
struct Decoder {
    special: Option<Special>,
    /// The year and the number of digits it was written with.
    year: Option<(i32, usize)>,
    month: Option<u32>,
    day: Option<u32>,
    text_month: bool,
    /// Complete in itself: 20240131, today, j2451545.
    whole_date: Option<(i32, u32, u32)>,
    time: Option<i64>,
    zone: Option<Zone>,
    is_bc: Option<bool>,
    is_pm: Option<bool>,
    after_t: bool,
    /// For the type time: digits alone are a time.
    time_only: bool,
}

/// What the fields amount to.
struct Decoded {
    special: Option<Special>,
    date: Option<(i32, u32, u32)>,
    time: Option<i64>,
    zone: Option<Zone>,
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| {
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            Fault::Field
        } else {
            Fault::Syntax
        }
    })
}

/// `.5` or `5` after the point, as microseconds.
pub(super) fn fraction_micros(digits: &str) -> i64 {
    let value: f64 = format!("0.{digits}").parse().unwrap_or(0.0);
    (value * 1e6).round_ties_even() as i64
}

/// `HH:MM[:SS[.ffffff]]`.
fn decode_time(text: &str) -> Result<i64, Fault> {
    let mut parts = text.split(':');
    let hour: i64 = number(parts.next().unwrap_or_default())?;
    let minute_text = parts.next().ok_or(Fault::Syntax)?;
    let second_text = parts.next();
    if parts.next().is_some() {
        return Err(Fault::Syntax);
    }
    let (minute, second_text): (i64, &str) = match second_text {
        Some(second) => (number(minute_text)?, second),
        // `MM:SS.fff`
        None if minute_text.contains('.') => {
            return assemble_time(0, hour, minute_text);
        }
        None => (number(minute_text)?, "0"),
    };
    assemble_time(hour, minute, second_text)
}

fn assemble_time(hour: i64, minute: i64, second_text: &str) -> Result<i64, Fault> {
    let (whole, fraction) = second_text.split_once('.').unwrap_or((second_text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Syntax);
    }
    let second: i64 = number(whole)?;
    let micros = fraction_micros(fraction);
    let total = hour
        .saturating_mul(MICROS_PER_HOUR)
        .saturating_add(minute.saturating_mul(MICROS_PER_MINUTE))
        .saturating_add(second.saturating_mul(MICROS_PER_SECOND))
        .saturating_add(micros);
    // 24:00:00 is the end of the day; a 60th second is a leap second.
    if hour > 24 || minute > 59 || second > 60 || total > MICROS_PER_DAY {
        return Err(Fault::Field);
    }
    Ok(total)
}

/// `02`, `0230`, `02:30[:15]` as seconds.
fn decode_offset(sign: char, text: &str) -> Result<i32, Fault> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hour, minute, second): (i32, i32, i32) = match parts[..] {
        [hour, minute] => (number(hour)?, number(minute)?, 0),
        [hour, minute, second] => (number(hour)?, number(minute)?, number(second)?),
        [packed] if packed.len() > 2 => {
            let value: i32 = number(packed)?;
            (value / 100, value % 100, 0)
        }
        [hour] => (number(hour)?, 0, 0),
        _ => return Err(Fault::Syntax),
    };
    if hour > 15 || minute > 59 || second > 59 {
        return Err(Fault::Displacement);
    }
    let offset = hour * 3600 + minute * 60 + second;
    Ok(if sign == '-' { -offset } else { offset })
}

impl Decoder {
    fn date_is_complete(&self) -> bool {
        self.whole_date.is_some() || (self.year.is_some() && self.month.is_some() && self.day.is_some())
    }

    /// A number of a date, placed by what is known already; month before day before year.
    fn place(&mut self, text: &str) -> Result<(), Fault> {
        let length = text.len();
        let value: i32 = number(text)?;
        let small = u32::try_from(value).map_err(|_| Fault::Field)?;
        match (self.year, self.month, self.day) {
            (None, None, None) if length >= 3 => self.year = Some((value, length)),
            (None, Some(_), None) if self.text_month && length >= 3 => self.year = Some((value, length)),
            (Some((year, digits)), Some(_), None) if self.text_month && length >= 3 && digits <= 2 => {
                self.day = Some(year as u32);
                self.year = Some((value, length));
            }
            (None, Some(_), Some(_)) => self.year = Some((value, length)),
            (_, None, _) => self.month = Some(small),
            (_, Some(_), None) => self.day = Some(small),
            _ => return Err(Fault::Syntax),
        }
        Ok(())
    }

    fn place_month(&mut self, month: u32) -> Result<(), Fault> {
        // A number taken for the month before its name came was the day.
        if let (Some(taken), false, None) = (self.month, self.text_month, self.day) {
            self.day = Some(taken);
        } else if self.month.is_some() {
            return Err(Fault::Syntax);
        }
        self.month = Some(month);
        self.text_month = true;
        Ok(())
    }

    fn date_parts(&mut self, parts: &[String]) -> Result<(), Fault> {
        if !(2..=3).contains(&parts.len()) || self.date_is_complete() {
            return Err(Fault::Syntax);
        }
        // A month by name decides the roles of the numbers around it.
        for part in parts {
            if let Some(month) = month_number(part) {
                self.place_month(month)?;
            }
        }
        for part in parts {
            if month_number(part).is_none() {
                self.place(part)?;
            }
        }
        if parts.len() == 2 && !self.text_month {
            return Err(Fault::Syntax);
        }
        Ok(())
    }

    /// Digits alone: `20240131`, `123456` after a date, or a part of a date.
    fn digits(&mut self, text: &str) -> Result<(), Fault> {
        let packed_time = |text: &str| {
            let (hours, rest) = text.split_at(2);
            let (minutes, seconds) = rest.split_at(2);
            assemble_time(number(hours)?, number(minutes)?, if seconds.is_empty() { "0" } else { seconds })
        };
        match text.len() {
            6 | 4
                if self.time.is_none()
                    && (self.after_t || self.time_only || (text.len() == 6 && self.date_is_complete())) =>
            {
                self.time = Some(packed_time(text)?);
                Ok(())
            }
            8 if !self.date_is_complete() && self.year.is_none() => {
                self.year = Some((number(&text[..4])?, 4));
                self.month = Some(number(&text[4..6])?);
                self.day = Some(number(&text[6..])?);
                Ok(())
            }
            6 if self.year.is_none() && self.month.is_none() => {
                self.year = Some((number(&text[..2])?, 2));
                self.month = Some(number(&text[2..4])?);
                self.day = Some(number(&text[4..])?);
                Ok(())
            }
            _ if self.whole_date.is_some() => Err(Fault::Syntax),
            _ => self.place(text),
        }
    }

    fn word(&mut self, word: &str, settings: &IoSettings) -> Result<(), Fault> {
        let relative_day = |offset: i64| -> Result<(i32, u32, u32), Fault> {
            let now = now(settings)?;
            let local = now + i64::from(settings.time_zone.offset_at_utc(now)) * MICROS_PER_SECOND;
            Ok(civil_from_days((local.div_euclid(MICROS_PER_DAY) + offset) as i32))
        };
        match word {
            "infinity" | "+infinity" => self.special = Some(Special::Infinity),
            "-infinity" => self.special = Some(Special::NegativeInfinity),
            "epoch" => self.special = Some(Special::Epoch),
            "now" => self.special = Some(Special::Now),
            "today" => self.relative(relative_day(0)?)?,
            "tomorrow" => self.relative(relative_day(1)?)?,
            "yesterday" => self.relative(relative_day(-1)?)?,
            "allballs" => {
                self.time = Some(0);
                self.zone = Some(Zone::Offset(0));
            }
            "am" => self.is_pm = Some(false),
            "pm" => self.is_pm = Some(true),
            "bc" => self.is_bc = Some(true),
            "ad" => self.is_bc = Some(false),
            "at" | "on" => {}
            "t" => self.after_t = true,
            _ => {
                if let Some(month) = month_number(word) {
                    return self.place_month(month);
                }
                if is_weekday(word) {
                    return Ok(());
                }
                if self.zone.is_some() {
                    return Err(Fault::Syntax);
                }
                if let Some(offset) = abbreviation(word) {
                    self.zone = Some(Zone::Offset(offset));
                    return Ok(());
                }
                match TimeZone::from_name(word) {
                    Some(zone) => self.zone = Some(Zone::Named(zone)),
                    None if word.contains('/') => return Err(Fault::Zone(word.into())),
                    None => return Err(Fault::Syntax),
                }
            }
        }
        Ok(())
    }

    fn relative(&mut self, date: (i32, u32, u32)) -> Result<(), Fault> {
        if self.date_is_complete() {
            return Err(Fault::Syntax);
        }
        self.whole_date = Some(date);
        Ok(())
    }

    fn finish(self) -> Result<Decoded, Fault> {
        let date = match (self.whole_date, self.year, self.month, self.day) {
            (Some(date), None, None, None) => Some(date),
            (None, Some((year, digits)), Some(month), Some(day)) => {
                let year = match self.is_bc {
                    _ if year == 0 && self.is_bc.is_some() => return Err(Fault::Field),
                    Some(true) => 1 - year,
                    _ if digits <= 2 => year + if year < 70 { 2000 } else { 1900 },
                    _ if year == 0 => return Err(Fault::Field),
                    _ => year,
                };
                if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
                    return Err(Fault::MonthOrDay);
                }
                if day > days_in_month(year, month) {
                    return Err(Fault::Field);
                }
                Some((year, month, day))
            }
            (None, None, None, None) => None,
            _ => return Err(Fault::Syntax),
        };
        let time = match (self.time, self.is_pm) {
            (Some(time), Some(is_pm)) => {
                let hour = time / MICROS_PER_HOUR;
                if hour > 12 {
                    return Err(Fault::Field);
                }
                let within = time % MICROS_PER_HOUR + (hour % 12) * MICROS_PER_HOUR;
                Some(within + if is_pm { 12 * MICROS_PER_HOUR } else { 0 })
            }
            (None, Some(_)) => return Err(Fault::Syntax),
            (time, None) => time,
        };
        if self.special.is_some_and(|special| special != Special::Now && (date.is_some() || time.is_some())) {
            return Err(Fault::Syntax);
        }
        Ok(Decoded { special: self.special, date, time, zone: self.zone })
    }
}

fn now(settings: &IoSettings) -> Result<i64, Fault> {
    settings
        .now_micros
        .ok_or_else(|| Fault::Other(SqlError::internal("the current time is not known where this was read")))
}

fn decode(input: &str, settings: &IoSettings, time_only: bool) -> Result<Decoded, Fault> {
    // PostgreSQL's MAXDATELEN bounds what a field may hold.
    if input.len() > 1000 {
        return Err(Fault::Syntax);
    }
    let tokens = tokenize(input).ok_or(Fault::Syntax)?;
    let mut decoder = Decoder { time_only, ..Decoder::default() };
    let mut tokens = tokens.into_iter().peekable();
    let mut any = false;
    while let Some(token) = tokens.next() {
        any = true;
        match token {
            Token::Time(text) => {
                if decoder.time.is_some() {
                    return Err(Fault::Syntax);
                }
                decoder.time = Some(decode_time(&text)?);
            }
            Token::Date(parts) => decoder.date_parts(&parts)?,
            Token::Number(text) => decoder.digits(&text)?,
            Token::Decimal(text) => {
                // `123456.789` after a date.
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
                // Year and day of the year: 1999.008.
                if whole.len() == 4 && fraction.len() == 3 && !decoder.date_is_complete() {
                    let (year, day): (i32, i32) = (number(whole)?, number(fraction)?);
                    if !(1..=366).contains(&day) {
                        return Err(Fault::Syntax);
                    }
                    decoder.relative(civil_from_days(days_from_civil(year, 1, 1) + day - 1))?;
                    continue;
                }
                if whole.len() != 6 || !(time_only || decoder.date_is_complete()) {
                    return Err(Fault::Syntax);
                }
                decoder.digits(whole)?;
                decoder.time = decoder.time.map(|time| time + fraction_micros(fraction));
            }
            Token::Signed(sign, text) => {
                if (decoder.time.is_none() && !decoder.date_is_complete())
                    || matches!(decoder.zone, Some(Zone::Named(_)))
                {
                    return Err(Fault::Syntax);
                }
                // After a zone's name (UTC+2) the sign is POSIX's; PostgreSQL reads it so too.
                let offset = decode_offset(sign, &text)?;
                decoder.zone = Some(match decoder.zone {
                    None => Zone::Offset(offset),
                    Some(_) => Zone::Offset(-offset),
                });
            }
            Token::Word(word) if word == "j" || word == "julian" => {
                let Some(Token::Number(text)) = tokens.next() else { return Err(Fault::Syntax) };
                let julian: i32 = number(&text)?;
                decoder.relative(civil_from_days(julian.checked_sub(JULIAN_EPOCH).ok_or(Fault::Field)?))?;
            }
            Token::Word(word) => decoder.word(&word, settings)?,
        }
    }
    if !any {
        return Err(Fault::Syntax);
    }
    decoder.finish()
}

fn days_of(date: (i32, u32, u32)) -> Option<i32> {
    let (year, month, day) = date;
    // Within the calendar's arithmetic, and beyond every valid date.
    if !(-4800..=5_874_898).contains(&year) {
        return None;
    }
    Some(days_from_civil(year, month, day)).filter(|days| is_valid_date(*days))
}

/// `date_in`.
pub fn parse_date(input: &str, settings: &IoSettings) -> Result<i32> {
    let run = || -> Result<i32, Fault> {
        let decoded = decode(input, settings, false)?;
        Ok(match decoded.special {
            Some(Special::Infinity) => DATE_INFINITY,
            Some(Special::NegativeInfinity) => DATE_NEGATIVE_INFINITY,
            Some(Special::Epoch) => -UNIX_EPOCH_DAYS,
            Some(Special::Now) => {
                let now = now(settings)?;
                let offset = i64::from(settings.time_zone.offset_at_utc(now)) * MICROS_PER_SECOND;
                (now + offset).div_euclid(MICROS_PER_DAY) as i32
            }
            None => days_of(decoded.date.ok_or(Fault::Syntax)?).ok_or_else(|| {
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
            Some(Special::Now) => {
                let now = now(settings)?;
                let offset = i64::from(settings.time_zone.offset_at_utc(now)) * MICROS_PER_SECOND;
                Ok((now + offset).rem_euclid(MICROS_PER_DAY))
            }
            Some(_) => Err(Fault::Syntax),
            // The offset of a zone with daylight saving needs a date.
            None if decoded.date.is_none() && matches!(decoded.zone, Some(Zone::Named(_))) => {
                Err(Fault::Syntax)
            }
            None => decoded.time.ok_or(Fault::Syntax),
        }
    };
    run().map_err(|fault| fault.into_error("time", input))
}

/// `timestamp_in`; a zone is read and dropped.
pub fn parse_timestamp(input: &str, settings: &IoSettings) -> Result<i64> {
    parse_instant(input, settings, "timestamp", |local, _, _| Some(local))
}

/// `timestamptz_in`; without a zone the time is local to the session's.
pub fn parse_timestamptz(input: &str, settings: &IoSettings) -> Result<i64> {
    parse_instant(input, settings, "timestamp with time zone", |local, zone, settings| {
        let offset = match zone {
            Some(Zone::Offset(offset)) => *offset,
            Some(Zone::Named(zone)) => zone.offset_at_local(local),
            None => settings.time_zone.offset_at_local(local),
        };
        local.checked_sub(i64::from(offset) * MICROS_PER_SECOND)
    })
}

fn parse_instant(
    input: &str,
    settings: &IoSettings,
    type_name: &str,
    convert: impl Fn(i64, Option<&Zone>, &IoSettings) -> Option<i64>,
) -> Result<i64> {
    let with_zone = type_name != "timestamp";
    let run = || -> Result<i64, Fault> {
        let decoded = decode(input, settings, false)?;
        match decoded.special {
            Some(Special::Infinity) => return Ok(TIMESTAMP_INFINITY),
            Some(Special::NegativeInfinity) => return Ok(TIMESTAMP_NEGATIVE_INFINITY),
            Some(Special::Epoch) => return Ok(-i64::from(UNIX_EPOCH_DAYS) * MICROS_PER_DAY),
            Some(Special::Now) => {
                let now = now(settings)?;
                let offset = i64::from(settings.time_zone.offset_at_utc(now)) * MICROS_PER_SECOND;
                return Ok(if with_zone { now } else { now + offset });
            }
            None => {}
        }
        let out_of_range = || {
            Fault::Other(SqlError::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("timestamp out of range: \"{input}\""),
            ))
        };
        let days = days_of(decoded.date.ok_or(Fault::Syntax)?).ok_or_else(out_of_range)?;
        i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .and_then(|micros| micros.checked_add(decoded.time.unwrap_or(0)))
            .and_then(|local| convert(local, decoded.zone.as_ref(), settings))
            .filter(|micros| is_valid_timestamp(*micros))
            .ok_or_else(out_of_range)
    };
    run().map_err(|fault| fault.into_error(type_name, input))
}
