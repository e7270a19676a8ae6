//! Errors of the tokenizer and the grammar in PostgreSQL's words.

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::{
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, TokenizerError},
};

use super::{Source, nesting::too_deep};

/// `syntax error at or near "x"`.
pub(super) fn near(token: &TokenWithSpan, source: &Source) -> SqlError {
    if token.token == Token::EOF || token.token == Token::SemiColon && token.span.start.line == 0 {
        return at_end(source);
    }
    let error = SqlError::new(
        SqlState::SYNTAX_ERROR,
        format!("syntax error at or near \"{}\"", source.span(token.span)),
    );
    match source.position(token.span.start) {
        Some(position) => error.at(position),
        None => at_end(source),
    }
}

pub(super) fn at_end(source: &Source) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input")
        .at(source.text().chars().count() + 1)
}

/// Refuses what the grammar lets pass: INSERT without INTO, DELETE without FROM, reserved words in the place of a table, and strings in the
/// place of an alias.
pub(super) fn check_words(tokens: &[TokenWithSpan], source: &Source) -> Result<()> {
    let word = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
        _ => None,
    };
    let second = match tokens.first().and_then(word).as_deref() {
        Some("insert") => Some("into"),
        Some("delete") => Some("from"),
        _ => None,
    };
    if second.is_some() {
        match tokens.get(1) {
            None => return Err(at_end(source)),
            Some(token) if word(token).as_deref() != second => return Err(near(token, source)),
            Some(_) => {}
        }
    }
    // Strings follow AS in the options of COPY and in definitions of functions.
    let after_as =
        !matches!(tokens.first().and_then(word).as_deref(), Some("create" | "copy" | "comment" | "do"));
    let mut locks = false;
    for pair in tokens.windows(2) {
        let is_lock = std::mem::replace(&mut locks, word(&pair[0]).as_deref() == Some("for"));
        if matches!(pair[1].token, Token::SingleQuotedString(_)) {
            let refused = match &pair[0].token {
                Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => true,
                Token::Number(..) | Token::RBracket => true,
                Token::Word(before) => {
                    after_as && before.quote_style.is_none() && before.value.eq_ignore_ascii_case("as")
                }
                _ => false,
            };
            if refused {
                return Err(near(&pair[1], source));
            }
        }
        let (Some(before), Some(after)) = (word(&pair[0]), word(&pair[1])) else { continue };
        let clause = matches!(before.as_str(), "from" | "join" | "into" | "update") && !is_lock;
        if clause && NEVER_TABLES.contains(&after.as_str()) {
            return Err(near(&pair[1], source));
        }
    }
    Ok(())
}

/// Reserved words that begin no table expression.
const NEVER_TABLES: &[&str] = &[
    "where",
    "group",
    "having",
    "order",
    "limit",
    "offset",
    "union",
    "intersect",
    "except",
    "join",
    "on",
    "using",
    "from",
    "and",
    "or",
    "as",
    "when",
    "then",
    "else",
    "end",
    "returning",
    "into",
];

pub(super) fn translate(error: ParserError, parser: &Parser<'_>, source: &Source) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    match location_in(&message).and_then(|location| token_at(parser, location)) {
        Some(token) => near(&token, source),
        None => near(parser.peek_token_ref(), source),
    }
}

/// The place at the end of the grammar's message: `… at Line: 1, Column: 8`.
fn location_in(message: &str) -> Option<Location> {
    let (_, tail) = message.rsplit_once(" at Line: ")?;
    let (line, column) = tail.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
}

fn token_at(parser: &Parser<'_>, location: Location) -> Option<TokenWithSpan> {
    let mut index = 0;
    loop {
        let token = parser.token_at(index);
        if token.token == Token::EOF {
            return None;
        }
        if token.span.start == location {
            return Some(token.clone());
        }
        index += 1;
    }
}

/// An unterminated string, comment or identifier, or a character that begins no token.
pub(super) fn unreadable(error: &TokenizerError, source: &Source) -> SqlError {
    let start = if error.message.contains("multi-line comment") {
        source.text().rfind("/*")
    } else if error.message.contains("Unterminated dollar") {
        source.text().rfind("$$")
    } else {
        None
    };
    if let Some(start) = start {
        let what =
            if source.text()[start..].starts_with('/') { "/* comment" } else { "dollar-quoted string" };
        let message = format!("unterminated {what} at or near \"{}\"", &source.text()[start..]);
        return SqlError::new(SqlState::SYNTAX_ERROR, message).at(source.text()[..start].chars().count() + 1);
    }
    let rest = Span::new(error.location, Location { line: u64::MAX, column: 1 });
    let rest = source.span(rest);
    let what = if error.message.contains("multi-line comment") {
        "unterminated /* comment"
    } else if error.message.contains("Unterminated dollar") {
        "unterminated dollar-quoted string"
    } else if error.message.contains("close delimiter") {
        "unterminated quoted identifier"
    } else if error.message.contains("Unterminated") {
        "unterminated quoted string"
    } else {
        "syntax error"
    };
    let error_out = SqlError::new(SqlState::SYNTAX_ERROR, format!("{what} at or near \"{rest}\""));
    match source.position(error.location) {
        Some(position) => error_out.at(position),
        None => error_out,
    }
}
