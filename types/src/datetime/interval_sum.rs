//! An interval added up from numbers with units. Fractions of months and days go over to the smaller parts.

use super::parts::Fault;
use super::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, interval_out_of_range};
use crate::Interval;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Unit {
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

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IntervalSum {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

fn small(value: i64, factor: i32) -> Result<i32, Fault> {
    i32::try_from(value).ok().and_then(|value| value.checked_mul(factor)).ok_or(Fault::Field)
}

impl IntervalSum {
    pub fn add_micros(&mut self, micros: i64) -> Result<(), Fault> {
        self.micros = self.micros.checked_add(micros).ok_or(Fault::Field)?;
        Ok(())
    }

    /// A fraction of a unit of `factor` microseconds.
    fn add_micros_share(&mut self, share: f64, factor: i64) -> Result<(), Fault> {
        let exact = share * factor as f64;
        let whole = exact as i64;
        let rest = exact - whole as f64;
        self.add_micros(whole + i64::from(rest > 0.5) - i64::from(rest < -0.5))
    }

    fn add_days(&mut self, days: i32) -> Result<(), Fault> {
        self.days = self.days.checked_add(days).ok_or(Fault::Field)?;
        Ok(())
    }

    /// A fraction of a unit of `factor` days.
    fn add_days_share(&mut self, share: f64, factor: i32) -> Result<(), Fault> {
        let exact = share * f64::from(factor);
        self.add_days(exact as i32)?;
        self.add_micros_share(exact - f64::from(exact as i32), MICROS_PER_DAY)
    }

    fn add_years(&mut self, value: i64, share: f64, factor: i32) -> Result<(), Fault> {
        self.years = self.years.checked_add(small(value, factor)?).ok_or(Fault::Field)?;
        let months = (share * f64::from(factor) * 12.0).round_ties_even() as i32;
        self.months = self.months.checked_add(months).ok_or(Fault::Field)?;
        Ok(())
    }

    /// Adds a whole number and a fraction of the same sign.
    pub fn add(&mut self, value: i64, share: f64, unit: Unit) -> Result<(), Fault> {
        let factor = match unit {
            Unit::Microsecond => 1,
            Unit::Millisecond => 1000,
            Unit::Second => MICROS_PER_SECOND,
            Unit::Minute => MICROS_PER_MINUTE,
            Unit::Hour => MICROS_PER_HOUR,
            Unit::Day => {
                self.add_days(small(value, 1)?)?;
                return self.add_micros_share(share, MICROS_PER_DAY);
            }
            Unit::Week => {
                self.add_days(small(value, 7)?)?;
                return self.add_days_share(share, 7);
            }
            Unit::Month => {
                self.months = self.months.checked_add(small(value, 1)?).ok_or(Fault::Field)?;
                return self.add_days_share(share, 30);
            }
            Unit::Year => return self.add_years(value, share, 1),
            Unit::Decade => return self.add_years(value, share, 10),
            Unit::Century => return self.add_years(value, share, 100),
            Unit::Millennium => return self.add_years(value, share, 1000),
        };
        self.add_micros(value.checked_mul(factor).ok_or(Fault::Field)?)?;
        self.add_micros_share(share, factor)
    }

    pub fn negated(self) -> Result<Self, Fault> {
        let negate = |value: i32| value.checked_neg().ok_or(Fault::Field);
        Ok(Self {
            years: negate(self.years)?,
            months: negate(self.months)?,
            days: negate(self.days)?,
            micros: self.micros.checked_neg().ok_or(Fault::Field)?,
        })
    }

    pub fn finish(self) -> Result<Interval, Fault> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        let months = i32::try_from(months).map_err(|_| Fault::Other(interval_out_of_range()))?;
        Ok(Interval { months, days: self.days, micros: self.micros })
    }
}
