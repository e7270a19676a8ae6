//! SQL text to syntax trees.
//!
//! `sqlparser` does the grammar; this module makes it answer like PostgreSQL: statements keep their source text, errors
//! carry PostgreSQL's wording and character position, nesting is bounded before any recursion starts, and statements
//! or clauses that `sqlparser` lacks are rewritten on the token level or parsed here.

mod as_of;
mod dialect;
mod literal;
mod nesting;
mod operators;
mod position;
mod rewrite;
mod sequence;
mod syntax_error;
mod utility;

use std::sync::Arc;

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::{
    ast,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

pub(crate) use nesting::too_deep;
pub use position::Source;
pub use sequence::SequenceOptions;
pub use utility::{FetchCount, NodeChange, RelationChange, RelationKind, Utility};

// Clauses that the grammar lacks travel through it in names that no client writes.
/// A call around the first bound of BETWEEN SYMMETRIC.
pub(crate) const SYMMETRIC: &str = "\u{1}symmetric";
/// Before the exclusion of a frame, in the name of its window.
pub(crate) const EXCLUDE: &str = "\u{1}exclude ";
/// The function in the place of ROWS FROM.
pub(crate) const ROWS_FROM: &str = "\u{1}rows from";
/// Before the options of a LIKE clause, in the name of a column whose type is the table's name.
pub const LIKE: &str = "\u{1}like";
/// The storage option in the place of WITH NO DATA.
pub const NO_DATA: &str = "\u{1}no data";

/// Nested levels that the grammar may recurse into.
const RECURSION_LIMIT: usize = 300;

/// One statement of a query string.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    pub body: ParsedBody,
    /// The statement's own text, without the semicolon and surrounding blanks.
    pub text: Arc<str>,
    /// The whole query string; positions in errors count from its start.
    pub source: Source,
    /// The moment of AS OF SYSTEM TIME, as it was written.
    pub as_of: Option<Arc<str>>,
    /// CREATE or DROP INDEX CONCURRENTLY: not part of a transaction block.
    pub concurrently: bool,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one for each statement, and patterns look into it")]
pub enum ParsedBody {
    Sql(Box<ast::Statement>),
    /// Statements that `sqlparser` does not know, or not as PostgreSQL means them.
    Utility(Utility),
}

/// Parses a query string. An empty string gives no statements.
pub fn parse(sql: &str) -> Result<Vec<ParsedStatement>> {
    let source = Source::new(sql);
    let tokens = tokenize(sql, &source)?;
    let mut statements = Vec::new();
    for range in tokens.split(|token| token.token == Token::SemiColon) {
        if range.is_empty() {
            continue;
        }
        statements.push(parse_one(range, &source)?);
    }
    Ok(statements)
}

/// Parses a lone scalar expression (a DEFAULT or CHECK clause kept as text).
pub fn parse_expression(sql: &str) -> Result<(ast::Expr, Source)> {
    let source = Source::new(sql);
    let tokens = tokenize(sql, &source)?;
    nesting::check(&tokens)?;
    let tokens = rewrite::expressions(tokens);
    let mut parser = new_parser(tokens);
    let expr = parser.parse_expr().map_err(|error| syntax_error::translate(error, &parser, &source))?;
    expect_end(&parser, &source)?;
    Ok((expr, source))
}

/// An expression over one table with a column under another name.
pub fn rename_column(sql: &str, table: &str, old: &str, new: &str) -> Result<String> {
    let (mut expr, _) = parse_expression(sql)?;
    let is_old = |ident: &ast::Ident| crate::bind::fold(ident) == old;
    let _ = ast::visit_expressions_mut(&mut expr, |expr| {
        match expr {
            ast::Expr::Identifier(ident) if is_old(ident) => *ident = ast::Ident::with_quote('"', new),
            ast::Expr::CompoundIdentifier(parts) => {
                let of_table = parts.len() < 2 || crate::bind::fold(&parts[parts.len() - 2]) == table;
                if let Some(last) = parts.last_mut().filter(|last| of_table && is_old(last)) {
                    *last = ast::Ident::with_quote('"', new);
                }
            }
            _ => {}
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    Ok(expr.to_string())
}

fn parse_one(tokens: &[TokenWithSpan], source: &Source) -> Result<ParsedStatement> {
    nesting::check(tokens)?;
    let text: Arc<str> = source.slice(tokens).into();
    if let Some(utility) = utility::parse(tokens, source)? {
        return Ok(ParsedStatement {
            body: ParsedBody::Utility(utility),
            text,
            source: source.clone(),
            as_of: None,
            concurrently: false,
        });
    }
    syntax_error::check_words(tokens, source)?;
    if matches!(&tokens[0].token, Token::Word(word) if word.value.eq_ignore_ascii_case("copy")) {
        rewrite::copy::check(tokens, source)?;
    }
    let mut rest = tokens.to_vec();
    let as_of = as_of::take(&mut rest, source)?;
    let drops_concurrently = is_drop_concurrently(&rest);
    if drops_concurrently {
        // The grammar has no place for the word.
        rest.remove(2);
    }
    let mut parser = new_parser(rewrite::statement(rest));
    let statement = parser
        .parse_statement()
        .map_err(|error| syntax_error::translate(error, &parser, source))
        .and_then(|statement| expect_end(&parser, source).map(|()| statement));
    let statement = statement.map_err(|error| {
        let is_syntax = error.sqlstate() == SqlState::SYNTAX_ERROR;
        match rewrite::shorthand::missing_feature(tokens).filter(|_| is_syntax) {
            Some(feature) => SqlError::not_supported(feature),
            None => error,
        }
    })?;
    if as_of.is_some()
        && !matches!(statement, ast::Statement::Query(_) | ast::Statement::StartTransaction { .. })
    {
        return Err(SqlError::not_supported("AS OF SYSTEM TIME other than with a query or BEGIN"));
    }
    let concurrently = match &statement {
        ast::Statement::CreateIndex(create) => create.concurrently,
        _ => drops_concurrently,
    };
    let body = ParsedBody::Sql(Box::new(statement));
    Ok(ParsedStatement { body, text, source: source.clone(), as_of, concurrently })
}

fn is_drop_concurrently(tokens: &[TokenWithSpan]) -> bool {
    let words = ["drop", "index", "concurrently"];
    let is = |(token, word): (&TokenWithSpan, &str)| matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
    tokens.len() > words.len() && tokens.iter().zip(words).all(is)
}

fn new_parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&dialect::Postgres).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens)
}

fn expect_end(parser: &Parser<'_>, source: &Source) -> Result<()> {
    let next = parser.peek_token_ref();
    match next.token {
        Token::EOF | Token::SemiColon => Ok(()),
        _ => Err(syntax_error::near(next, source)),
    }
}

/// Tokens without blanks and comments.
fn tokenize(sql: &str, source: &Source) -> Result<Vec<TokenWithSpan>> {
    if sql.contains('\0') {
        return Err(SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    literal::tokenize(sql, source)
}
