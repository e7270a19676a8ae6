use super::calendar::{civil_from_days, days_from_civil, days_in_month};
use super::*;
use crate::{Datum, Interval, IoSettings, Numeric, Result, SqlType, to_text};

fn apply(operation: &str, a: &str, b: &str, settings: &IoSettings) -> Result<String> {
    let timestamp = |text: &str| parse_timestamp(text, settings);
    let instant = |text: &str| parse_timestamptz(text, settings);
    let interval = |text: &str| parse_interval(text, -1, crate::io::IntervalStyle::Postgres);
    let zone = &settings.time_zone;
    let number = |value: Option<Numeric>| value.map_or("NULL".into(), |value| value.to_string());
    let show_timestamp = |value: i64| to_text(&Datum::Timestamp(value), SqlType::TIMESTAMP, settings);
    let show_instant = |value: i64| to_text(&Datum::TimestampTz(value), SqlType::TIMESTAMPTZ, settings);
    let show_interval = |value: Interval| to_text(&Datum::Interval(value), SqlType::INTERVAL, settings);
    Ok(match operation {
        "trunc_ts" => show_timestamp(date_trunc_timestamp(a, timestamp(b)?)?),
        "trunc_tz" => show_instant(date_trunc_timestamptz(a, instant(b)?, zone)?),
        "trunc_iv" => show_interval(date_trunc_interval(a, &interval(b)?)?),
        "extract_ts" => number(extract_timestamp(a, timestamp(b)?)?),
        "extract_tz" => number(extract_timestamptz(a, instant(b)?, zone)?),
        "extract_date" => number(extract_date(a, timestamp_to_date(timestamp(b)?))?),
        "extract_time" => number(extract_time(a, parse_time(b, settings)?)?),
        "extract_iv" => number(extract_interval(a, &interval(b)?)?),
        "ts+iv" => show_timestamp(timestamp_plus_interval(timestamp(a)?, &interval(b)?)?),
        "tz+iv" => show_instant(timestamptz_plus_interval(instant(a)?, &interval(b)?, zone)?),
        "age" => show_interval(age(timestamp(a)?, timestamp(b)?)?),
        "ts-ts" => show_interval(timestamp_difference(timestamp(a)?, timestamp(b)?)?),
        "tz_out" => show_instant(instant(a)?),
        "iv*" => show_interval(interval(a)?.checked_mul_f64(b.parse().unwrap())?),
        "iv/" => show_interval(interval(a)?.checked_div_f64(b.parse().unwrap())?),
        "justify_days" => show_interval(interval(a)?.justify_days()?),
        "justify_hours" => show_interval(interval(a)?.justify_hours()?),
        "justify_interval" => show_interval(interval(a)?.justify_interval()?),
        "iv_cmp" => (interval(a)?.compare(&interval(b)?) as i8).to_string(),
        other => panic!("{other}"),
    })
}

/// Every line of the table is what PostgreSQL 15 answered.
#[test]
fn functions_agree_with_postgresql() {
    let settings =
        IoSettings { time_zone: TimeZone::parse("America/New_York").unwrap(), ..IoSettings::default() };
    let mut failures = Vec::new();
    let mut count = 0;
    for line in include_str!("golden.tsv").lines().filter(|line| !line.starts_with('#')) {
        count += 1;
        let fields: Vec<&str> = line.split('\t').collect();
        let got = match apply(fields[0], fields[1], fields[2], &settings) {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("{} {}", error.sqlstate(), error.message()),
        };
        if got != fields[3] {
            failures.push(format!(
                "{} {:?} {:?}\n    expected {}\n    got      {got}",
                fields[0], fields[1], fields[2], fields[3]
            ));
        }
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 1500, "{count}");
}

#[test]
fn every_day_comes_back() {
    let (mut year, mut month, mut day) = (-4713, 11, 24);
    for days in DATE_MIN..DATE_MIN + 3_000_000 {
        assert_eq!(civil_from_days(days), (year, month, day));
        assert_eq!(days_from_civil(year, month, day), days);
        day += 1;
        if day > days_in_month(year, month) {
            day = 1;
            month += 1;
        }
        if month > 12 {
            month = 1;
            year += 1;
        }
    }
    assert_eq!(civil_from_days(DATE_MAX), (5_874_897, 12, 31));
    assert_eq!(days_from_civil(5_874_897, 12, 31), DATE_MAX);
}

#[test]
fn relative_words_read_the_clock_given() {
    let settings = IoSettings {
        time_zone: TimeZone::parse("+5").unwrap(),
        now_micros: Some(20 * MICROS_PER_HOUR),
        ..IoSettings::default()
    };
    assert_eq!(parse_date("today", &settings).unwrap(), 1);
    assert_eq!(parse_date("yesterday", &settings).unwrap(), 0);
    assert_eq!(parse_timestamp("now", &settings).unwrap(), 25 * MICROS_PER_HOUR);
    assert_eq!(parse_timestamptz("now", &settings).unwrap(), 20 * MICROS_PER_HOUR);
    assert_eq!(parse_timestamptz("tomorrow 01:00", &settings).unwrap(), 44 * MICROS_PER_HOUR);
    assert_eq!(parse_time("now", &settings).unwrap(), MICROS_PER_HOUR);
    assert!(parse_date("now", &IoSettings::default()).is_err());
}

#[test]
fn zones_have_names() {
    assert_eq!(TimeZone::parse("europe/berlin").unwrap().name(), "Europe/Berlin");
    assert_eq!(TimeZone::parse("+2").unwrap().name(), "<+02>-02");
    assert_eq!(TimeZone::parse("-3.5").unwrap().name(), "<-03:30>+03:30");
    assert_eq!(TimeZone::parse("<+02>-02").unwrap(), TimeZone::fixed(7200));
    assert_eq!(TimeZone::parse("ABC3:30").unwrap().offset_at_utc(0), -12_600);
    assert_eq!(TimeZone::utc().name(), "UTC");
    assert!(age(TIMESTAMP_INFINITY, 0).is_err());
    let error = TimeZone::parse("Foo/Bar").unwrap_err();
    assert_eq!(error.message(), "invalid value for parameter \"TimeZone\": \"Foo/Bar\"");
}

#[test]
fn any_bytes_are_read_without_panic() {
    let settings = IoSettings { now_micros: Some(0), ..IoSettings::default() };
    let alphabet: Vec<char> = "0123456789:-/.+ TtZjanpmbcagoyesterdwkPYMDHS@,é".chars().collect();
    let mut random = 1u64;
    for _ in 0..60_000 {
        let mut text = String::new();
        for _ in 0..random % 23 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(alphabet[(random >> 33) as usize % alphabet.len()]);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(12345);
        random ^= random >> 29;
        let _ = parse_date(&text, &settings);
        let _ = parse_time(&text, &settings);
        let _ = parse_timestamp(&text, &settings);
        let _ = parse_timestamptz(&text, &settings);
        let _ = parse_interval(&text, -1, crate::io::IntervalStyle::Postgres);
        let _ = Numeric::parse(&text);
    }
}

#[test]
fn intervals_keep_the_declared_fields() {
    let value =
        parse_interval("1 year 2 mons 3 days 04:05:06.789", -1, crate::io::IntervalStyle::Postgres).unwrap();
    for (fields, precision, expected) in [
        (1 << 2, 0xffff, "1 year"),
        (1 << 1 | 1 << 2, 0xffff, "1 year 2 mons"),
        (1 << 3, 0xffff, "1 year 2 mons 3 days"),
        (1 << 3 | 1 << 10, 0xffff, "1 year 2 mons 3 days 04:00:00"),
        (1 << 10 | 1 << 11, 0xffff, "1 year 2 mons 3 days 04:05:00"),
        (0x7fff, 1, "1 year 2 mons 3 days 04:05:06.8"),
    ] {
        let mut out = String::new();
        format_interval(&value.apply_typmod(fields << 16 | precision).unwrap(), &mut out);
        assert_eq!(out, expected);
    }
    assert_eq!(
        parse_interval("2", (1 << 3) << 16 | 0xffff, crate::io::IntervalStyle::Postgres).unwrap().days,
        2
    );
}
