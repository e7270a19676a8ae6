//! Values as SQLite's corpus wrote them: the type letters format, whatever the column's type is.

use sqllogictest::DefaultColumnType;

/// `I` truncates to an integer, `R` has three digits, and in `T` unprintable characters are `@`.
pub fn shown(value: Option<&str>, letter: Option<&DefaultColumnType>) -> String {
    let Some(value) = value else { return "NULL".to_owned() };
    match letter {
        Some(DefaultColumnType::Integer) => integer(value),
        Some(DefaultColumnType::FloatingPoint) => {
            value.parse::<f64>().map_or_else(|_| "0.000".to_owned(), |number| format!("{number:.3}"))
        }
        _ if value.is_empty() => "(empty)".to_owned(),
        _ => value.chars().map(|c| if (' '..='~').contains(&c) { c } else { '@' }).collect(),
    }
}

fn integer(value: &str) -> String {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.to_owned();
    }
    match value {
        "t" => "1".to_owned(),
        "f" => "0".to_owned(),
        // As C's cast does it.
        _ => value
            .parse::<f64>()
            .map_or_else(|_| "0".to_owned(), |number| format!("{}", number.trunc() as i64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_form_of_their_letter() {
        use DefaultColumnType::{Any, FloatingPoint, Integer, Text};
        let cases = [
            (None, Integer, "NULL"),
            (Some("12345678901234567890"), Integer, "12345678901234567890"),
            (Some("-3.99"), Integer, "-3"),
            (Some("t"), Integer, "1"),
            (Some("abc"), Integer, "0"),
            (Some("2.5"), FloatingPoint, "2.500"),
            (Some("x"), FloatingPoint, "0.000"),
            (Some(""), Text, "(empty)"),
            (Some("a\tb"), Text, "a@b"),
            (Some("7"), Any, "7"),
        ];
        for (value, letter, expected) in cases {
            assert_eq!(shown(value, Some(&letter)), expected, "{value:?}");
        }
    }
}
