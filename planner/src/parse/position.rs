//! From the tokenizer's line and column to the character position that clients are sent.

use std::sync::{Arc, OnceLock};

use basalt_types::SqlError;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// A query string, cheap to share.
#[derive(Clone, Debug)]
pub struct Source(Arc<Text>);

#[derive(Debug)]
struct Text {
    text: Box<str>,
    /// Made when a place is first asked for.
    places: OnceLock<Places>,
}

/// Characters from one mark to the next.
const MARK_CHARACTERS: usize = 128;

/// Where lines and characters begin: a string of many statements asks for a place in each, and must not be read from its
/// beginning every time.
#[derive(Debug)]
struct Places {
    /// The character that each line begins with, from 0.
    lines: Vec<usize>,
    /// The byte offset of every [`MARK_CHARACTERS`]th character.
    marks: Vec<usize>,
}

impl Places {
    fn new(text: &str) -> Self {
        let (mut lines, mut marks) = (vec![0], Vec::new());
        for (character, (byte, value)) in text.char_indices().enumerate() {
            if character % MARK_CHARACTERS == 0 {
                marks.push(byte);
            }
            if value == '\n' {
                lines.push(character + 1);
            }
        }
        Self { lines, marks }
    }
}

impl Source {
    pub fn new(text: &str) -> Self {
        Self(Arc::new(Text { text: text.into(), places: OnceLock::new() }))
    }

    pub fn text(&self) -> &str {
        &self.0.text
    }

    fn places(&self) -> &Places {
        self.0.places.get_or_init(|| Places::new(self.text()))
    }

    /// The byte offset of a location; the end of the text when it lies outside.
    fn byte(&self, location: Location) -> usize {
        let places = self.places();
        let number = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = places.lines.get(number(location.line));
        let character = line.map_or(usize::MAX, |line| line.saturating_add(number(location.column)));
        let Some(mark) = places.marks.get(character / MARK_CHARACTERS) else { return self.text().len() };
        let after = self.text()[*mark..].char_indices().nth(character % MARK_CHARACTERS);
        after.map_or(self.text().len(), |(at, _)| mark + at)
    }

    /// The one-based position of the character at a byte offset.
    fn position_of(&self, byte: usize) -> usize {
        let marks = &self.places().marks;
        let passed = marks.partition_point(|mark| *mark <= byte).saturating_sub(1);
        let mark = marks.get(passed).copied().unwrap_or(0);
        passed * MARK_CHARACTERS + self.text()[mark..byte].chars().count() + 1
    }

    /// One-based character position; `None` for a location that no token has.
    pub fn position(&self, location: Location) -> Option<usize> {
        (location.line > 0).then(|| self.position_of(self.byte(location)))
    }

    /// Where `needle` last stands before a location.
    pub fn last_before(&self, location: Location, needle: &str) -> Option<usize> {
        let before = &self.text()[..self.byte(location)];
        before.rfind(needle).map(|at| self.position_of(at))
    }

    /// Where the cast of an operand stands: its `::`, or the CAST before it.
    pub fn cast_of(&self, operand: Span) -> Option<usize> {
        let end = self.byte(operand.end);
        let rest = self.text()[end..].trim_start_matches([' ', ')']);
        if rest.starts_with("::") {
            return Some(self.position_of(self.text().len() - rest.len()));
        }
        let before = self.text()[..self.byte(operand.start)].to_ascii_lowercase();
        before.rfind("cast").map(|at| self.position_of(at))
    }

    /// The text from a location on.
    pub(super) fn from(&self, location: Location) -> &str {
        &self.text()[self.byte(location)..]
    }

    /// The text of a span.
    pub fn span(&self, span: Span) -> &str {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        self.text().get(start..end.max(start)).unwrap_or("")
    }

    /// The text from the first to the last of the tokens.
    pub fn slice(&self, tokens: &[TokenWithSpan]) -> &str {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => self.span(Span::new(first.span.start, last.span.end)),
            _ => "",
        }
    }

    /// `syntax error at or near` what follows a span.
    pub fn syntax_error_after(&self, span: Span) -> SqlError {
        let tokens = Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, self.text())
            .tokenize_with_location()
            .unwrap_or_default();
        let next = tokens.into_iter().find(|token| {
            token.span.start >= span.end && !matches!(token.token, Token::Whitespace(_) | Token::EOF)
        });
        match next {
            Some(token) => super::syntax_error::near(&token, self),
            None => super::syntax_error::at_end(self),
        }
    }

    /// Where the first operator after `location` stands (syntax trees do not keep it). For error messages only.
    pub fn operator_after(&self, location: Location) -> Option<usize> {
        let tokens = Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, self.text())
            .tokenize_with_location()
            .ok()?;
        let operator = tokens.into_iter().find(|token| {
            token.span.start >= location
                && !matches!(
                    token.token,
                    Token::Whitespace(_)
                        | Token::RParen
                        | Token::RBracket
                        | Token::Number(..)
                        | Token::SingleQuotedString(_)
                        | Token::EOF
                )
        })?;
        self.position(operator.span.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_a_reading_from_the_beginning() {
        let text = format!("{}\nä ö\n\n{}\n", "x".repeat(300), "né ".repeat(200));
        let source = Source::new(&text);
        let (mut line, mut column) = (1, 1);
        for (character, (byte, value)) in text.char_indices().enumerate() {
            let location = Location { line, column };
            assert_eq!(source.byte(location), byte, "{location:?}");
            assert_eq!(source.position(location), Some(character + 1), "{location:?}");
            (line, column) = if value == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        for beyond in
            [Location { line, column }, Location { line: 1, column: 5_000 }, Location { line: 99, column: 1 }]
        {
            assert_eq!(source.byte(beyond), text.len(), "{beyond:?}");
            assert_eq!(source.position(beyond), Some(text.chars().count() + 1), "{beyond:?}");
        }
        assert_eq!(Source::new("").position(Location { line: 1, column: 1 }), Some(1));
        assert_eq!(source.position(Location { line: 0, column: 0 }), None);
    }
}
