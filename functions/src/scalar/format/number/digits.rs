//! The digits of a number as a template wants them.

use basalt_types::{Numeric, Result};

use super::template::Template;

/// Digits with a point, right-aligned in the template's places.
pub struct Digits {
    pub text: String,
    pub negative: bool,
    /// Places of the template before the first digit.
    pub spaces: usize,
}

impl Digits {
    /// `text` without a sign; too many digits before the point become `#`.
    pub fn place(text: String, negative: bool, template: &Template) -> Self {
        let whole = text.find('.').unwrap_or(text.len());
        if whole > template.whole {
            let hashes = |count: usize| "#".repeat(count);
            let text = format!("{}.{}", hashes(template.whole), hashes(template.decimals));
            return Self { text, negative, spaces: 0 };
        }
        Self { text, negative, spaces: template.whole - whole }
    }
}

/// Splits a minus sign off.
pub fn unsigned(text: String) -> (String, bool) {
    match text.strip_prefix('-') {
        Some(rest) => (rest.to_owned(), true),
        None => (text, false),
    }
}

/// A power of ten.
pub fn power_of_ten(exponent: usize) -> Result<Numeric> {
    Numeric::from_i64(10).power(&Numeric::from_i64(exponent as i64))
}

/// What is not a number in scientific form.
pub fn scientific_hashes(template: &Template) -> String {
    let hashes = |count: usize| "#".repeat(count);
    format!(" {}.{}", hashes(template.whole), hashes(template.decimals + 4))
}

/// `1.23e+05` with a blank before a positive number.
pub fn scientific_float(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let blank = if value.is_sign_negative() { "" } else { " " };
    format!("{blank}{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// The same of a finite numeric.
pub fn scientific_numeric(value: &Numeric, decimals: usize) -> Result<String> {
    let text = value.abs().to_string();
    let point = text.find('.').unwrap_or(text.len());
    let exponent = match text.find(|c: char| matches!(c, '1'..='9')) {
        None => 0,
        Some(first) if first < point => (point - first - 1) as i64,
        Some(first) => point as i64 - first as i64,
    };
    let power = power_of_ten(exponent.unsigned_abs() as usize)?;
    let shifted = if exponent < 0 {
        value.mul(&power)?
    } else {
        // Enough digits that the last rounding decides.
        value.mul(&Numeric::parse(&format!("1e-{exponent}"))?)?
    };
    let mantissa = shifted.round(decimals as i32)?;
    let blank = if value.is_negative() { "" } else { " " };
    let sign = if exponent < 0 { '-' } else { '+' };
    Ok(format!("{blank}{mantissa}e{sign}{:02}", exponent.abs()))
}

/// 1 to 3999 in Roman numerals.
pub fn roman(value: i64) -> String {
    const ONES: [&str; 10] = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"];
    const TENS: [&str; 10] = ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"];
    const HUNDREDS: [&str; 10] = ["", "C", "CC", "CCC", "CD", "D", "DC", "DCC", "DCCC", "CM"];
    const THOUSANDS: [&str; 4] = ["", "M", "MM", "MMM"];
    if !(1..=3999).contains(&value) {
        return "#".repeat(15);
    }
    let digit = |unit: i64| (value / unit % 10) as usize;
    [THOUSANDS[digit(1000)], HUNDREDS[digit(100)], TENS[digit(10)], ONES[digit(1)]].concat()
}
