//! `to_number`.

use basalt_types::{Numeric, Result, SqlError};

use super::digits::power_of_ten;
use super::template::{AnchoredSign, Item, Template};

struct Reader<'a> {
    template: &'a Template,
    rest: &'a str,
    sign: Option<char>,
    digits: String,
    whole: usize,
    decimals: usize,
    point: bool,
}

pub fn number(text: &str, template: &str) -> Result<Option<Numeric>> {
    if template.is_empty() {
        return Ok(None);
    }
    let template = Template::parse(template)?;
    for (name, used) in [("EEEE", template.scientific), ("RN", template.roman)] {
        if used {
            return Err(SqlError::new(
                basalt_types::SqlState::FEATURE_NOT_SUPPORTED,
                format!("\"{name}\" not supported for input"),
            ));
        }
    }
    let mut reader = Reader {
        template: &template,
        rest: text,
        sign: None,
        digits: String::new(),
        whole: 0,
        decimals: 0,
        point: false,
    };
    for item in &template.items {
        if reader.rest.is_empty() {
            break;
        }
        reader.item(*item);
    }
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    let value = Numeric::parse(&format!("{}{digits}", reader.sign.unwrap_or(' ')))?;
    let value = value.round(reader.decimals as i32)?;
    if value.abs().compare(&power_of_ten(template.whole + template.shifted)?).is_ge() && !value.is_zero() {
        return Err(SqlError::new(
            basalt_types::SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "numeric field overflow",
        ));
    }
    if template.multiplied {
        return value.div(&power_of_ten(template.shifted)?).map(Some);
    }
    Ok(Some(value))
}

impl Reader<'_> {
    fn first(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self) {
        let length = self.first().map_or(0, char::len_utf8);
        self.rest = &self.rest[length..];
    }

    /// Passes over characters that cannot be part of a number.
    fn skip_text(&mut self, count: usize) {
        for _ in 0..count {
            if self.first().is_none_or(|c| c.is_ascii_digit() || ".,+-".contains(c)) {
                return;
            }
            self.advance();
        }
    }

    fn item(&mut self, item: Item) {
        match item {
            Item::Digit { .. } => {
                self.digit(true);
                self.advance();
            }
            Item::Point => {
                self.digit(false);
                self.advance();
            }
            Item::Comma | Item::Group => {
                if !self.template.fill_mode && self.first() == Some(',') {
                    self.advance();
                }
            }
            Item::Currency => self.skip_text(1),
            Item::Ordinal { .. } => self.skip_text(2),
            Item::Minus | Item::Plus | Item::Either => match self.first() {
                Some(sign @ '-') if item != Item::Plus => self.take_sign(sign),
                Some(sign @ '+') if item != Item::Minus => self.take_sign(sign),
                _ => self.skip_text(1),
            },
            Item::Roman { .. } | Item::Mark => {}
            Item::Literal(_) => self.advance(),
        }
    }

    fn take_sign(&mut self, sign: char) {
        self.sign = Some(sign);
        self.advance();
    }

    /// Reads a digit or the point where the input stands; the caller passes over it.
    fn digit(&mut self, is_digit: bool) {
        if self.first() == Some(' ') {
            self.advance();
        }
        let read = self.whole + self.decimals;
        if self.sign.is_none() && is_digit && read == 0 {
            match self.first() {
                Some('-') => self.take_sign('-'),
                Some('<') if self.template.brackets => self.take_sign('-'),
                Some('+') => self.take_sign('+'),
                _ => {}
            }
        }
        let mut is_read = false;
        match self.first() {
            None => return,
            Some(digit) if digit.is_ascii_digit() => {
                if self.point && self.decimals == self.template.decimals {
                    return;
                }
                self.digits.push(digit);
                *(if self.point { &mut self.decimals } else { &mut self.whole }) += 1;
                is_read = true;
            }
            Some('.') if self.template.point && !self.point => {
                self.digits.push('.');
                self.point = true;
                is_read = true;
            }
            Some(_) => {}
        }
        if self.sign.is_none() && self.whole + self.decimals > 0 {
            self.trailing_sign(is_read);
        }
    }

    /// A sign behind the last digit.
    fn trailing_sign(&mut self, is_read: bool) {
        let anchored: Option<AnchoredSign> = self.template.anchored;
        if anchored.is_some() && is_read {
            let mut ahead = self.rest.chars();
            ahead.next();
            if let Some(sign @ ('-' | '+')) = ahead.next() {
                self.sign = Some(sign);
                self.advance();
            }
        } else if !is_read
            && anchored.is_none()
            && (self.template.plus || self.template.minus)
            && let Some(sign @ ('-' | '+')) = self.first()
        {
            self.sign = Some(sign);
        }
    }
}
