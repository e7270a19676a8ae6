//! `to_date` and `to_timestamp`: reads a value in the form of a template.

use basalt_types::datetime::calendar::{JULIAN_EPOCH, days_from_civil, days_in_month, iso_week_start};
use basalt_types::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, is_valid_date, is_valid_timestamp, timestamp_to_timestamptz,
};
use basalt_types::{Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::format::template::{DAYS, MONTHS, Part, ROMAN_MONTHS, split};
use crate::value::{Date, TimestampTz};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "to_date" => |text: &str, template: &str| {
            let days = read(text, template)?.days(text)?;
            if is_valid_date(days) { Ok(Date(days)) } else { Err(field_overflow(text)) }
        },
    });
    call_scalars!(builder, {
        "to_timestamp(text,text)" => |call: &Call<'_>, text: &str, template: &str| {
            let fields = read(text, template)?;
            let time = fields.time(text)?;
            let micros = i64::from(fields.days(text)?)
                .checked_mul(MICROS_PER_DAY)
                .and_then(|midnight| midnight.checked_add(time))
                .filter(|micros| is_valid_timestamp(*micros))
                .ok_or_else(|| field_overflow(text))?;
            match fields.zone_seconds {
                Some(east) if east.unsigned_abs() >= 16 * 3600 => Err(SqlError::new(
                    SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                    format!("time zone displacement out of range: \"{text}\""),
                )),
                Some(east) => Ok(TimestampTz(micros - i64::from(east) * MICROS_PER_SECOND)),
                None => timestamp_to_timestamptz(micros, &call.context.io.time_zone).map(TimestampTz),
            }
        },
    });
}

fn field_overflow(text: &str) -> SqlError {
    SqlError::new(
        SqlState::DATETIME_FIELD_OVERFLOW,
        format!("date/time field value out of range: \"{text}\""),
    )
}

fn invalid_value(found: &str, field: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid value \"{found}\" for \"{field}\""))
}

#[derive(Default)]
struct Fields {
    year: Option<i32>,
    century: Option<i32>,
    before_christ: bool,
    month: Option<u32>,
    day: Option<i32>,
    day_of_year: Option<i32>,
    week: Option<i32>,
    iso_year: Option<i32>,
    iso_week: Option<i32>,
    iso_day: Option<i32>,
    julian: Option<i32>,
    hour: i64,
    half_day: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    second_of_day: Option<i64>,
    zone_seconds: Option<i32>,
}

impl Fields {
    /// Days since 2000-01-01; what is not given is the first of its kind.
    fn days(&self, text: &str) -> Result<i32> {
        if let Some(julian) = self.julian {
            return julian.checked_sub(JULIAN_EPOCH).ok_or_else(|| field_overflow(text));
        }
        if let Some(year) = self.iso_year {
            return Ok(iso_week_start(year, self.iso_week.unwrap_or(1)) + self.iso_day.unwrap_or(1) - 1);
        }
        let mut year = match (self.year, self.century) {
            (Some(year), Some(century)) if year < 100 => {
                century.saturating_sub(1).saturating_mul(100).saturating_add(year)
            }
            (Some(year), _) => year,
            (None, Some(century)) => century.saturating_sub(1).saturating_mul(100).saturating_add(1),
            // Without a year PostgreSQL reads 1 BC.
            (None, None) => 0,
        };
        if self.before_christ {
            year = year.saturating_neg();
        }
        // There is no year 0: 1 BC stands there.
        if year < 0 {
            year += 1;
        }
        if !(-4714..=5_874_897).contains(&year) {
            return Err(field_overflow(text));
        }
        if let Some(day) = self.day_of_year {
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        if let Some(week) = self.week {
            return Ok(days_from_civil(year, 1, 1) + (week - 1) * 7);
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) || day < 1 || day as u32 > days_in_month(year, month) {
            return Err(field_overflow(text));
        }
        Ok(days_from_civil(year, month, day as u32))
    }

    fn time(&self, text: &str) -> Result<i64> {
        if let Some(seconds) = self.second_of_day {
            return Ok(seconds * MICROS_PER_SECOND);
        }
        let mut hour = self.hour;
        if self.half_day || self.afternoon.is_some() {
            if !(1..=12).contains(&hour) {
                return Err(SqlError::new(
                    SqlState::INVALID_DATETIME_FORMAT,
                    format!("hour \"{hour}\" is invalid for the 12-hour clock"),
                )
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 };
        }
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return Err(field_overflow(text));
        }
        Ok((hour * 3600 + self.minute * 60 + self.second) * MICROS_PER_SECOND + self.micros)
    }
}

/// The most digits that a field takes when another number follows at once.
fn digits_max(name: &str) -> usize {
    match name {
        "YYYY" | "IYYY" | "FF4" => 4,
        "YYY" | "IYY" | "DDD" | "IDDD" | "MS" | "FF3" => 3,
        "Y" | "I" | "D" | "ID" | "Q" | "W" | "FF1" => 1,
        "US" | "FF6" | "SSSS" | "SSSSS" | "FF5" => 6,
        "J" => 9,
        _ => 2,
    }
}

fn is_textual(name: &str) -> bool {
    matches!(
        name,
        "MONTH" | "MON" | "DAY" | "DY" | "RM" | "AM" | "PM" | "A.M." | "P.M." | "AD" | "BC" | "A.D." | "B.C."
    )
}

fn read(text: &str, template: &str) -> Result<Fields> {
    let parts = split(template)?;
    let mut fields = Fields::default();
    let mut rest = text;
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Separator(_) => {
                // One separator of the template takes one of the input, whichever it is.
                if let Some(first) =
                    rest.chars().next().filter(|c| !c.is_alphanumeric() && !"+-".contains(*c))
                {
                    rest = &rest[first.len_utf8()..];
                } else if rest.starts_with('-') {
                    rest = &rest[1..];
                }
            }
            Part::Literal(literal) => {
                let skipped = literal.chars().count();
                rest = rest.char_indices().nth(skipped).map_or("", |(at, _)| &rest[at..]);
            }
            Part::Field { name, written, .. } => {
                rest = rest.trim_start();
                if rest.is_empty() {
                    break;
                }
                let adjacent =
                    matches!(parts.get(index + 1), Some(Part::Field { name, .. }) if !is_textual(name));
                rest = read_field(&mut fields, rest, name, written, adjacent)?;
            }
        }
    }
    Ok(fields)
}

/// Which of the names the input begins with, in any case.
fn read_name<'a>(
    rest: &'a str,
    names: &[&str],
    length: Option<usize>,
    field: &str,
) -> Result<(usize, &'a str)> {
    let found = names.iter().enumerate().filter_map(|(index, name)| {
        let name = &name[..length.unwrap_or(name.len()).min(name.len())];
        let start = rest.get(..name.len())?;
        start.eq_ignore_ascii_case(name).then_some((index, name.len()))
    });
    // The longest: VIII before V.
    let (index, taken) = found.max_by_key(|(_, length)| *length).ok_or_else(|| {
        let shown: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        invalid_value(&shown, field)
            .with_detail("The given value did not match any of the allowed values for this field.")
    })?;
    Ok((index, &rest[taken..]))
}

fn read_field<'a>(
    fields: &mut Fields,
    rest: &'a str,
    name: &str,
    written: &str,
    adjacent: bool,
) -> Result<&'a str> {
    match name {
        "MONTH" | "MON" => {
            // Full names are tried first by length; an abbreviation is three letters.
            let (index, after) = match read_name(rest, &MONTHS, None, written) {
                Ok(found) if name == "MONTH" => found,
                _ => read_name(rest, &MONTHS, Some(3), written)?,
            };
            fields.month = Some(index as u32 + 1);
            return Ok(after);
        }
        "DAY" => return Ok(read_name(rest, &DAYS, None, written)?.1),
        "DY" => return Ok(read_name(rest, &DAYS, Some(3), written)?.1),
        "RM" => {
            let (index, after) = read_name(rest, &ROMAN_MONTHS, None, written)?;
            fields.month = Some(index as u32 + 1);
            return Ok(after);
        }
        "AM" | "PM" | "A.M." | "P.M." => {
            let (index, after) = read_name(rest, &["AM", "PM", "A.M.", "P.M."], None, written)?;
            fields.afternoon = Some(index % 2 == 1);
            return Ok(after);
        }
        "AD" | "BC" | "A.D." | "B.C." => {
            let (index, after) = read_name(rest, &["AD", "BC", "A.D.", "B.C."], None, written)?;
            fields.before_christ = index % 2 == 1;
            return Ok(after);
        }
        "TZ" | "OF" | "Y,YYY" => {
            return Err(SqlError::not_supported(format!("reading the template field \"{written}\"")));
        }
        _ => {}
    }
    let signed = matches!(name, "TZH" | "YYYY");
    let sign = if signed && rest.starts_with(['-', '+']) { 1 } else { 0 };
    let limit = if adjacent || name.starts_with("TZ") { digits_max(name) } else { usize::MAX };
    let count = rest[sign..].bytes().take_while(u8::is_ascii_digit).take(limit).count();
    let digits = &rest[sign..sign + count];
    let value: i32 = digits.parse().map_err(|_| {
        let shown: String = rest.chars().take(digits_max(name)).collect();
        invalid_value(&shown, written).with_detail("Value must be an integer.")
    })?;
    store(fields, name, if rest.starts_with('-') && sign == 1 { -value } else { value }, digits);
    Ok(&rest[sign + count..])
}

fn store(fields: &mut Fields, name: &str, value: i32, digits: &str) {
    // Two-digit years are those nearest to 2020.
    let nearby = |value: i32, length: usize| match length {
        1 => 2000 + value,
        2 if value < 70 => 2000 + value,
        2 => 1900 + value,
        3 if (100..520).contains(&value) => 2000 + value,
        3 if value >= 520 => 1000 + value,
        3 => 2000 + value,
        _ => value,
    };
    match name {
        "YYYY" => fields.year = Some(value),
        "YYY" | "YY" | "Y" => fields.year = Some(nearby(value, digits.len())),
        "IYYY" => fields.iso_year = Some(value),
        "IYY" | "IY" | "I" => fields.iso_year = Some(nearby(value, digits.len())),
        "CC" => fields.century = Some(value),
        "MM" => fields.month = Some(value.max(0) as u32),
        "DD" => fields.day = Some(value),
        "DDD" => fields.day_of_year = Some(value),
        "IDDD" => (fields.iso_week, fields.iso_day) = (Some(1), Some(value)),
        "WW" => fields.week = Some(value),
        "W" => fields.day = Some((value - 1) * 7 + 1),
        "IW" => fields.iso_week = Some(value),
        "ID" => fields.iso_day = Some(value),
        "J" => fields.julian = Some(value),
        "HH24" => fields.hour = i64::from(value),
        "HH" | "HH12" => (fields.hour, fields.half_day) = (i64::from(value), true),
        "MI" => fields.minute = i64::from(value),
        "SS" => fields.second = i64::from(value),
        "SSSS" | "SSSSS" => fields.second_of_day = Some(i64::from(value)),
        "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            // Digits of a fraction, to microseconds.
            let scale = 6usize.saturating_sub(digits.len()) as u32;
            let cut: i64 = digits.get(..6).unwrap_or(digits).parse().unwrap_or(0);
            fields.micros = cut * 10i64.pow(scale);
        }
        "TZH" => {
            fields.zone_seconds =
                Some(fields.zone_seconds.unwrap_or(0).saturating_add(value.saturating_mul(3600)))
        }
        "TZM" => {
            let hours = fields.zone_seconds.unwrap_or(0);
            let minutes = value.saturating_mul(if hours < 0 { -60 } else { 60 });
            fields.zone_seconds = Some(hours.saturating_add(minutes));
        }
        // The quarter and the day of the week say nothing that the date does not.
        _ => {}
    }
}
