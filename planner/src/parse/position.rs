//! From the tokenizer's line and column to the character position that clients are sent.

use std::sync::Arc;

use basalt_types::SqlError;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// A query string, cheap to share.
#[derive(Clone, Debug)]
pub struct Source(Arc<str>);

impl Source {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The byte offset of a location; the end of the text when it lies outside.
    fn byte(&self, location: Location) -> usize {
        let mut line_start = 0;
        for _ in 1..location.line {
            match self.0[line_start..].find('\n') {
                Some(newline) => line_start += newline + 1,
                None => return self.0.len(),
            }
        }
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0[line_start..].char_indices().nth(column).map_or(self.0.len(), |(at, _)| line_start + at)
    }

    /// One-based character position; `None` for a location that no token has.
    pub fn position(&self, location: Location) -> Option<usize> {
        (location.line > 0).then(|| self.0[..self.byte(location)].chars().count() + 1)
    }

    /// Where `needle` last stands before a location.
    pub fn last_before(&self, location: Location, needle: &str) -> Option<usize> {
        let before = &self.0[..self.byte(location)];
        before.rfind(needle).map(|at| before[..at].chars().count() + 1)
    }

    /// Where the cast of an operand stands: its `::`, or the CAST before it.
    pub fn cast_of(&self, operand: Span) -> Option<usize> {
        let end = self.byte(operand.end);
        let rest = self.0[end..].trim_start_matches([' ', ')']);
        if rest.starts_with("::") {
            let at = self.0.len() - rest.len();
            return Some(self.0[..at].chars().count() + 1);
        }
        let before = self.0[..self.byte(operand.start)].to_ascii_lowercase();
        before.rfind("cast").map(|at| before[..at].chars().count() + 1)
    }

    /// The text from a location on.
    pub(super) fn from(&self, location: Location) -> &str {
        &self.0[self.byte(location)..]
    }

    /// The text of a span.
    pub fn span(&self, span: Span) -> &str {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        self.0.get(start..end.max(start)).unwrap_or("")
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
        let tokens = Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, &self.0)
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
        let tokens = Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, &self.0)
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
