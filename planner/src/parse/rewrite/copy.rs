//! Options of COPY: the old notation as the new one, and errors about options in PostgreSQL's words.

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::{is_word, keyword, query::closing, replaced};
use crate::parse::Source;

const OPTIONS: &[&str] = &[
    "format",
    "freeze",
    "delimiter",
    "null",
    "header",
    "quote",
    "escape",
    "force_quote",
    "force_not_null",
    "force_null",
    "encoding",
];

/// Where the options begin: after the STDIN, STDOUT or file that stands after FROM or TO.
fn options_start(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(1) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if depth == 0 && matches!(keyword(Some(token)), Keyword::FROM | Keyword::TO) => {
                return Some(at + 2);
            }
            _ => {}
        }
    }
    None
}

/// Refuses unknown options and those with values that no file could have.
pub(in crate::parse) fn check(tokens: &[TokenWithSpan], source: &Source) -> Result<()> {
    let Some(mut at) = options_start(tokens) else { return Ok(()) };
    if keyword(tokens.get(at)) == Keyword::WITH {
        at += 1;
    }
    if tokens.get(at).is_none_or(|token| token.token != Token::LParen) {
        return Ok(());
    }
    let Some(close) = closing(tokens, at) else { return Ok(()) };
    let mut depth = 0;
    let mut is_name = false;
    for (position, token) in tokens.iter().enumerate().take(close).skip(at) {
        match &token.token {
            Token::LParen => {
                depth += 1;
                is_name = depth == 1;
                continue;
            }
            Token::RParen => depth -= 1,
            Token::Comma if depth == 1 => {
                is_name = true;
                continue;
            }
            Token::Word(word) if is_name && depth == 1 => {
                let name = word.value.to_lowercase();
                if !OPTIONS.contains(&name.as_str()) {
                    let error =
                        SqlError::new(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized"));
                    return Err(match source.position(token.span.start) {
                        Some(place) => error.at(place),
                        None => error,
                    });
                }
                if let ("delimiter" | "quote" | "escape", Some(Token::SingleQuotedString(value))) =
                    (name.as_str(), tokens.get(position + 1).map(|token| &token.token))
                    && value.len() != 1
                {
                    return Err(SqlError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("COPY {name} must be a single one-byte character"),
                    ));
                }
            }
            _ => {}
        }
        is_name = false;
    }
    Ok(())
}

/// `CSV HEADER DELIMITER AS ';'` as `(FORMAT csv, HEADER, DELIMITER ';')`.
pub(super) fn legacy_options(tokens: &mut Vec<TokenWithSpan>) {
    let Some(start) = options_start(tokens) else { return };
    let mut at = start;
    if keyword(tokens.get(at)) == Keyword::WITH {
        at += 1;
    }
    if at >= tokens.len() || tokens[at].token == Token::LParen {
        return;
    }
    let here = tokens[start - 1].clone();
    let word = |text: &str| replaced(&here, Token::make_word(text, None));
    let mut list: Vec<Vec<TokenWithSpan>> = Vec::new();
    while at < tokens.len() {
        let value_at = |at: usize| if keyword(tokens.get(at)) == Keyword::AS { at + 1 } else { at };
        let valued = [
            (Keyword::DELIMITER, "DELIMITER"),
            (Keyword::NULL, "NULL"),
            (Keyword::QUOTE, "QUOTE"),
            (Keyword::ESCAPE, "ESCAPE"),
            (Keyword::ENCODING, "ENCODING"),
        ];
        let found = valued.iter().find(|(known, _)| keyword(tokens.get(at)) == *known);
        if let Some((_, name)) = found {
            let place = value_at(at + 1);
            let Some(value) = tokens.get(place) else { return };
            list.push(vec![replaced(&tokens[at], Token::make_keyword(name)), value.clone()]);
            at = place + 1;
        } else if is_word(tokens.get(at), "csv") || is_word(tokens.get(at), "binary") {
            let format = if is_word(tokens.get(at), "csv") { "csv" } else { "binary" };
            list.push(vec![replaced(&here, Token::make_keyword("FORMAT")), word(format)]);
            at += 1;
        } else if matches!(keyword(tokens.get(at)), Keyword::HEADER | Keyword::FREEZE) {
            list.push(vec![tokens[at].clone()]);
            at += 1;
        } else {
            // The grammar says what is wrong with it.
            return;
        }
    }
    let mut options = vec![replaced(&here, Token::LParen)];
    for (position, option) in list.into_iter().enumerate() {
        if position > 0 {
            options.push(replaced(&here, Token::Comma));
        }
        options.extend(option);
    }
    options.push(replaced(&here, Token::RParen));
    tokens.truncate(start);
    tokens.extend(options);
}
