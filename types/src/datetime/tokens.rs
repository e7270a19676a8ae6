//! Splits date and time input into fields.

/// A field of the input, in lower case where letters occur.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Digits alone.
    Number(String),
    /// Digits, a point, digits.
    Decimal(String),
    /// Digits with colons: `12:34:56.789`.
    Time(String),
    /// Three parts (or two) between `-`, `/` or `.`.
    Date(Vec<String>),
    /// A word: a month, a unit, a zone.
    Word(String),
    /// `+02`, `-02:30`: an offset, or in an interval a signed number.
    Signed(char, String),
}

/// `None` when a character cannot begin a field.
pub(super) fn tokenize(input: &str) -> Option<Vec<Token>> {
    let text = input.to_ascii_lowercase();
    let mut rest = text.as_str();
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', ',']);
        let Some(first) = rest.chars().next() else { return Some(tokens) };
        let (token, length) = match first {
            '0'..='9' | '.' => number_like(rest)?,
            '+' | '-' => {
                let after = rest[1..].trim_start_matches(' ');
                let skipped = rest.len() - after.len();
                let next = after.chars().next()?;
                if next.is_ascii_digit() || next == '.' {
                    let length = run(after, |c| c.is_ascii_digit() || c == ':' || c == '.');
                    (Token::Signed(first, after[..length].into()), skipped + length)
                } else if next.is_ascii_alphabetic() {
                    let length = run(after, |c| c.is_ascii_alphabetic());
                    (Token::Word(format!("{first}{}", &after[..length])), skipped + length)
                } else {
                    return None;
                }
            }
            'a'..='z' => {
                let letters = run(rest, |c| c.is_ascii_alphabetic());
                let next = rest[letters..].chars().next();
                // A zone's name: continent/city.
                let length = if matches!(next, Some('/' | '_')) {
                    run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+'))
                } else {
                    letters
                };
                let word = &rest[..length];
                // `jan-05-2024`
                if next == Some('-')
                    && super::words::month_number(word).is_some()
                    && rest[letters + 1..].starts_with(|c: char| c.is_ascii_digit())
                {
                    let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '-');
                    (Token::Date(rest[..length].split('-').map(String::from).collect()), length)
                } else {
                    (Token::Word(word.into()), length)
                }
            }
            '@' | '(' | ')' => (Token::Word(first.into()), 1),
            _ => return None,
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn run(text: &str, accept: impl Fn(char) -> bool) -> usize {
    text.find(|c| !accept(c)).unwrap_or(text.len())
}

fn number_like(rest: &str) -> Option<(Token, usize)> {
    let digits = run(rest, |c| c.is_ascii_digit());
    match rest[digits..].chars().next() {
        Some(':') => {
            let length = run(rest, |c| c.is_ascii_digit() || c == ':' || c == '.');
            Some((Token::Time(rest[..length].into()), length))
        }
        Some(delimiter @ ('-' | '/')) => {
            let after = &rest[digits + 1..];
            let second = if after.starts_with(|c: char| c.is_ascii_digit()) {
                run(after, |c| c.is_ascii_digit())
            } else {
                run(after, |c| c.is_ascii_alphabetic())
            };
            if second == 0 {
                return None;
            }
            let mut length = digits + 1 + second;
            if rest[length..].starts_with(delimiter) {
                length += 1;
                length += run(&rest[length..], |c| c.is_ascii_digit());
            }
            Some((Token::Date(rest[..length].split(delimiter).map(String::from).collect()), length))
        }
        Some('.') => {
            let second = digits + 1 + run(&rest[digits + 1..], |c| c.is_ascii_digit());
            if rest[second..].starts_with('.') && digits > 0 {
                let length = second + 1 + run(&rest[second + 1..], |c| c.is_ascii_digit());
                return Some((Token::Date(rest[..length].split('.').map(String::from).collect()), length));
            }
            (second > 1).then(|| (Token::Decimal(rest[..second].into()), second))
        }
        _ => (digits > 0).then(|| (Token::Number(rest[..digits].into()), digits)),
    }
}
