//! `DateStyle`: a style and an order of day, month and year, of which a new value may change one and keep the other.

use basalt_types::io::{DateOrder, DateStyle, IntervalStyle};

/// The new value over the `current` one, in PostgreSQL's spelling; `None` when it is invalid.
pub fn merged(current: &str, value: &str) -> Option<String> {
    let (mut style, mut order) = decode(current);
    let (mut new_style, mut new_order) = (None, None);
    for word in value.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty()) {
        let word = word.to_ascii_lowercase();
        let chosen_order = match word.as_str() {
            "ymd" => Some(DateOrder::Ymd),
            "mdy" | "us" => Some(DateOrder::Mdy),
            "dmy" => Some(DateOrder::Dmy),
            word if word.starts_with("euro") => Some(DateOrder::Dmy),
            word if word.starts_with("noneuro") => Some(DateOrder::Mdy),
            _ => None,
        };
        let chosen_style = match word.as_str() {
            "iso" => Some(DateStyle::Iso),
            "sql" => Some(DateStyle::Sql),
            "german" => Some(DateStyle::German),
            word if word.starts_with("postgres") => Some(DateStyle::Postgres),
            _ => None,
        };
        match (chosen_style, chosen_order) {
            (Some(chosen), _) if new_style.is_none_or(|own| own == chosen) => new_style = Some(chosen),
            (_, Some(chosen)) if new_order.is_none_or(|own| own == chosen) => new_order = Some(chosen),
            (None, None) if word == "default" => {
                new_style.get_or_insert(DateStyle::Iso);
                new_order.get_or_insert(DateOrder::Mdy);
            }
            _ => return None,
        }
    }
    if let Some(chosen) = new_style {
        style = chosen;
        // Germans write the day first.
        if chosen == DateStyle::German {
            order = DateOrder::Dmy;
        }
    }
    if let Some(chosen) = new_order {
        order = chosen;
    }
    let style = match style {
        DateStyle::Iso => "ISO",
        DateStyle::Sql => "SQL",
        DateStyle::Postgres => "Postgres",
        DateStyle::German => "German",
    };
    let order = match order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    Some(format!("{style}, {order}"))
}

/// What a value in PostgreSQL's spelling means.
pub fn decode(value: &str) -> (DateStyle, DateOrder) {
    let (style, order) = value.split_once(", ").unwrap_or((value, "MDY"));
    let style = match style {
        "SQL" => DateStyle::Sql,
        "Postgres" => DateStyle::Postgres,
        "German" => DateStyle::German,
        _ => DateStyle::Iso,
    };
    let order = match order {
        "DMY" => DateOrder::Dmy,
        "YMD" => DateOrder::Ymd,
        _ => DateOrder::Mdy,
    };
    (style, order)
}

/// What a value of `IntervalStyle` means.
pub fn interval_style(value: &str) -> IntervalStyle {
    match value {
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "sql_standard" => IntervalStyle::SqlStandard,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    }
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn a_value_changes_what_it_names() {
        for (current, value, expected) in [
            ("ISO, MDY", "iso", Some("ISO, MDY")),
            ("ISO, MDY", "dmy", Some("ISO, DMY")),
            ("ISO, DMY", "SQL", Some("SQL, DMY")),
            ("ISO, MDY", "German", Some("German, DMY")),
            ("ISO, MDY", "german, ymd", Some("German, YMD")),
            ("SQL, DMY", "Postgres, US", Some("Postgres, MDY")),
            ("SQL, DMY", "default", Some("ISO, MDY")),
            ("ISO, MDY", "European", Some("ISO, DMY")),
            ("ISO, MDY", "iso, sql", None),
            ("ISO, MDY", "mdy, dmy", None),
            ("ISO, MDY", "metric", None),
        ] {
            assert_eq!(merged(current, value).as_deref(), expected, "{value} over {current}");
        }
    }
}
