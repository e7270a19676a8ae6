//! Splits date, time and interval input into fields, by the look of each alone.

use super::words;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Digits, perhaps with a point.
    Number,
    /// Digits with colons.
    Time,
    /// Parts between delimiters, or a zone's name.
    Date,
    Word,
    /// A sign before a word: `-infinity`.
    SignedWord,
    /// A sign before digits: an offset, or in an interval a number.
    Signed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub kind: Kind,
    /// Letters in lower case.
    pub text: String,
}

/// Fields of one input, and their characters together.
const FIELDS_MAX: usize = 25;
const CHARACTERS_MAX: usize = 150;

/// `None` when a character cannot begin a field, or for more than a date can have.
pub(super) fn split(input: &str) -> Option<Vec<Field>> {
    let lower = input.to_ascii_lowercase();
    let mut rest = lower.as_str();
    let mut fields: Vec<Field> = Vec::new();
    let mut characters = 0;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        let Some(first) = rest.chars().next() else { return Some(fields) };
        let (kind, text, length) = match first {
            '0'..='9' => number(rest),
            '.' => {
                let length = 1 + run(&rest[1..], |c| c.is_ascii_digit());
                (Kind::Number, rest[..length].to_owned(), length)
            }
            'a'..='z' => word(rest),
            '+' | '-' => signed(rest, first)?,
            other if other.is_ascii_punctuation() => {
                rest = &rest[1..];
                continue;
            }
            _ => return None,
        };
        characters += text.len() + 1;
        if fields.len() == FIELDS_MAX || characters > CHARACTERS_MAX {
            return None;
        }
        fields.push(Field { kind, text });
        rest = &rest[length..];
    }
}

fn run(text: &str, accept: impl Fn(char) -> bool) -> usize {
    text.find(|c| !accept(c)).unwrap_or(text.len())
}

fn number(rest: &str) -> (Kind, String, usize) {
    let digits = run(rest, |c| c.is_ascii_digit());
    let after = &rest[digits..];
    let (kind, length) = match after.chars().next() {
        Some(':') => (Kind::Time, digits + run(after, |c| c.is_ascii_digit() || c == ':' || c == '.')),
        Some(delimiter @ ('-' | '/' | '.')) => {
            let second = &after[1..];
            if second.starts_with(|c: char| c.is_ascii_digit()) {
                let length = digits + 1 + run(second, |c| c.is_ascii_digit());
                // Only equal delimiters make three parts.
                if rest[length..].starts_with(delimiter) {
                    (Kind::Date, length + run(&rest[length..], |c| c.is_ascii_digit() || c == delimiter))
                } else {
                    (if delimiter == '.' { Kind::Number } else { Kind::Date }, length)
                }
            } else {
                let tail = run(second, |c| c.is_ascii_alphanumeric() || c == delimiter);
                (Kind::Date, digits + 1 + tail)
            }
        }
        _ => (Kind::Number, digits),
    };
    (kind, rest[..length].to_owned(), length)
}

/// A word goes on over delimiters when it may be a date or the name of a zone.
fn word(rest: &str) -> (Kind, String, usize) {
    let letters = run(rest, |c| c.is_ascii_alphabetic());
    let next = rest[letters..].chars().next();
    let goes_on = match next {
        Some('-' | '/' | '.') => true,
        Some(next) if next == '+' || next.is_ascii_digit() => words::special(&rest[..letters]).is_none(),
        _ => false,
    };
    if !goes_on {
        return (Kind::Word, rest[..letters].to_owned(), letters);
    }
    let length = run(rest, |c| c.is_ascii_alphanumeric() || "+-/_.:".contains(c));
    (Kind::Date, rest[..length].to_owned(), length)
}

fn signed(rest: &str, sign: char) -> Option<(Kind, String, usize)> {
    let body = rest[1..].trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let skipped = rest.len() - body.len();
    let (kind, length) = match body.chars().next()? {
        first if first.is_ascii_digit() => {
            (Kind::Signed, run(body, |c| c.is_ascii_digit() || ":.-".contains(c)))
        }
        first if first.is_ascii_alphabetic() => (Kind::SignedWord, run(body, |c| c.is_ascii_alphabetic())),
        _ => return None,
    };
    Some((kind, format!("{sign}{}", &body[..length]), skipped + length))
}
