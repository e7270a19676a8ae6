//! The grammar's PostgreSQL dialect without what makes it slow.
//!
//! `sqlparser` looks for a named argument by parsing the argument as an expression, and when no name operator follows,
//! parses it again: nested calls take time exponential in their depth. A name is an identifier in PostgreSQL, which is
//! looked for without recursion.
//!
//! The levels of operators are in a module of their own. Strings in Unicode notation are put together from their
//! tokens, because the grammar knows neither UESCAPE nor surrogate pairs.

use std::any::TypeId;

use sqlparser::{
    ast::{Expr, TypedString},
    dialect::{Dialect, PostgreSqlDialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use super::operators;

#[derive(Debug)]
pub(super) struct Postgres;

const INNER: PostgreSqlDialect = PostgreSqlDialect {};

/// What the wrapped dialect answers.
macro_rules! as_inner {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool {
            INNER.$name()
        })*
    };
}

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn supports_named_fn_args_with_colon_operator(&self) -> bool {
        false
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        INNER.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        INNER.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        INNER.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        INNER.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        INNER.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        INNER.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match operators::next_level(parser) {
            Some(level) => Some(Ok(level)),
            None => INNER.get_next_precedence(parser),
        }
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        operators::level(&precedence)
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        operators::prefix(parser).or_else(|| typed_literal(parser))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        operators::infix(parser, left)
    }

    as_inner! {
        supports_filter_during_aggregation
        supports_group_by_expr
        allow_extract_custom
        allow_extract_single_quotes
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_listen_notify
        supports_factorial_operator
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_empty_projections
        supports_nested_comments
        supports_string_escape_constant
        supports_array_typedef_with_brackets
        supports_geometric_types
        supports_set_names
        supports_alter_column_type_using
        supports_notnull_operator
        supports_interval_options
        supports_insert_table_alias
        supports_create_table_like_parenthesized
        supports_comma_separated_trim
        supports_xml_expressions
        supports_comment_optimizer_hint
    }
}

/// `regclass 'pg_class'`: the grammar takes the types that it knows only.
fn typed_literal(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let is_name =
        matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == Keyword::NoKeyword);
    if !is_name || !matches!(parser.peek_nth_token_ref(1).token, Token::SingleQuotedString(_)) {
        return None;
    }
    Some(parser.parse_data_type().and_then(|data_type| {
        let value = parser.parse_value()?;
        Ok(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
    }))
}
