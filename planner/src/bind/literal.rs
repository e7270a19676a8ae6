//! Constants and parameters.

use basalt_functions::CastContext;
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, Value, ValueWithSpan},
    tokenizer::Span,
};

use super::{Binder, data_type::bind_type, scope::Env};
use crate::Expr;

/// The protocol counts parameters in 16 bits.
const PARAM_LIMIT: usize = 65_535;

impl Binder<'_> {
    pub(super) fn value(&mut self, value: &ValueWithSpan) -> Result<Expr> {
        match &value.value {
            Value::Number(text, _) => self.number(text, value.span),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => {
                Ok(Expr::literal(Datum::text(text.as_str()), SqlType::UNKNOWN))
            }
            Value::DollarQuotedString(text) => {
                Ok(Expr::literal(Datum::text(text.value.as_str()), SqlType::UNKNOWN))
            }
            Value::Boolean(value) => Ok(Expr::literal(Datum::Bool(*value), SqlType::BOOL)),
            Value::Null => Ok(Expr::literal(Datum::Null, SqlType::UNKNOWN)),
            Value::Placeholder(name) => self.param(name, value.span),
            Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_) => {
                Err(SqlError::not_supported("a bit-string literal"))
            }
            _ => Err(self.error_at(
                SqlState::SYNTAX_ERROR,
                format!("syntax error at or near \"{value}\""),
                value.span,
            )),
        }
    }

    /// The smallest of int4, int8 and numeric that holds the digits.
    pub(super) fn number(&mut self, text: &str, span: Span) -> Result<Expr> {
        if let Ok(number) = text.parse::<i32>() {
            return Ok(Expr::literal(Datum::Int4(number), SqlType::INT4));
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Expr::literal(Datum::Int8(number), SqlType::INT8));
        }
        let number = basalt_types::text_in(SqlType::NUMERIC, text, &self.eval.io);
        Ok(Expr::literal(number.map_err(|error| self.at(error, span))?, SqlType::NUMERIC))
    }

    fn param(&mut self, name: &str, span: Span) -> Result<Expr> {
        let number: usize = name.strip_prefix('$').and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if number == 0 || number > PARAM_LIMIT {
            return Err(self.error_at(
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter {name}"),
                span,
            ));
        }
        if self.params.len() < number {
            self.params.resize(number, None);
        }
        Ok(Expr::Param { index: number - 1, ty: self.params[number - 1].unwrap_or(SqlType::UNKNOWN) })
    }

    /// `date '2024-01-01'`.
    pub(super) fn typed_string(&mut self, typed: &ast::TypedString) -> Result<Expr> {
        let target = bind_type(&typed.data_type).map_err(|error| self.at(error, typed.value.span))?;
        let text = self.value(&typed.value)?;
        self.cast_explicit(text, target, typed.value.span)
    }

    /// `interval '1 day'`, `interval '1' day`.
    pub(super) fn interval(&mut self, interval: &ast::Interval, env: &Env<'_>) -> Result<Expr> {
        let span = sqlparser::ast::Spanned::span(interval.value.as_ref());
        let ast::Expr::Value(value) = interval.value.as_ref() else {
            let value = self.expr(&interval.value, env)?;
            return self.cast_explicit(value, SqlType::INTERVAL, span);
        };
        if interval.last_field.is_some() {
            return Err(self.at(SqlError::not_supported("an interval with a range of fields"), span));
        }
        let mut literal = self.value(value)?;
        if let (Some(field), Expr::Literal { value: Datum::Text(text), .. }) =
            (&interval.leading_field, &literal)
        {
            // A bare number is counted in the field; text with units keeps them.
            let text =
                if text.trim().parse::<f64>().is_ok() { format!("{text} {field}") } else { text.to_string() };
            literal = Expr::literal(Datum::text(text), SqlType::UNKNOWN);
        }
        self.cast_explicit(literal, SqlType::INTERVAL, span)
    }

    /// LIMIT and OFFSET values.
    pub(super) fn row_count(&mut self, expr: &ast::Expr, construct: &str, env: &Env<'_>) -> Result<Expr> {
        let span = sqlparser::ast::Spanned::span(expr);
        let before = self.collected.references.len();
        let bound = self.in_clause(super::Clause::Limit, |binder| binder.expr(expr, env))?;
        if self.collected.references.len() > before {
            let error = SqlError::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                format!("argument of {construct} must not contain variables"),
            );
            return Err(self.at(error, span));
        }
        self.coerce_or(bound, SqlType::INT8, CastContext::Assignment, span, |source| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("argument of {construct} must be type bigint, not type {}", super::type_name(source)),
            )
        })
    }
}

pub(super) const fn is_unknown(ty: SqlType) -> bool {
    ty.oid.0 == Oid::UNKNOWN.0
}
