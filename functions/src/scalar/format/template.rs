//! Templates of dates and times, split into fields and literal text.

use basalt_types::Result;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The field's name in capitals, how it was written, and its modifiers.
    Field { name: &'static str, written: String, fill: bool, ordinal: Option<String> },
    /// Quoted text, or letters that are no field.
    Literal(String),
    /// One character that is no letter or digit.
    Separator(char),
}

/// Longer names before their prefixes.
const FIELDS: &[&str] = &[
    "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I", "MONTH", "MON", "MM",
    "MI", "MS", "DAY", "DDD", "DD", "DY", "D", "HH24", "HH12", "HH", "SSSSS", "SSSS", "SS", "US", "FF1",
    "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.", "P.M.", "AM", "PM", "A.D.", "B.C.", "AD", "BC", "CC", "J",
    "Q", "RM", "TZH", "TZM", "TZ", "OF", "WW", "W",
];

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Splits a template.
pub fn split(template: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = template;
    let mut fill = true;
    let mut unpadded = false;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut literal = String::new();
            let mut characters = rest[1..].char_indices();
            let mut end = rest.len();
            while let Some((index, character)) = characters.next() {
                match character {
                    '"' => {
                        end = index + 2;
                        break;
                    }
                    '\\' => literal.extend(characters.next().map(|(_, next)| next)),
                    other => literal.push(other),
                }
            }
            parts.push(Part::Literal(literal));
            rest = &rest[end..];
            continue;
        }
        if has_prefix(rest, "FM") {
            fill = false;
            rest = &rest[2..];
            continue;
        }
        if has_prefix(rest, "FX") {
            rest = &rest[2..];
            continue;
        }
        if has_prefix(rest, "TM") {
            // Names are English whatever the locale; the modifier only takes their padding away.
            rest = &rest[2..];
            unpadded = true;
            continue;
        }
        if let Some(name) = FIELDS.iter().find(|name| has_prefix(rest, name)) {
            let written = rest[..name.len()].to_owned();
            rest = &rest[name.len()..];
            let mut ordinal = None;
            if has_prefix(rest, "TH") {
                ordinal = Some(rest[..2].to_owned());
                rest = &rest[2..];
            }
            let is_name = matches!(*name, "MONTH" | "MON" | "DAY" | "DY");
            parts.push(Part::Field { name, written, fill: fill && !(unpadded && is_name), ordinal });
            (fill, unpadded) = (true, false);
            continue;
        }
        rest = &rest[first.len_utf8()..];
        if first == '\\' && rest.starts_with('"') {
            parts.push(Part::Literal("\"".into()));
            rest = &rest[1..];
        } else if first.is_alphanumeric() {
            parts.push(Part::Literal(first.to_string()));
        } else {
            parts.push(Part::Separator(first));
        }
    }
    Ok(parts)
}

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub const ROMAN_MONTHS: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// `st`, `nd`, `rd` or `th` of a printed number, in the case of `written`.
pub fn ordinal(number: &str, written: &str) -> String {
    let digits = number.as_bytes();
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    let suffix = match digits.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    };
    if written.starts_with('T') { suffix.to_uppercase() } else { suffix.into() }
}
