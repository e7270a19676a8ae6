//! Forms of queries that the grammar lacks.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::{is_word, keyword, replaced};
use crate::parse::{EXCLUDE, ROWS_FROM, SYMMETRIC};

pub(super) fn queries(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        match keyword(tokens.get(at)) {
            Keyword::FOR => lock_strength(tokens, at),
            Keyword::BETWEEN if is_word(tokens.get(at + 1), "symmetric") => symmetric(tokens, at),
            Keyword::BETWEEN if is_word(tokens.get(at + 1), "asymmetric") => {
                tokens.remove(at + 1);
            }
            Keyword::LIKE | Keyword::ILIKE => like_any(tokens, at),
            Keyword::VALUES => values_as_subquery(tokens, at),
            Keyword::ROWS if is_word(tokens.get(at + 1), "from") && is_open(tokens.get(at + 2)) => {
                tokens[at] = replaced(&tokens[at], Token::make_word(ROWS_FROM, Some('"')));
                tokens.remove(at + 1);
            }
            _ if is_word(tokens.get(at), "exclude") => frame_exclusion(tokens, at),
            _ => {}
        }
        at += 1;
    }
}

fn is_open(token: Option<&TokenWithSpan>) -> bool {
    token.is_some_and(|token| token.token == Token::LParen)
}

/// Position of the parenthesis that closes the one at `open`.
pub(super) fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Position of the parenthesis that encloses `at`.
fn enclosing(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut depth = 0;
    for (position, token) in tokens.iter().enumerate().take(at).rev() {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return Some(position),
            Token::LParen => depth -= 1,
            _ => {}
        }
    }
    None
}

/// FOR NO KEY UPDATE and FOR KEY SHARE lock whole rows here.
fn lock_strength(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if is_word(tokens.get(at + 1), "no")
        && is_word(tokens.get(at + 2), "key")
        && keyword(tokens.get(at + 3)) == Keyword::UPDATE
    {
        tokens.drain(at + 1..at + 3);
    } else if is_word(tokens.get(at + 1), "key") && keyword(tokens.get(at + 2)) == Keyword::SHARE {
        tokens.remove(at + 1);
    }
}

/// `BETWEEN SYMMETRIC a AND b`: the first bound becomes a call that the binder knows.
fn symmetric(tokens: &mut Vec<TokenWithSpan>, between: usize) {
    let start = between + 2;
    let (mut depth, mut nested) = (0, 0);
    for at in start..tokens.len() {
        match (&tokens[at].token, keyword(tokens.get(at))) {
            (Token::LParen, _) | (_, Keyword::CASE) => depth += 1,
            (Token::RParen, _) | (_, Keyword::END) => depth -= 1,
            (_, Keyword::BETWEEN) if depth == 0 => nested += 1,
            (_, Keyword::AND) if depth == 0 && nested > 0 => nested -= 1,
            (_, Keyword::AND) if depth == 0 => {
                let close = replaced(&tokens[at - 1], Token::RParen);
                let open = replaced(&tokens[start], Token::LParen);
                tokens.insert(at, close);
                tokens[between + 1] = replaced(&tokens[between + 1], Token::make_word(SYMMETRIC, Some('"')));
                tokens.insert(start, open);
                return;
            }
            _ => {}
        }
        if depth < 0 {
            return;
        }
    }
}

/// `x LIKE ANY (…)` is the operator form `x ~~ ANY (…)`.
fn like_any(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let quantified = matches!(keyword(tokens.get(at + 1)), Keyword::ANY | Keyword::ALL | Keyword::SOME)
        && is_open(tokens.get(at + 2));
    if !quantified {
        return;
    }
    let negated = at > 0 && keyword(tokens.get(at - 1)) == Keyword::NOT;
    let insensitive = keyword(tokens.get(at)) == Keyword::ILIKE;
    let operator = match (negated, insensitive) {
        (false, false) => Token::DoubleTilde,
        (false, true) => Token::DoubleTildeAsterisk,
        (true, false) => Token::ExclamationMarkDoubleTilde,
        (true, true) => Token::ExclamationMarkDoubleTildeAsterisk,
    };
    tokens[at] = replaced(&tokens[at], operator);
    if negated {
        tokens.remove(at - 1);
    }
}

/// `ANY (VALUES …)`, `IN (VALUES …)`, `EXISTS (VALUES …)`: the grammar wants a SELECT there.
fn values_as_subquery(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if at < 2 || !is_open(tokens.get(at - 1)) {
        return;
    }
    let before = keyword(tokens.get(at - 2));
    let wanted = matches!(
        before,
        Keyword::ANY | Keyword::ALL | Keyword::SOME | Keyword::IN | Keyword::EXISTS | Keyword::ARRAY
    );
    let Some(close) = closing(tokens, at - 1).filter(|_| wanted) else { return };
    let here = tokens[at].clone();
    let word = |text: &str| replaced(&here, Token::make_keyword(text));
    tokens.splice(
        close..close,
        [replaced(&here, Token::RParen), replaced(&here, Token::make_word("values", Some('"')))],
    );
    tokens.splice(
        at..at,
        [word("SELECT"), replaced(&here, Token::Mul), word("FROM"), replaced(&here, Token::LParen)],
    );
}

/// `… EXCLUDE TIES` at the end of a frame: the window's base name carries it.
fn frame_exclusion(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let (what, count) = if is_word(tokens.get(at + 1), "current") && is_word(tokens.get(at + 2), "row") {
        ("current row", 3)
    } else if is_word(tokens.get(at + 1), "group") {
        ("group", 2)
    } else if is_word(tokens.get(at + 1), "ties") {
        ("ties", 2)
    } else if is_word(tokens.get(at + 1), "no") && is_word(tokens.get(at + 2), "others") {
        ("no others", 3)
    } else {
        return;
    };
    let ends_window = tokens.get(at + count).is_some_and(|token| token.token == Token::RParen);
    let Some(open) = enclosing(tokens, at).filter(|_| ends_window) else { return };
    let has_frame = tokens[open..at]
        .iter()
        .any(|token| matches!(keyword(Some(token)), Keyword::ROWS | Keyword::RANGE | Keyword::GROUPS));
    if !has_frame {
        return;
    }
    tokens.drain(at..at + count);
    let first = tokens[open + 1].clone();
    let begins_clause = matches!(
        keyword(Some(&first)),
        Keyword::PARTITION | Keyword::ORDER | Keyword::ROWS | Keyword::RANGE | Keyword::GROUPS
    );
    let base = match &first.token {
        Token::Word(word) if !begins_clause => {
            tokens.remove(open + 1);
            if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() }
        }
        _ => String::new(),
    };
    let name = format!("{EXCLUDE}{what}\u{1}{base}");
    tokens.insert(open + 1, replaced(&first, Token::make_word(&name, Some('"'))));
}

/// `SELECT … INTO [TEMP] t FROM …` is `CREATE [TEMP] TABLE t AS SELECT … FROM …`.
pub(super) fn select_into(tokens: &mut Vec<TokenWithSpan>) {
    if !matches!(keyword(tokens.first()), Keyword::SELECT | Keyword::WITH) {
        return;
    }
    let mut depth = 0;
    let mut selects = keyword(tokens.first()) == Keyword::SELECT;
    let mut into = None;
    for (at, token) in tokens.iter().enumerate() {
        match (&token.token, keyword(Some(token))) {
            (Token::LParen, _) => depth += 1,
            (Token::RParen, _) => depth -= 1,
            (_, Keyword::SELECT) if depth == 0 => selects = true,
            (_, Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE | Keyword::FROM) if depth == 0 => return,
            (_, Keyword::INTO) if depth == 0 && selects => {
                into = Some(at);
                break;
            }
            _ => {}
        }
    }
    let Some(into) = into else { return };
    let mut end = into + 1;
    let mut temporary = false;
    while let Some(token) = tokens.get(end) {
        match keyword(Some(token)) {
            Keyword::TEMP | Keyword::TEMPORARY => temporary = true,
            Keyword::UNLOGGED | Keyword::TABLE => {}
            _ => break,
        }
        end += 1;
    }
    let name_start = end;
    while tokens.get(end + 1).is_some_and(|token| token.token == Token::Period) {
        end += 2;
    }
    if !matches!(tokens.get(end).map(|token| &token.token), Some(Token::Word(_))) {
        return;
    }
    let here = tokens[into].clone();
    let word = |text: &str| replaced(&here, Token::make_keyword(text));
    let name: Vec<TokenWithSpan> = tokens[name_start..=end].to_vec();
    tokens.drain(into..=end);
    let mut head = vec![word("CREATE")];
    if temporary {
        head.push(word("TEMPORARY"));
    }
    head.push(word("TABLE"));
    head.extend(name);
    head.push(word("AS"));
    tokens.splice(0..0, head);
}
