//! `to_char` of numbers.

use basalt_types::{Numeric, Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};
use crate::scalar::format::template::ordinal;

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "to_char(int4,text)" => |a: i32, template: &str| print(&Numeric::from(a), template),
        "to_char(int8,text)" => |a: i64, template: &str| print(&Numeric::from(a), template),
        "to_char(numeric,text)" => print,
        "to_char(float4,text)" => |a: f32, template: &str| print(&Numeric::from_f32(a), template),
        "to_char(float8,text)" => |a: f64, template: &str| print(&Numeric::from_f64(a), template),
    });
}

fn syntax(message: &str) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// A blank or a minus before the first digit.
    Plain,
    /// `S`, before or after the number.
    Anchored { after: bool },
    /// `MI` and `SG` print where they stand.
    Placed,
    /// `<1>`.
    Brackets,
}

enum Item {
    /// `9` (false) or `0` (true).
    Digit(bool),
    Point,
    Group,
    Minus,
    Plus,
    Either,
    Ordinal(String),
    Literal(String),
}

struct Template {
    items: Vec<Item>,
    sign: Sign,
    fill: bool,
    whole: usize,
    decimals: usize,
    /// Leading zeros begin at this digit, counted from the left.
    first_zero: Option<usize>,
}

fn split(template: &str) -> Result<Template> {
    let mut result =
        Template { items: vec![], sign: Sign::Plain, fill: true, whole: 0, decimals: 0, first_zero: None };
    let mut rest = template;
    let mut point = false;
    while let Some(first) = rest.chars().next() {
        let upper = rest.get(..2).unwrap_or_default().to_ascii_uppercase();
        let mut taken = 2;
        match upper.as_str() {
            "FM" => result.fill = false,
            "MI" => {
                result.sign = Sign::Placed;
                result.items.push(Item::Minus);
            }
            // Prints a plus beside whatever sign the number has.
            "PL" => result.items.push(Item::Plus),
            "SG" => {
                result.sign = Sign::Placed;
                result.items.push(Item::Either);
            }
            "PR" => result.sign = Sign::Brackets,
            "TH" => result.items.push(Item::Ordinal(rest[..2].to_owned())),
            "RN" | "EE" => {
                return Err(SqlError::not_supported(format!("the number template \"{template}\"")));
            }
            _ => {
                taken = first.len_utf8();
                match first {
                    '9' | '0' => {
                        if point {
                            result.decimals += 1;
                        } else {
                            if first == '0' {
                                result.first_zero.get_or_insert(result.whole);
                            }
                            result.whole += 1;
                        }
                        result.items.push(Item::Digit(first == '0'));
                    }
                    '.' | 'D' | 'd' => {
                        if std::mem::replace(&mut point, true) {
                            return Err(syntax("multiple decimal points"));
                        }
                        result.items.push(Item::Point);
                    }
                    ',' | 'G' | 'g' => result.items.push(Item::Group),
                    'S' | 's' => {
                        let after = result.whole + result.decimals > 0;
                        result.sign = Sign::Anchored { after };
                    }
                    'L' | 'l' => result.items.push(Item::Literal(" ".into())),
                    'V' | 'v' => {
                        return Err(SqlError::not_supported(format!("the number template \"{template}\"")));
                    }
                    '"' => {
                        let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
                        result.items.push(Item::Literal(rest[1..end].trim_end_matches('"').to_owned()));
                        taken = end;
                    }
                    other => result.items.push(Item::Literal(other.to_string())),
                }
            }
        }
        rest = &rest[taken..];
    }
    Ok(result)
}

fn print(value: &Numeric, text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let template = split(text)?;
    let rounded = value.round(template.decimals as i32)?;
    let negative = value.is_negative() && !(rounded.is_zero());
    let digits = rounded.abs().to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let mut whole = whole.trim_start_matches('0');
    let decimals = template.items.iter().skip_while(|item| !matches!(item, Item::Point));
    let no_decimal_left = decimals.filter(|item| matches!(item, Item::Digit(true))).count() == 0;
    if whole.is_empty() && rounded.is_zero() && !template.fill && no_decimal_left {
        whole = "0";
    }
    let overflow = whole.len() > template.whole;
    if !value.is_finite() && !overflow {
        // NaN and infinity stand in the places of whole digits and have no decimals.
        let mut template = template;
        if let Some(point) = template.items.iter().position(|item| matches!(item, Item::Point)) {
            template.items.truncate(point);
        }
        return Ok(lay_out(&template, negative, whole, "", false));
    }
    Ok(lay_out(&template, negative, whole, fraction, overflow))
}

/// Prints the digits into the template's places.
fn lay_out(template: &Template, negative: bool, whole: &str, fraction: &str, overflow: bool) -> String {
    let blank = |out: &mut String| {
        if template.fill {
            out.push(' ');
        }
    };
    let missing = template.whole.saturating_sub(whole.len());
    // Without decimals, or with an explicit zero, the number has a digit before the point.
    let mut started = false;
    let mut signed = matches!(template.sign, Sign::Placed | Sign::Anchored { after: true });
    let sign = match (template.sign, negative) {
        (Sign::Brackets, true) => Some('<'),
        (Sign::Anchored { .. }, false) => Some('+'),
        (_, true) => Some('-'),
        _ => None,
    };
    let put_sign = |out: &mut String, signed: &mut bool| {
        if !std::mem::replace(signed, true) {
            match sign {
                Some(sign) => out.push(sign),
                None => blank(out),
            }
        }
    };
    let mut out = String::new();
    let (mut place, mut decimal) = (0, 0);
    let mut after_point = false;
    // Without the fill mode, zeros after the last significant decimal that stand for a 9 vanish.
    let kept_decimals = if template.fill || overflow {
        template.decimals
    } else {
        let zeros = template
            .items
            .iter()
            .rev()
            .filter_map(|item| if let Item::Digit(zero) = item { Some(*zero) } else { None });
        let required = template.decimals.saturating_sub(zeros.take_while(|zero| !zero).count());
        fraction.trim_end_matches('0').len().max(required)
    };
    for item in &template.items {
        match item {
            Item::Digit(_) if after_point => {
                if decimal < kept_decimals {
                    out.push(if overflow { '#' } else { fraction[decimal..].chars().next().unwrap_or('0') });
                }
                decimal += 1;
            }
            Item::Digit(_) => {
                let zero_from = template.first_zero.unwrap_or(usize::MAX);
                if overflow {
                    put_sign(&mut out, &mut signed);
                    out.push('#');
                    started = true;
                } else if place >= missing {
                    put_sign(&mut out, &mut signed);
                    out.push_str(&whole[place - missing..=place - missing]);
                    started = true;
                } else if place >= zero_from || (template.decimals == 0 && place + 1 == template.whole) {
                    put_sign(&mut out, &mut signed);
                    out.push('0');
                    started = true;
                } else {
                    blank(&mut out);
                }
                place += 1;
            }
            Item::Point => {
                put_sign(&mut out, &mut signed);
                out.push('.');
                after_point = true;
                started = true;
            }
            Item::Group if started => out.push(','),
            Item::Group => blank(&mut out),
            Item::Minus if negative => out.push('-'),
            Item::Plus if !negative => out.push('+'),
            Item::Either => out.push(if negative { '-' } else { '+' }),
            Item::Minus | Item::Plus => blank(&mut out),
            Item::Ordinal(written) if !negative && !overflow && template.decimals == 0 => {
                out.push_str(&ordinal(if whole.is_empty() { "0" } else { whole }, written));
            }
            Item::Ordinal(_) => {}
            Item::Literal(text) => out.push_str(text),
        }
    }
    match template.sign {
        Sign::Brackets if negative => out.push('>'),
        Sign::Brackets => blank(&mut out),
        Sign::Anchored { after: true } => out.push(if negative { '-' } else { '+' }),
        _ => {}
    }
    out
}
