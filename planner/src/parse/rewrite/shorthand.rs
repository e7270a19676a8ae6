//! Forms that say what the grammar can say in another way.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::{is_word, keyword, query::closing, replaced};

pub(super) fn expand(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        match keyword(tokens.get(at)) {
            Keyword::TABLE => table(tokens, at),
            Keyword::ONLY => only(tokens, at),
            Keyword::FOR => locks_last(tokens, at),
            Keyword::USING => sort_operator(tokens, at),
            Keyword::CONFLICT => arbiter_condition(tokens, at),
            _ if tokens[at].token == Token::LParen => whole_row(tokens, at),
            _ => {}
        }
        at += 1;
    }
    if matches!(keyword(tokens.first()), Keyword::BEGIN | Keyword::START | Keyword::SET) {
        deferrable(tokens);
    }
}

fn is(token: Option<&TokenWithSpan>, wanted: &Token) -> bool {
    token.is_some_and(|token| token.token == *wanted)
}

/// `TABLE t` in the place of a query is `SELECT * FROM t`.
fn table(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let begins_query = at == 0
        || is(tokens.get(at - 1), &Token::LParen)
        || is(tokens.get(at - 1), &Token::RParen) && keyword(tokens.first()) == Keyword::WITH
        || matches!(
            keyword(tokens.get(at - 1)),
            Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::ALL
                | Keyword::AS
                | Keyword::EXPLAIN
                | Keyword::DISTINCT
        );
    if !begins_query || !matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Word(_))) {
        return;
    }
    let here = tokens[at].clone();
    let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
    tokens.splice(at..=at, words.into_iter().map(|token| replaced(&here, token)));
}

/// Without inheritance every table stands for itself only.
fn only(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let means_another =
        at == 0 || matches!(keyword(tokens.get(at - 1)), Keyword::ROW | Keyword::ROWS | Keyword::READ);
    if means_another || matches!(keyword(tokens.first()), Keyword::ALTER | Keyword::TRUNCATE) {
        return;
    }
    match tokens.get(at + 1).map(|token| &token.token) {
        Some(Token::Word(_)) => {
            tokens.remove(at);
        }
        Some(Token::LParen) => {
            let Some(close) = closing(tokens, at + 1) else { return };
            tokens.remove(close);
            tokens.drain(at..at + 2);
        }
        _ => {}
    }
}

/// `FOR UPDATE … LIMIT 1`: the grammar wants the limit first.
fn locks_last(tokens: &mut [TokenWithSpan], at: usize) {
    let is_lock = |at: usize| {
        keyword(tokens.get(at)) == Keyword::FOR
            && matches!(keyword(tokens.get(at + 1)), Keyword::UPDATE | Keyword::SHARE)
    };
    if !is_lock(at) {
        return;
    }
    let mut end = at;
    while is_lock(end) {
        end += 2;
        while let Some(token) = tokens.get(end) {
            let belongs = matches!(token.token, Token::Comma | Token::Period)
                || matches!(&token.token, Token::Word(_))
                    && !matches!(
                        keyword(Some(token)),
                        Keyword::FOR | Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH
                    );
            if !belongs {
                break;
            }
            end += 1;
        }
    }
    if !matches!(keyword(tokens.get(end)), Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH) {
        return;
    }
    let (mut depth, mut last) = (0, end);
    while let Some(token) = tokens.get(last) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            _ if depth == 0 && keyword(Some(token)) == Keyword::FOR => break,
            _ => {}
        }
        last += 1;
    }
    tokens[at..last].rotate_left(end - at);
}

/// `ORDER BY a USING <` is ascending order.
fn sort_operator(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let direction = match tokens.get(at + 1).map(|token| &token.token) {
        Some(Token::Lt) => "ASC",
        Some(Token::Gt) => "DESC",
        _ => return,
    };
    tokens[at] = replaced(&tokens[at], Token::make_keyword(direction));
    tokens.remove(at + 1);
}

/// `ON CONFLICT (a) WHERE …`: the condition chooses among partial indexes, and every unique index satisfies it.
fn arbiter_condition(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if at == 0 || keyword(tokens.get(at - 1)) != Keyword::ON || !is(tokens.get(at + 1), &Token::LParen) {
        return;
    }
    let Some(close) = closing(tokens, at + 1) else { return };
    if keyword(tokens.get(close + 1)) != Keyword::WHERE {
        return;
    }
    let end = (close + 2..tokens.len()).find(|&at| {
        keyword(tokens.get(at)) == Keyword::DO
            && (keyword(tokens.get(at + 1)) == Keyword::UPDATE || is_word(tokens.get(at + 1), "nothing"))
    });
    if let Some(end) = end.filter(|end| *end > close + 2) {
        tokens.drain(close + 1..end);
    }
}

/// `(t).*` is `t.*` where a table is meant, and no column is a composite. As the argument of a call `t.*` is `t`.
fn whole_row(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let is_called = at > 0
        && match &tokens[at - 1].token {
            Token::Word(word) => {
                word.quote_style.is_some()
                    || !matches!(word.keyword, Keyword::SELECT | Keyword::DISTINCT | Keyword::RETURNING)
            }
            Token::Comma => false,
            _ => true,
        };
    let calls = at > 0
        && matches!(&tokens[at - 1].token, Token::Word(word) if word.keyword == Keyword::NoKeyword
            || word.keyword == Keyword::COUNT);
    if calls
        && matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Word(_)))
        && is(tokens.get(at + 2), &Token::Period)
        && is(tokens.get(at + 3), &Token::Mul)
        && (is(tokens.get(at + 4), &Token::RParen) || keyword(tokens.get(at + 4)) == Keyword::ORDER)
    {
        tokens.drain(at + 2..at + 4);
        return;
    }
    if !is_called
        && matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Word(_)))
        && is(tokens.get(at + 2), &Token::RParen)
        && is(tokens.get(at + 3), &Token::Period)
        && is(tokens.get(at + 4), &Token::Mul)
    {
        tokens.remove(at + 2);
        tokens.remove(at);
    }
}

/// A transaction that never conflicts need not wait for a moment without conflicts.
fn deferrable(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = tokens.iter().position(|token| keyword(Some(token)) == Keyword::DEFERRABLE) else {
        return;
    };
    let start = if at > 0 && keyword(tokens.get(at - 1)) == Keyword::NOT { at - 1 } else { at };
    if is(tokens.get(start - 1), &Token::Comma) {
        tokens.drain(start - 1..=at);
    } else if is(tokens.get(at + 1), &Token::Comma) {
        tokens.drain(start..=at + 1);
    } else {
        tokens.drain(start..=at);
    }
}

/// The feature in a statement that the grammar refuses, when PostgreSQL would take it.
pub(in crate::parse) fn missing_feature(tokens: &[TokenWithSpan]) -> Option<&'static str> {
    let first = keyword(tokens.first());
    if is_word(tokens.first(), "do") {
        return Some("DO");
    }
    for at in 0..tokens.len() {
        let next = tokens.get(at + 1);
        match keyword(tokens.get(at)) {
            Keyword::DROP if first == Keyword::ALTER && keyword(next) == Keyword::IDENTITY => {
                return Some("ALTER COLUMN DROP IDENTITY");
            }
            Keyword::RESTART if first == Keyword::ALTER => return Some("ALTER COLUMN RESTART"),
            Keyword::SET if first == Keyword::ALTER && keyword(next) == Keyword::GENERATED => {
                return Some("ALTER COLUMN SET GENERATED");
            }
            Keyword::SET
                if matches!(keyword(next), Keyword::NULL | Keyword::DEFAULT)
                    && is(tokens.get(at + 2), &Token::LParen) =>
            {
                return Some("a list of columns after ON DELETE SET NULL or SET DEFAULT");
            }
            _ => {}
        }
        if is(tokens.get(at), &Token::RParen)
            && is(next, &Token::Period)
            && is(tokens.get(at + 2), &Token::Mul)
        {
            return Some("the expansion of a row by .*");
        }
    }
    None
}
