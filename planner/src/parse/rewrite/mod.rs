//! Small changes of the token stream that make PostgreSQL's forms acceptable to the grammar without changing meaning.

pub(super) mod copy;
mod definition;
mod query;
pub(super) mod shorthand;

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Span, Token, TokenWithSpan},
};

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn is_word(token: Option<&TokenWithSpan>, text: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn replaced(token: &TokenWithSpan, with: Token) -> TokenWithSpan {
    TokenWithSpan { token: with, span: token.span }
}

pub(super) fn statement(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    match keyword(tokens.first()) {
        Keyword::COPY => {
            copy::legacy_options(&mut tokens);
            copy_options(&mut tokens);
        }
        Keyword::CREATE => definition::create(&mut tokens),
        Keyword::ALTER => definition::identity_options(&mut tokens),
        _ if is_word(tokens.first(), "abort") => {
            tokens[0] = replaced(&tokens[0], Token::make_keyword("ROLLBACK"))
        }
        _ => query::select_into(&mut tokens),
    }
    definition::overriding(&mut tokens);
    expressions(tokens)
}

/// `COLLATE pg_catalog.default` (the grammar takes no keyword there), and TRIM with nothing before its FROM.
pub(super) fn expressions(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    query::queries(&mut tokens);
    shorthand::expand(&mut tokens);
    let mut at = 0;
    while at < tokens.len() {
        if keyword(tokens.get(at)) == Keyword::TRIM {
            trim_list(&mut tokens, at);
        }
        if keyword(tokens.get(at)) == Keyword::COLLATE {
            let name_at = if tokens.get(at + 2).is_some_and(|token| token.token == Token::Period) {
                at + 3
            } else {
                at + 1
            };
            if let Some(Token::Word(word)) = tokens.get(name_at).map(|token| token.token.clone())
                && word.quote_style.is_none()
            {
                tokens[name_at] =
                    replaced(&tokens[name_at], Token::make_word(&word.value.to_lowercase(), Some('"')));
            }
        }
        at += 1;
    }
    tokens
}

/// `TRIM(LEADING FROM a, b)` and `TRIM(FROM a)` are calls of `ltrim` and the like with the same list.
fn trim_list(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if tokens.get(at + 1).is_none_or(|token| token.token != Token::LParen) {
        return;
    }
    let (name, side) = match keyword(tokens.get(at + 2)) {
        Keyword::BOTH => ("btrim", 1),
        Keyword::LEADING => ("ltrim", 1),
        Keyword::TRAILING => ("rtrim", 1),
        _ => ("btrim", 0),
    };
    if keyword(tokens.get(at + 2 + side)) == Keyword::FROM {
        tokens[at] = replaced(&tokens[at], Token::make_word(name, None));
        tokens.drain(at + 2..at + 3 + side);
    }
}

/// `freeze on`, `header true`: the grammar knows the bare option and FALSE only. `FROM STDIN` must end with a
/// semicolon there.
fn copy_options(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if matches!(keyword(tokens.get(at)), Keyword::FREEZE | Keyword::HEADER) {
            let value = tokens.get(at + 1).map(|token| match &token.token {
                Token::Word(word) => word.value.to_lowercase(),
                Token::Number(number, _) => number.clone(),
                Token::SingleQuotedString(text) => text.to_lowercase(),
                _ => String::new(),
            });
            match value.as_deref() {
                Some("on" | "true" | "1") => {
                    tokens.remove(at + 1);
                }
                Some("off" | "false" | "0") => {
                    tokens[at + 1] = replaced(&tokens[at + 1], Token::make_keyword("FALSE"));
                }
                _ => {}
            }
        }
        at += 1;
    }
    let from_stdin = tokens
        .windows(2)
        .any(|pair| keyword(pair.first()) == Keyword::FROM && keyword(pair.get(1)) == Keyword::STDIN);
    if from_stdin {
        tokens.push(TokenWithSpan { token: Token::SemiColon, span: Span::empty() });
    }
}
