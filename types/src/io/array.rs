//! Array literals: `{1,2}`, `{{a,"b c"},{NULL,d}}`, `[2:3]={1,2}`; and the vectors `1 2 3`.

use std::sync::Arc;

use super::text_in::{is_space, text_in};
use super::text_out::text_out;
use crate::{Array, Datum, IoSettings, Oid, Result, SqlError, SqlState, SqlType};

/// PostgreSQL's MAXDIM.
pub(super) const DIMENSIONS_MAX: usize = 6;
/// PostgreSQL's MaxArraySize.
pub(super) const ELEMENTS_MAX: usize = 134_217_727;

pub(super) fn parse_array(element: SqlType, input: &str, settings: &IoSettings) -> Result<Datum> {
    let mut parser =
        Parser { input, rest: input, element, settings, lengths: Vec::new(), elements: Vec::new() };
    let declared = parser.dimensions()?;
    parser.skip_blanks();
    if !parser.rest.starts_with('{') {
        return Err(parser.malformed(if declared.is_empty() {
            "Array value must start with \"{\" or dimension information."
        } else {
            "Array contents must start with \"{\"."
        }));
    }
    // From here on messages quote the braces' part alone, as PostgreSQL's do.
    parser.input = parser.rest;
    parser.level(0)?;
    parser.skip_blanks();
    if !parser.rest.is_empty() {
        return Err(parser.malformed("Junk after closing right brace."));
    }
    parser.input = input;
    let Parser { lengths, elements, .. } = &parser;
    let mut dimensions: Vec<(usize, i32)> = if elements.is_empty() {
        Vec::new()
    } else {
        lengths.iter().map(|length| (length.unwrap_or(0), 1)).collect()
    };
    if !declared.is_empty() {
        if declared.len() != dimensions.len()
            || declared.iter().zip(&dimensions).any(|((length, _), (found, _))| length != found)
        {
            return Err(parser.malformed("Specified array dimensions do not match array contents."));
        }
        dimensions = declared;
    }
    Ok(Datum::Array(Arc::new(Array { element_type: element.oid, dimensions, elements: parser.elements })))
}

struct Parser<'a> {
    input: &'a str,
    rest: &'a str,
    element: SqlType,
    settings: &'a IoSettings,
    /// Elements per dimension, as the first sub-array of each level has them; `None` while that one is being read.
    lengths: Vec<Option<usize>>,
    elements: Vec<Datum>,
}

impl Parser<'_> {
    fn malformed(&self, detail: &str) -> SqlError {
        SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{}\"", self.input),
        )
        .with_detail(detail)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    /// `[l:u][l:u]=`, as (length, lower bound).
    fn dimensions(&mut self) -> Result<Vec<(usize, i32)>> {
        let mut dimensions = Vec::new();
        loop {
            self.skip_blanks();
            let Some(rest) = self.rest.strip_prefix('[') else { break };
            if dimensions.len() == DIMENSIONS_MAX {
                return Err(too_many_dimensions(dimensions.len() + 1));
            }
            let (bounds, rest) = rest
                .split_once(']')
                .ok_or_else(|| self.malformed("Missing \"]\" after array dimensions."))?;
            let invalid = || self.malformed("\"[\" must introduce explicitly-specified array dimensions.");
            let (lower, upper) = match bounds.split_once(':') {
                Some((lower, upper)) => (lower.parse().map_err(|_| invalid())?, upper),
                None => (1i32, bounds),
            };
            let upper: i32 = upper.parse().map_err(|_| invalid())?;
            if upper < lower {
                return Err(SqlError::new(
                    SqlState::ARRAY_SUBSCRIPT_ERROR,
                    "upper bound cannot be less than lower bound",
                ));
            }
            let length = (i64::from(upper) - i64::from(lower) + 1) as usize;
            if length > ELEMENTS_MAX {
                return Err(too_large());
            }
            dimensions.push((length, lower));
            Array::check_bounds(&dimensions)?;
            self.rest = rest;
        }
        if !dimensions.is_empty() {
            self.rest = self
                .rest
                .strip_prefix('=')
                .ok_or_else(|| self.malformed("Missing \"=\" after array dimensions."))?;
        }
        Ok(dimensions)
    }

    /// One brace-enclosed list; `rest` begins with its left brace. Returns whether it held anything.
    fn level(&mut self, depth: usize) -> Result<()> {
        if depth >= DIMENSIONS_MAX {
            return Err(too_many_dimensions(depth + 1));
        }
        self.rest = &self.rest[1..];
        let first_of_level = self.lengths.len() == depth;
        if first_of_level {
            self.lengths.push(None);
        }
        let mismatch = "Multidimensional arrays must have sub-arrays with matching dimensions.";
        let mut count = 0;
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            if depth > 0 {
                // Emptiness is written {} whatever the dimensions.
                return Err(self.malformed("Unexpected \"}\" character."));
            }
            self.lengths[depth] = Some(0);
            return Ok(());
        }
        loop {
            self.skip_blanks();
            if self.rest.starts_with('{') {
                if self.lengths.len() == depth + 1 && count > 0 {
                    return Err(self.malformed(mismatch));
                }
                if self.lengths.len() == depth + 1 && self.lengths[depth].is_some() {
                    return Err(self.malformed(mismatch));
                }
                self.level(depth + 1)?;
            } else {
                if self.lengths.len() > depth + 1 {
                    return Err(self.malformed(mismatch));
                }
                let element = self.item()?;
                if self.elements.len() >= ELEMENTS_MAX {
                    return Err(too_large());
                }
                self.elements.push(element);
            }
            count += 1;
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                break;
            } else if self.rest.is_empty() {
                return Err(self.malformed("Unexpected end of input."));
            } else {
                return Err(self.malformed("Unexpected array element."));
            }
        }
        match self.lengths[depth] {
            None => self.lengths[depth] = Some(count),
            Some(length) if length == count => {}
            Some(_) => return Err(self.malformed(mismatch)),
        }
        Ok(())
    }

    /// One element, quoted or not.
    fn item(&mut self) -> Result<Datum> {
        let mut text = String::new();
        if let Some(rest) = self.rest.strip_prefix('"') {
            let mut characters = rest.char_indices();
            loop {
                match characters.next() {
                    None => return Err(self.malformed("Unexpected end of input.")),
                    Some((index, '"')) => {
                        self.rest = &rest[index + 1..];
                        break;
                    }
                    Some((_, '\\')) => match characters.next() {
                        None => return Err(self.malformed("Unexpected end of input.")),
                        Some((_, escaped)) => text.push(escaped),
                    },
                    Some((_, c)) => text.push(c),
                }
            }
            return text_in(self.element, &text, self.settings);
        }
        let rest = self.rest;
        let mut characters = rest.char_indices();
        // Bytes of `text` up to the last character that is not an unescaped blank.
        let mut significant = 0;
        let mut escaped_any = false;
        loop {
            match characters.next() {
                None => return Err(self.malformed("Unexpected end of input.")),
                Some((index, ',' | '}')) => {
                    self.rest = &rest[index..];
                    break;
                }
                Some((_, '{')) => return Err(self.malformed("Unexpected \"{\" character.")),
                Some((_, '"')) => return Err(self.malformed("Unexpected array element.")),
                Some((_, '\\')) => match characters.next() {
                    None => return Err(self.malformed("Unexpected end of input.")),
                    Some((_, escaped)) => {
                        text.push(escaped);
                        significant = text.len();
                        escaped_any = true;
                    }
                },
                Some((_, c)) => {
                    text.push(c);
                    if !is_space(c) {
                        significant = text.len();
                    }
                }
            }
        }
        text.truncate(significant);
        if text.is_empty() {
            let found = self.rest.chars().next().unwrap_or('}');
            return Err(self.malformed(&format!("Unexpected \"{found}\" character.")));
        }
        if !escaped_any && text.eq_ignore_ascii_case("null") {
            return Ok(Datum::Null);
        }
        text_in(self.element, &text, self.settings)
    }
}

pub(super) fn too_many_dimensions(count: usize) -> SqlError {
    SqlError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})"),
    )
}

pub(super) fn too_large() -> SqlError {
    SqlError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"),
    )
}

/// int2vector and oidvector: numbers between blanks; the lower bound is 0.
pub(super) fn parse_vector(element: SqlType, input: &str) -> Result<Datum> {
    let settings = IoSettings::default();
    let elements =
        input.split(is_space).filter(|word| !word.is_empty()).map(|word| text_in(element, word, &settings));
    let elements = elements.collect::<Result<Vec<_>>>()?;
    Ok(Datum::Array(Arc::new(Array {
        element_type: element.oid,
        dimensions: vec![(elements.len(), 0)],
        elements,
    })))
}

pub(super) fn format_array(array: &Array, sql_type: SqlType, settings: &IoSettings, out: &mut String) {
    let element = SqlType::new(array.element_type, -1);
    if matches!(sql_type.oid, Oid::INT2VECTOR | Oid::OIDVECTOR) {
        for (index, value) in array.elements.iter().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            text_out(value, element, settings, out);
        }
        return;
    }
    if array.elements.is_empty() || array.dimensions.is_empty() {
        out.push_str("{}");
        return;
    }
    if array.dimensions.iter().any(|(_, bound)| *bound != 1) {
        for (length, bound) in &array.dimensions {
            out.push_str(&format!("[{bound}:{}]", i64::from(*bound) + *length as i64 - 1));
        }
        out.push('=');
    }
    let mut elements = array.elements.iter();
    format_level(&array.dimensions, &mut elements, element, settings, out);
}

fn format_level<'a>(
    dimensions: &[(usize, i32)],
    elements: &mut impl Iterator<Item = &'a Datum>,
    element: SqlType,
    settings: &IoSettings,
    out: &mut String,
) {
    let Some(((length, _), inner)) = dimensions.split_first() else { return };
    out.push('{');
    for index in 0..*length {
        if index > 0 {
            out.push(',');
        }
        if inner.is_empty() {
            match elements.next() {
                None | Some(Datum::Null) => out.push_str("NULL"),
                Some(value) => push_element(value, element, settings, out),
            }
        } else {
            format_level(inner, elements, element, settings, out);
        }
    }
    out.push('}');
}

fn push_element(value: &Datum, element: SqlType, settings: &IoSettings, out: &mut String) {
    let start = out.len();
    text_out(value, element, settings, out);
    let text = &out[start..];
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|c| matches!(c, '"' | '\\' | '{' | '}' | ',') || is_space(c));
    if plain {
        return;
    }
    let text = out.split_off(start);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
