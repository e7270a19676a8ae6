//! `to_char` of numbers.

use basalt_types::{Numeric, Result, SqlError, SqlState};

use super::digits::{
    Digits, power_of_ten, roman, scientific_float, scientific_hashes, scientific_numeric, unsigned,
};
use super::template::{AnchoredSign, Item, Template};
use crate::scalar::format::template::ordinal;

pub fn integer(value: i64, text: &str) -> Result<String> {
    let mut template = Template::parse(text)?;
    if template.scientific {
        return scientific_numeric(&Numeric::from_i64(value), template.decimals);
    }
    if template.roman {
        return Printer::roman(&mut template, &roman(value));
    }
    let scaled = shift(&Numeric::from_i64(value), &mut template)?;
    let (mut digits, negative) = unsigned(scaled.round(0)?.to_string());
    if template.decimals > 0 {
        digits.push('.');
        digits.push_str(&"0".repeat(template.decimals));
    }
    let digits = Digits::place(digits, negative, &template);
    Printer::number(&mut template, digits)
}

pub fn numeric(value: &Numeric, text: &str) -> Result<String> {
    let mut template = Template::parse(text)?;
    if template.scientific {
        return if value.is_finite() {
            scientific_numeric(value, template.decimals)
        } else {
            Ok(scientific_hashes(&template))
        };
    }
    if template.roman {
        return Printer::roman(&mut template, &roman(i64::from(value.round(0)?.to_i32()?)));
    }
    let scaled = shift(value, &mut template)?;
    let (digits, negative) = unsigned(scaled.round(template.decimals as i32)?.to_string());
    let digits = Digits::place(digits, negative, &template);
    Printer::number(&mut template, digits)
}

/// `precision` is how many decimal digits the type holds for sure.
pub fn float(value: f64, precision: usize, text: &str) -> Result<String> {
    let mut template = Template::parse(text)?;
    if template.scientific {
        return Ok(if value.is_finite() {
            scientific_float(value, template.decimals)
        } else {
            scientific_hashes(&template)
        });
    }
    if template.roman {
        let rounded = value.round_ties_even();
        let value = if rounded.abs() < 1e9 { rounded as i64 } else { 0 };
        return Printer::roman(&mut template, &roman(value));
    }
    let mut value = value;
    if template.multiplied {
        value *= 10f64.powi(i32::try_from(template.shifted).map_err(|_| SqlError::out_of_range("integer"))?);
        template.whole += template.shifted;
    }
    let name = match value {
        value if value.is_nan() => Some("NaN"),
        value if value.is_infinite() => Some("Infinity"),
        _ => None,
    };
    let whole = name.map_or_else(|| format!("{:.0}", value.abs()), str::to_owned).len();
    template.decimals = template.decimals.min(precision.saturating_sub(whole));
    let digits = match name {
        Some(name) => name.to_owned(),
        None => format!("{:.*}", template.decimals, value.abs()),
    };
    let digits = Digits::place(digits, value.is_sign_negative() && !value.is_nan(), &template);
    Printer::number(&mut template, digits)
}

/// `V`: multiplied by ten for each digit after it.
fn shift(value: &Numeric, template: &mut Template) -> Result<Numeric> {
    if !template.multiplied {
        return Ok(value.clone());
    }
    template.whole += template.shifted;
    value.mul(&power_of_ten(template.shifted)?)
}

struct Printer<'a> {
    template: &'a Template,
    digits: &'a [u8],
    sign: char,
    spaces: usize,
    out: String,
    /// The next digit, which place of the template it stands in, and how many places there are.
    next: usize,
    place: usize,
    places: isize,
    sign_written: bool,
    /// The last item wrote a digit.
    inside: bool,
    /// In fill mode: the last digit that is not a trailing zero, or the point.
    last_relevant: Option<usize>,
    anchored: Option<AnchoredSign>,
    brackets: bool,
    zero_start: usize,
    /// Items beyond the number's digits end the text.
    ended: bool,
}

impl<'a> Printer<'a> {
    fn roman(template: &mut Template, numeral: &str) -> Result<String> {
        let items = std::mem::take(&mut template.items);
        let plain = Template { fill_mode: template.fill_mode, roman: true, ..Template::default() };
        let digits = Digits { text: numeral.to_owned(), negative: false, spaces: 0 };
        Self::run(&plain, &items, &digits, '\0')
    }

    fn number(template: &mut Template, digits: Digits) -> Result<String> {
        let items = std::mem::take(&mut template.items);
        Self::run(template, &items, &digits, if digits.negative { '-' } else { '+' })
    }

    fn run(template: &Template, items: &[Item], digits: &Digits, sign: char) -> Result<String> {
        let mut places = (template.whole + template.decimals) as isize - 1;
        let in_place = template.plus || template.minus;
        let sign_written = if in_place {
            template.minus
        } else {
            sign == '+' && template.fill_mode && template.anchored.is_none()
        };
        let anchored = match template.anchored {
            Some(AnchoredSign::Before) if !in_place && template.whole == template.digits_before_sign => {
                Some(AnchoredSign::After)
            }
            anchored => anchored,
        };
        if !sign_written && digits.spaces == 0 {
            places += 1;
        }
        let mut printer = Printer {
            template,
            digits: digits.text.as_bytes(),
            sign,
            spaces: digits.spaces,
            out: String::new(),
            next: 0,
            place: 0,
            places,
            sign_written,
            inside: false,
            last_relevant: (template.fill_mode && template.point)
                .then(|| last_relevant(template, digits))
                .flatten(),
            anchored,
            brackets: template.brackets && (sign == '-' || !template.fill_mode),
            zero_start: template.zero_start.saturating_sub(1),
            ended: false,
        };
        for item in items {
            printer.item(*item)?;
            if printer.ended {
                break;
            }
        }
        Ok(printer.out)
    }

    fn item(&mut self, item: Item) -> Result<()> {
        let fill_mode = self.template.fill_mode;
        let blank = |out: &mut String| {
            if !fill_mode {
                out.push(' ');
            }
        };
        match item {
            Item::Digit { .. } | Item::Point if self.template.roman => {}
            Item::Digit { zero } => self.digit(zero),
            Item::Point => self.digit(false),
            Item::Comma | Item::Group if self.inside => self.out.push(','),
            Item::Comma | Item::Group => blank(&mut self.out),
            Item::Currency => self.out.push(' '),
            Item::Roman { lower } => {
                let numeral = std::str::from_utf8(self.digits).unwrap_or_default();
                let numeral = if lower { numeral.to_lowercase() } else { numeral.to_owned() };
                self.out.push_str(&if fill_mode { numeral } else { format!("{numeral:>15}") });
            }
            Item::Ordinal { lower } => {
                let hashes = self.digits.first() == Some(&b'#');
                if !(self.template.roman || hashes || self.sign == '-' || self.template.point) {
                    let digits = std::str::from_utf8(self.digits).unwrap_or_default();
                    if !digits.ends_with(|last: char| last.is_ascii_digit()) {
                        return Err(SqlError::new(
                            SqlState::INVALID_TEXT_REPRESENTATION,
                            format!("\"{digits}\" is not a number"),
                        ));
                    }
                    self.out.push_str(&ordinal(digits, if lower { "th" } else { "TH" }));
                }
            }
            Item::Minus if self.sign == '-' => self.out.push('-'),
            Item::Plus if self.sign == '+' => self.out.push('+'),
            Item::Minus | Item::Plus => blank(&mut self.out),
            Item::Either if self.sign == '\0' => self.ended = true,
            Item::Either => self.out.push(self.sign),
            Item::Mark => {}
            Item::Literal(character) => self.out.push(character),
        }
        Ok(())
    }

    /// A zero before the point that a blank stands for: `0.1` as ` .1`.
    fn is_leading_zero(&self) -> bool {
        !self.template.zero
            && self.next == 0
            && self.digits.first() == Some(&b'0')
            && self.template.decimals != 0
    }

    fn ends_with_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.digits[last] == b'.')
    }

    fn push_anchored(&mut self) {
        self.out.push(if self.sign == '-' { '-' } else { '+' });
    }

    fn write_sign(&mut self) {
        if self.anchored == Some(AnchoredSign::Before) {
            self.push_anchored();
            self.sign_written = true;
        } else if self.anchored.is_some() {
        } else if self.brackets {
            self.out.push(if self.sign == '+' { ' ' } else { '<' });
            self.sign_written = true;
        } else {
            match self.sign {
                '-' => self.out.push('-'),
                _ if !self.template.fill_mode => self.out.push(' '),
                _ => {}
            }
            self.sign_written = true;
        }
    }

    fn digit(&mut self, zero: bool) {
        self.inside = false;
        let reached = self.place >= self.spaces || (self.template.zero && self.zero_start == self.place);
        if !self.sign_written && reached && (!self.is_leading_zero() || self.ends_with_point()) {
            self.write_sign();
        }
        if self.place < self.spaces {
            if self.template.zero && self.zero_start <= self.place {
                self.out.push('0');
                self.inside = true;
            } else if !self.template.fill_mode {
                self.out.push(' ');
            }
        } else {
            self.own_digit(zero);
        }
        let mut end = self.places + isize::from(self.spaces > 0) + isize::from(self.template.point);
        if self.last_relevant == Some(self.next) {
            end = self.place as isize;
        }
        if self.place as isize + 1 == end && !self.ended {
            if self.sign_written && self.brackets {
                self.out.push(if self.sign == '+' { ' ' } else { '>' });
            } else if self.anchored == Some(AnchoredSign::After) {
                self.push_anchored();
            }
        }
        self.place += 1;
    }

    fn own_digit(&mut self, zero: bool) {
        match self.digits.get(self.next) {
            Some(b'.') => self.out.push('.'),
            _ if !zero && self.last_relevant.is_some_and(|last| self.next > last) => {}
            _ if self.is_leading_zero() => {
                if !self.template.fill_mode {
                    self.out.push(' ');
                } else if self.ends_with_point() {
                    self.out.push('0');
                }
            }
            Some(digit) => {
                self.out.push(char::from(*digit));
                self.inside = true;
            }
            None => self.ended = true,
        }
        if self.next < self.digits.len() {
            self.next += 1;
        }
    }
}

/// The last decimal that is not a trailing zero, nor kept by a `0` of the template.
fn last_relevant(template: &Template, digits: &Digits) -> Option<usize> {
    let text = digits.text.as_bytes();
    let point = text.iter().position(|byte| *byte == b'.')?;
    let last = text.iter().rposition(|byte| *byte != b'0').map_or(point, |last| last.max(point));
    if template.zero_end <= digits.spaces {
        return Some(last);
    }
    Some(last.max((text.len() - 1).min(template.zero_end - digits.spaces)))
}
