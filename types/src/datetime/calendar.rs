//! Days since 2000-01-01 to and from year, month and day; Julian days.

/// Julian day number of 2000-01-01.
pub const JULIAN_EPOCH: i32 = 2_451_545;
/// Days from 1970-01-01 to 2000-01-01.
pub const UNIX_EPOCH_DAYS: i32 = 10_957;

/// Days since 2000-01-01 of a date; `year` is astronomical (0 is 1 BC).
pub fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    // Years begin in March here, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month as i32 + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 730_425
}

/// (astronomical year, month, day) of days since 2000-01-01.
pub fn civil_from_days(days: i32) -> (i32, u32, u32) {
    let shifted = i64::from(days) + 730_425;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month, day)
}

pub fn is_leap_year(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// 0 is Sunday.
pub fn day_of_week(days: i32) -> i32 {
    (i64::from(days) + 6).rem_euclid(7) as i32
}

/// 1 is January 1.
pub fn day_of_year(days: i32) -> i32 {
    days - days_from_civil(civil_from_days(days).0, 1, 1) + 1
}

/// (ISO year, ISO week); weeks begin on Monday and belong to the year of their Thursday.
pub fn iso_week(days: i32) -> (i32, i32) {
    let monday_based = (i64::from(days) + 5).rem_euclid(7) as i32;
    let thursday = days - monday_based + 3;
    let year = civil_from_days(thursday).0;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// The Monday that begins an ISO week.
pub fn iso_week_start(year: i32, week: i32) -> i32 {
    let january_4 = days_from_civil(year, 1, 4);
    let monday_based = (i64::from(january_4) + 5).rem_euclid(7) as i32;
    january_4 - monday_based + (week - 1) * 7
}
