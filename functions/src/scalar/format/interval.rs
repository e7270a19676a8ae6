//! `to_char` of intervals.
//!
//! An interval has no day of the calendar, but PostgreSQL computes some calendar fields as if its years, months and
//! days were a date; fields that only a real date or a zone has are errors.

use basalt_types::datetime::MICROS_PER_SECOND;
use basalt_types::{Interval, Result};

use super::datetime::{Moment, of_interval, push, push_number};
use super::template::{Part, ROMAN_MONTHS, split};

pub(super) fn interval_text(span: Interval, template: &str) -> Result<Option<String>> {
    if template.is_empty() {
        return Ok(None);
    }
    let moment = Moment {
        year: i64::from(span.months / 12),
        before_christ: false,
        month: 0,
        day: i64::from(span.days),
        days: None,
        hour: span.micros / (3600 * MICROS_PER_SECOND),
        minute: span.micros / (60 * MICROS_PER_SECOND) % 60,
        second: span.micros / MICROS_PER_SECOND % 60,
        micros: span.micros % MICROS_PER_SECOND,
        zone: None,
    };
    let date = Date { year: moment.year, month: i64::from(span.months % 12), day: moment.day };
    let mut result = String::new();
    for part in &split(template)? {
        match part {
            Part::Field { name, written, fill, ordinal } => match *name {
                "AD" | "BC" | "A.D." | "B.C." | "TZ" | "TZH" | "TZM" | "OF" => return Err(of_interval()),
                "AM" | "PM" | "A.M." | "P.M." => {
                    let afternoon = moment.hour % 24 >= 12;
                    let half = match (afternoon, name.contains('.')) {
                        (false, false) => "AM",
                        (true, false) => "PM",
                        (false, true) => "A.M.",
                        (true, true) => "P.M.",
                    };
                    let upper = written.starts_with(|first: char| first.is_ascii_uppercase());
                    result.push_str(&if upper { half.to_owned() } else { half.to_lowercase() });
                }
                "RM" => result.push_str(&date.roman_month(written.starts_with('R'), *fill)),
                "Q" if date.month == 0 => {}
                "HH24" | "HH12" | "HH" => {
                    let hour = match (*name, moment.hour % 12) {
                        ("HH24", _) => moment.hour,
                        (_, 0) => 12,
                        (_, hour) => hour,
                    };
                    // The room for a sign is there whenever the hours are negative.
                    let width = if moment.hour < 0 && hour >= 0 { 3 } else { 2 };
                    push_number(&mut result, hour, width, *fill, ordinal.as_deref());
                }
                name => match date.number(name) {
                    Some((value, width)) => {
                        push_number(&mut result, value, width, *fill, ordinal.as_deref());
                    }
                    None => push(&mut result, &moment, part)?,
                },
            },
            part => push(&mut result, &moment, part)?,
        }
    }
    Ok(Some(result))
}

/// The date that years, months and days would be; each may be zero or negative.
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// (value, width besides a sign) of a calendar field.
    fn number(&self, name: &str) -> Option<(i64, usize)> {
        let day_of_year = (self.year * 12 + self.month) * 30 + self.day;
        // ISO years are as wide as the interval's own year, sign included.
        let iso_year = |modulus: i64, width: usize| {
            let value = self.iso_year() % modulus;
            let width = width + usize::from(self.year < 0);
            (value, width.saturating_sub(usize::from(value < 0)))
        };
        // The others count their sign.
        let signed = |value: i64, width: usize| (value, width - usize::from(value < 0 && width > 0));
        Some(match name {
            "MM" => (self.month, 2),
            "DDD" => signed(day_of_year, 3),
            "W" => signed((self.day - 1) / 7 + 1, 1),
            "WW" => signed((day_of_year - 1) / 7 + 1, 2),
            "CC" => signed(self.year / 100, 2),
            "Q" => signed((self.month - 1) / 3 + 1, 1),
            "J" => (julian(self.year, self.month, self.day), 1),
            "IYYY" => iso_year(i64::MAX, 4),
            "IYY" => iso_year(1000, 3),
            "IY" => iso_year(100, 2),
            "I" => signed(self.iso_year() % 10, 1),
            "IW" => (self.iso_week(), 2),
            "IDDD" => {
                let start = first_week(self.iso_year());
                (julian(self.year, self.month, self.day) - start + 1, 3)
            }
            _ => return None,
        })
    }

    fn iso_year(&self) -> i64 {
        let day = julian(self.year, self.month, self.day);
        let years = [self.year + 1, self.year];
        years.into_iter().find(|year| day >= first_week(*year)).unwrap_or(self.year - 1)
    }

    fn iso_week(&self) -> i64 {
        (julian(self.year, self.month, self.day) - first_week(self.iso_year())) / 7 + 1
    }

    /// Months count back from the end of the year when there are none or they are negative.
    fn roman_month(&self, upper: bool, fill: bool) -> String {
        if self.month == 0 && self.year == 0 {
            return String::new();
        }
        let position = match self.month {
            0 if self.year >= 0 => 11,
            0 => 0,
            month if month < 0 => month + 12,
            month => month - 1,
        };
        let name = usize::try_from(position).ok().and_then(|position| ROMAN_MONTHS.get(position));
        let name = name.copied().unwrap_or_default();
        let name = if upper { name.to_owned() } else { name.to_lowercase() };
        if fill { format!("{name:<4}") } else { name }
    }
}

/// The Julian day of a date whose month may be zero or negative, as PostgreSQL's arithmetic has it.
fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = year / 100;
    year * 365 - 32167 + year / 4 - century + century / 4 + 7834 * month / 256 + day
}

/// The Julian day of the Monday of the first ISO week.
fn first_week(year: i64) -> i64 {
    let fourth = julian(year, 1, 4);
    fourth - fourth.rem_euclid(7)
}
