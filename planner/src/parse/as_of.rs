//! `AS OF SYSTEM TIME '-10s'` after a query or BEGIN: what is read is the state of a moment in the past. The clause is
//! CockroachDB's; PostgreSQL has none.

use std::sync::Arc;

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{position::Source, syntax_error};

const WORDS: [&str; 4] = ["as", "of", "system", "time"];
/// The only function that may stand for the moment: the latest one that the nearest replica can nearly always answer.
const CALL: &str = "follower_read_timestamp";
const CALL_TOKENS: usize = 3;
/// Ranges are closed to writes three seconds late, by the extension of their lease each second at the latest; and the news
/// must have arrived.
const FOLLOWER_READ: &str = "-4.8s";

/// Takes the clause out of a statement: the moment as it was written, an interval back from now or a timestamp.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>, source: &Source) -> Result<Option<Arc<str>>> {
    let mut depth = 0_usize;
    let mut found = None;
    for at in 0..tokens.len() {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(_) if is_clause(&tokens[at..]) => {
                if depth > 0 || found.is_some() {
                    return Err(SqlError::new(
                        SqlState::SYNTAX_ERROR,
                        "AS OF SYSTEM TIME must be said once, for the statement as a whole",
                    ));
                }
                found = Some(at);
            }
            _ => {}
        }
    }
    let Some(at) = found else { return Ok(None) };
    let (moment, length) = match tokens.get(at + WORDS.len()).map(|token| &token.token) {
        Some(Token::SingleQuotedString(text)) => (text.as_str(), 1),
        Some(Token::Word(_)) if is_call(&tokens[at + WORDS.len()..]) => (FOLLOWER_READ, CALL_TOKENS),
        Some(_) => return Err(syntax_error::near(&tokens[at + WORDS.len()], source)),
        None => return Err(syntax_error::at_end(source)),
    };
    let moment = moment.into();
    tokens.drain(at..at + WORDS.len() + length);
    Ok(Some(moment))
}

/// `follower_read_timestamp()`
fn is_call(tokens: &[TokenWithSpan]) -> bool {
    let [name, open, close, ..] = tokens else { return false };
    matches!(&name.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(CALL))
        && (&open.token, &close.token) == (&Token::LParen, &Token::RParen)
}

fn is_clause(tokens: &[TokenWithSpan]) -> bool {
    let is = |(token, word): (&TokenWithSpan, &str)| matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
    tokens.len() >= WORDS.len() && tokens.iter().zip(WORDS).all(is)
}
