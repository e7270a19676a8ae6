//! Calls with a syntax of their own: EXTRACT, SUBSTRING, TRIM, …, and the values that are written as keywords.

use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, CeilFloorKind, Spanned, TrimWhereField},
    tokenizer::Span,
};

use super::{Binder, scope::Env};
use crate::Expr;

impl Binder<'_> {
    pub(super) fn special_call(&mut self, expr: &ast::Expr, env: &Env<'_>) -> Result<Expr> {
        use ast::Expr as E;
        let span = expr.span();
        let (name, args): (&str, Vec<&ast::Expr>) = match expr {
            E::Extract { field, expr: inner, .. } => {
                let field = field.to_string().trim_matches('\'').to_lowercase();
                let value = self.expr(inner, env)?;
                let args = vec![(Self::text_literal(&field), span), (value, inner.span())];
                return self.call_function("extract", args, span);
            }
            E::Ceil { expr: inner, field } | E::Floor { expr: inner, field } => {
                if !matches!(field, CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime)) {
                    return Err(self.at(SqlError::not_supported("CEIL or FLOOR with a unit"), span));
                }
                (if matches!(expr, E::Ceil { .. }) { "ceil" } else { "floor" }, vec![inner])
            }
            E::Position { expr: inner, r#in } => ("position", vec![r#in, inner]),
            E::Substring { expr: inner, substring_from, substring_for, shorthand, .. } => {
                match (substring_from, substring_for) {
                    (None, Some(length)) => {
                        let args = vec![
                            (self.expr(inner, env)?, inner.span()),
                            (Expr::literal(Datum::Int4(1), SqlType::INT4), span),
                            (self.expr(length, env)?, length.span()),
                        ];
                        return self.call_function("substring", args, span);
                    }
                    (from, length) => {
                        let args =
                            std::iter::once(inner).chain(from).chain(length).map(AsRef::as_ref).collect();
                        (if *shorthand { "substr" } else { "substring" }, args)
                    }
                }
            }
            E::Trim { trim_where, trim_what, expr: inner, trim_characters } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let mut args = vec![inner.as_ref()];
                args.extend(trim_what.as_deref());
                args.extend(trim_characters.iter().flatten());
                (name, args)
            }
            E::Overlay { expr: inner, overlay_what, overlay_from, overlay_for } => {
                let args =
                    [inner, overlay_what, overlay_from].into_iter().chain(overlay_for).map(AsRef::as_ref);
                ("overlay", args.collect())
            }
            other => return Err(SqlError::internal(format!("{other} is no special call"))),
        };
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push((self.expr(arg, env)?, arg.span()));
        }
        self.call_function(name, bound, span)
    }

    /// `CURRENT_DATE` and its kin; `None` for other words.
    pub(super) fn keyword_value(
        &mut self,
        word: &str,
        precision: Option<i32>,
        span: Span,
    ) -> Result<Option<Expr>> {
        let now = |binder: &mut Self| binder.call_function("now", vec![], span);
        let cast = |binder: &mut Self, oid: Oid| -> Result<Expr> {
            let value = now(binder)?;
            binder.cast_explicit(value, SqlType::new(oid, precision.unwrap_or(-1)), span)
        };
        if word.len() < 4 || word.len() > 17 {
            return Ok(None);
        }
        let lower = word.to_ascii_lowercase();
        let value = match lower.as_str() {
            "current_date" => cast(self, Oid::DATE)?,
            "current_timestamp" => cast(self, Oid::TIMESTAMPTZ)?,
            "localtimestamp" => cast(self, Oid::TIMESTAMP)?,
            "localtime" => cast(self, Oid::TIME)?,
            "current_time" => return Err(self.at(SqlError::not_supported("type time with time zone"), span)),
            "current_user" | "user" | "current_role" => self.call_function("current_user", vec![], span)?,
            "session_user" => self.call_function("session_user", vec![], span)?,
            "current_catalog" => self.call_function("current_database", vec![], span)?,
            "current_schema" => self.call_function("current_schema", vec![], span)?,
            "default" => {
                return Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    "DEFAULT is not allowed in this context",
                    span,
                ));
            }
            _ => return Ok(None),
        };
        Ok(Some(value))
    }
}
