//! Forms of CREATE, ALTER and INSERT that the grammar lacks.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::{is_word, keyword, query::closing, replaced};
use crate::parse::{LIKE, NO_DATA};

pub(super) fn create(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while matches!(
        keyword(tokens.get(at)),
        Keyword::TEMP | Keyword::TEMPORARY | Keyword::OR | Keyword::REPLACE | Keyword::UNLOGGED
    ) || is_word(tokens.get(at), "local")
        || is_word(tokens.get(at), "global")
    {
        let skipped = keyword(tokens.get(at)) == Keyword::UNLOGGED
            || is_word(tokens.get(at), "local")
            || is_word(tokens.get(at), "global");
        if skipped {
            tokens.remove(at);
        } else {
            at += 1;
        }
    }
    if keyword(tokens.get(at)) == Keyword::RECURSIVE && keyword(tokens.get(at + 1)) == Keyword::VIEW {
        recursive_view(tokens, at);
    }
    match keyword(tokens.get(at)) {
        Keyword::TABLE => {
            with_no_data(tokens, at);
            table_items(tokens, at);
            identity_options(tokens);
        }
        Keyword::MATERIALIZED => with_no_data(tokens, at),
        _ => {}
    }
}

/// Where the name that begins at `at` ends (exclusive).
fn name_end(tokens: &[TokenWithSpan], mut at: usize) -> usize {
    at += 1;
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    at
}

/// Where the name of the object starts, after `TABLE [IF NOT EXISTS]`.
fn name_start(tokens: &[TokenWithSpan], mut at: usize) -> usize {
    at += 1;
    if keyword(tokens.get(at)) == Keyword::IF {
        at += 3;
    }
    at
}

/// `CREATE RECURSIVE VIEW v (n) AS q` is `CREATE VIEW v AS WITH RECURSIVE v (n) AS (q) SELECT n FROM v`.
fn recursive_view(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let start = at + 2;
    let end = name_end(tokens, start);
    let is_list = tokens.get(end).is_some_and(|token| token.token == Token::LParen);
    let Some(close) = closing(tokens, end).filter(|_| is_list) else { return };
    if keyword(tokens.get(close + 1)) != Keyword::AS {
        return;
    }
    let here = tokens[at].clone();
    let word = |text: &str| replaced(&here, Token::make_keyword(text));
    let name: Vec<TokenWithSpan> = tokens[start..end].to_vec();
    let alias = name.last().cloned().into_iter().collect::<Vec<_>>();
    let list: Vec<TokenWithSpan> = tokens[end..=close].to_vec();
    let query: Vec<TokenWithSpan> = tokens[close + 2..].to_vec();
    tokens.truncate(at);
    tokens.push(word("VIEW"));
    tokens.extend(name);
    tokens.extend([word("AS"), word("WITH"), word("RECURSIVE")]);
    tokens.extend(alias.clone());
    tokens.extend(list.clone());
    tokens.extend([word("AS"), replaced(&here, Token::LParen)]);
    tokens.extend(query);
    tokens.extend([replaced(&here, Token::RParen), word("SELECT")]);
    tokens.extend(list[1..list.len() - 1].to_vec());
    tokens.push(word("FROM"));
    tokens.extend(alias);
}

/// `… WITH NO DATA` becomes an option before AS; `WITH DATA` is what happens anyway.
fn with_no_data(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let length = tokens.len();
    if length < 4 || !is_word(tokens.last(), "data") {
        return;
    }
    let no = is_word(tokens.get(length - 2), "no");
    let with = length - if no { 3 } else { 2 };
    if keyword(tokens.get(with)) != Keyword::WITH {
        return;
    }
    tokens.truncate(with);
    if !no {
        return;
    }
    let start = if keyword(tokens.get(at)) == Keyword::MATERIALIZED { at + 1 } else { at };
    let mut place = name_end(tokens, name_start(tokens, start));
    if tokens.get(place).is_some_and(|token| token.token == Token::LParen) {
        place = closing(tokens, place).map_or(place, |close| close + 1);
    }
    if keyword(tokens.get(place)) != Keyword::AS {
        return;
    }
    let here = tokens[place].clone();
    let option = [
        Token::make_keyword("WITH"),
        Token::LParen,
        Token::make_word(NO_DATA, Some('"')),
        Token::Eq,
        Token::make_keyword("TRUE"),
        Token::RParen,
    ];
    tokens.splice(place..place, option.into_iter().map(|token| replaced(&here, token)));
}

/// LIKE clauses become columns that the schema change knows; the names of CREATE TABLE AS get types that nobody reads.
fn table_items(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let open = name_end(tokens, name_start(tokens, at));
    if tokens.get(open).is_none_or(|token| token.token != Token::LParen) {
        return;
    }
    let Some(close) = closing(tokens, open) else { return };
    let items = items(tokens, open, close);
    let is_query = tokens[close..].iter().any(|token| keyword(Some(token)) == Keyword::AS);
    let only_names = is_query && items.iter().all(|(start, end)| end - start == 1);
    let mut new = Vec::with_capacity(tokens.len() + items.len());
    new.extend_from_slice(&tokens[..=open]);
    for (position, (start, end)) in items.iter().enumerate() {
        if position > 0 {
            new.push(replaced(&tokens[*start], Token::Comma));
        }
        let item = &tokens[*start..*end];
        if keyword(item.first()) == Keyword::LIKE {
            new.extend(like(item));
        } else {
            new.extend_from_slice(item);
            if only_names && let Some(last) = item.last() {
                new.push(replaced(last, Token::make_word("text", None)));
            }
        }
    }
    new.extend_from_slice(&tokens[close..]);
    *tokens = new;
}

/// Start and end of the items between two parentheses.
fn items(tokens: &[TokenWithSpan], open: usize, close: usize) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0, open + 1);
    for (at, token) in tokens.iter().enumerate().take(close).skip(open + 1) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => {
                items.push((start, at));
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push((start, close));
    items
}

/// `LIKE t INCLUDING DEFAULTS` as a column of type `t` whose name tells the rest.
fn like(item: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let end = name_end(item, 1).min(item.len());
    let mut name = LIKE.to_owned();
    for option in item[end..].chunks(2) {
        let sign = if keyword(option.first()) == Keyword::INCLUDING { '+' } else { '-' };
        if let Some(Token::Word(word)) = option.get(1).map(|token| &token.token) {
            name.push_str(&format!(" {sign}{}", word.value.to_lowercase()));
        }
    }
    let mut column = vec![replaced(&item[0], Token::make_word(&name, Some('"')))];
    column.extend_from_slice(&item[1..end]);
    column
}

/// The options of an identity column in the order that the grammar wants.
pub(super) fn identity_options(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if keyword(tokens.get(at)) == Keyword::IDENTITY
            && tokens.get(at + 1).is_some_and(|token| token.token == Token::LParen)
            && let Some(close) = closing(tokens, at + 1)
        {
            let mut parts: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
            for token in &tokens[at + 2..close] {
                let rank = match keyword(Some(token)) {
                    Keyword::INCREMENT => Some(0),
                    Keyword::MINVALUE => Some(1),
                    Keyword::MAXVALUE => Some(2),
                    Keyword::START => Some(3),
                    Keyword::CACHE => Some(4),
                    Keyword::CYCLE => Some(5),
                    Keyword::NO => Some(9),
                    _ => None,
                };
                match (rank, parts.last_mut()) {
                    // NO belongs to the word after it.
                    (Some(rank), Some((place, words))) if *place == 9 => {
                        *place = rank;
                        words.push(token.clone());
                    }
                    (Some(rank), _) => parts.push((rank, vec![token.clone()])),
                    (None, Some((_, words))) => words.push(token.clone()),
                    (None, None) => parts.push((0, vec![token.clone()])),
                }
            }
            parts.sort_by_key(|(rank, _)| *rank);
            let sorted: Vec<TokenWithSpan> = parts.into_iter().flat_map(|(_, words)| words).collect();
            tokens.splice(at + 2..close, sorted);
        }
        at += 1;
    }
}

/// `OVERRIDING {SYSTEM | USER} VALUE`: words of another product's INSERT carry it.
pub(super) fn overriding(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = (0..tokens.len()).find(|&at| {
        is_word(tokens.get(at), "overriding")
            && is_word(tokens.get(at + 2), "value")
            && (is_word(tokens.get(at + 1), "system") || is_word(tokens.get(at + 1), "user"))
    }) else {
        return;
    };
    let Some(insert) = (0..at).rev().find(|&at| keyword(tokens.get(at)) == Keyword::INSERT) else { return };
    let user = is_word(tokens.get(at + 1), "user");
    tokens.drain(at..at + 3);
    let here = tokens[insert].clone();
    if user {
        // After INTO.
        tokens.insert(insert + 2, replaced(&here, Token::make_keyword("TABLE")));
    }
    tokens.insert(insert + 1, replaced(&here, Token::make_keyword("OVERWRITE")));
}
