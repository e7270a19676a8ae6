//! json: syntax only; the text is kept as given.
//!
//! The scanner keeps its own stack of open brackets, so that deep nesting costs heap, bounded, and no call stack.

use crate::{Result, SqlError, SqlState};

/// Brackets open at once.
const DEPTH_MAX: usize = 6000;

/// Checks that `input` is one JSON value.
pub fn validate_json(input: &str) -> Result<()> {
    Scanner { input, position: 0, open: Vec::new() }.run()
}

struct Scanner<'a> {
    input: &'a str,
    position: usize,
    open: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    ValueOrClose,
    KeyOrClose,
    Key,
    Colon,
    CommaOrClose,
    End,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<()> {
        let mut expect = Expect::Value;
        loop {
            self.skip_blanks();
            let Some(&byte) = self.input.as_bytes().get(self.position) else {
                return if expect == Expect::End {
                    Ok(())
                } else {
                    Err(self.error("The input string ended unexpectedly.".into()))
                };
            };
            let start = self.position;
            let is_value = matches!(expect, Expect::Value | Expect::ValueOrClose);
            expect = match byte {
                b'{' | b'[' if is_value => {
                    if self.open.len() == DEPTH_MAX {
                        return Err(SqlError::new(
                            SqlState::STATEMENT_TOO_COMPLEX,
                            "json is nested too deeply",
                        ));
                    }
                    self.open.push(byte);
                    self.position += 1;
                    if byte == b'{' { Expect::KeyOrClose } else { Expect::ValueOrClose }
                }
                b']' if self.open.last() == Some(&b'[')
                    && matches!(expect, Expect::ValueOrClose | Expect::CommaOrClose) =>
                {
                    self.close()
                }
                b'}' if self.open.last() == Some(&b'{')
                    && matches!(expect, Expect::KeyOrClose | Expect::CommaOrClose) =>
                {
                    self.close()
                }
                b',' if expect == Expect::CommaOrClose => {
                    self.position += 1;
                    if self.open.last() == Some(&b'{') { Expect::Key } else { Expect::Value }
                }
                b':' if expect == Expect::Colon => {
                    self.position += 1;
                    Expect::Value
                }
                b'"' if is_value => {
                    self.string()?;
                    self.after_value()
                }
                b'"' if matches!(expect, Expect::Key | Expect::KeyOrClose) => {
                    self.string()?;
                    Expect::Colon
                }
                b'-' | b'0'..=b'9' if is_value => {
                    self.number()?;
                    self.after_value()
                }
                b'a'..=b'z' | b'A'..=b'Z' => {
                    let word = self.word();
                    if !matches!(word, "true" | "false" | "null") {
                        return Err(self.error(format!("Token \"{word}\" is invalid.")));
                    }
                    if !is_value {
                        return Err(self.unexpected(expect, start));
                    }
                    self.position += word.len();
                    self.after_value()
                }
                _ => return Err(self.unexpected(expect, start)),
            };
        }
    }

    fn close(&mut self) -> Expect {
        self.open.pop();
        self.position += 1;
        self.after_value()
    }

    fn after_value(&self) -> Expect {
        if self.open.is_empty() { Expect::End } else { Expect::CommaOrClose }
    }

    fn skip_blanks(&mut self) {
        let rest = &self.input.as_bytes()[self.position..];
        self.position += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn word(&self) -> &str {
        let rest = &self.input[self.position..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    }

    fn string(&mut self) -> Result<()> {
        let bytes = self.input.as_bytes();
        let mut at = self.position + 1;
        loop {
            match bytes.get(at) {
                None => {
                    return Err(self.error(format!("Token \"{}\" is invalid.", &self.input[self.position..])));
                }
                Some(b'"') => {
                    self.position = at + 1;
                    return Ok(());
                }
                Some(b'\\') => match bytes.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                    Some(b'u') => {
                        let digits = bytes.get(at + 2..at + 6);
                        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                            return Err(
                                self.error("\"\\u\" must be followed by four hexadecimal digits.".into())
                            );
                        }
                        at += 6;
                    }
                    Some(_) => {
                        let escaped = self.input[at + 1..].chars().next().unwrap_or('?');
                        return Err(self.error(format!("Escape sequence \"\\{escaped}\" is invalid.")));
                    }
                    None => {
                        return Err(
                            self.error(format!("Token \"{}\" is invalid.", &self.input[self.position..]))
                        );
                    }
                },
                Some(byte @ 0..=0x1f) => {
                    return Err(self.error(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
                Some(_) => at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let rest = &self.input[self.position..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')))
            .unwrap_or(rest.len());
        let token = &rest[..end];
        if !is_number(token) {
            return Err(self.error(format!("Token \"{token}\" is invalid.")));
        }
        self.position += end;
        Ok(())
    }

    fn unexpected(&self, expect: Expect, at: usize) -> SqlError {
        let rest = &self.input[at..];
        let length = match rest.as_bytes().first() {
            Some(b'"') => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'-' => rest
                .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-')))
                .unwrap_or(rest.len()),
            _ => rest.chars().next().map_or(0, char::len_utf8),
        };
        let token = &rest[..length];
        if !matches!(token.as_bytes().first(), Some(b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':'))
            && !token.starts_with(|c: char| c.is_alphanumeric() || c == '-')
        {
            return self.error(format!("Token \"{token}\" is invalid."));
        }
        let in_object = self.open.last() == Some(&b'{');
        self.error(match expect {
            Expect::Value => format!("Expected JSON value, but found \"{token}\"."),
            Expect::ValueOrClose => format!("Expected array element or \"]\", but found \"{token}\"."),
            Expect::KeyOrClose => format!("Expected string or \"}}\", but found \"{token}\"."),
            Expect::Key => format!("Expected string, but found \"{token}\"."),
            Expect::Colon => format!("Expected \":\", but found \"{token}\"."),
            Expect::CommaOrClose if in_object => format!("Expected \",\" or \"}}\", but found \"{token}\"."),
            Expect::CommaOrClose => format!("Expected \",\" or \"]\", but found \"{token}\"."),
            Expect::End => format!("Expected end of input, but found \"{token}\"."),
        })
    }

    fn error(&self, detail: String) -> SqlError {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(detail)
    }
}

fn is_number(token: &str) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = token.strip_prefix('-').unwrap_or(token).as_bytes();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let [b'.', fraction @ ..] = rest {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', unsigned @ ..] => unsigned,
            _ => exponent,
        };
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty()
}
