//! Conversion of bound expressions to a wanted type, and the choice of a common type.

use basalt_functions::{CastContext, CastMethod};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::tokenizer::Span;

use super::{Binder, lookup};
use crate::Expr;

/// The type as an error message names it.
pub(crate) fn type_name(ty: SqlType) -> String {
    oid_name(ty.oid)
}

pub(crate) fn oid_name(oid: Oid) -> String {
    basalt_functions::type_words(oid)
}

impl Binder<'_> {
    /// Converts `expr` to `target` or fails with the error that `mismatch` makes.
    pub(crate) fn coerce_or(
        &mut self,
        expr: Expr,
        target: SqlType,
        context: CastContext,
        span: Span,
        mismatch: impl FnOnce(SqlType) -> SqlError,
    ) -> Result<Expr> {
        let source = expr.ty();
        match self.coerce(expr, target, context, span)? {
            Some(expr) => Ok(expr),
            None => Err(self.at(mismatch(source), span)),
        }
    }

    /// Converts `expr` to `target`, length included; `None` when there is no way in this context.
    pub(crate) fn coerce(
        &mut self,
        expr: Expr,
        target: SqlType,
        context: CastContext,
        span: Span,
    ) -> Result<Option<Expr>> {
        let explicit = context == CastContext::Explicit;
        let Some(expr) = self.coerce_oid(expr, target.oid, context, span)? else { return Ok(None) };
        if target.typmod < 0 || expr.ty().typmod == target.typmod {
            return Ok(Some(expr));
        }
        if let Expr::Literal { value: Datum::Null, .. } = expr {
            return Ok(Some(Expr::literal(Datum::Null, target)));
        }
        if let Expr::Param { .. } | Expr::Literal { .. } | Expr::Column { .. } | Expr::Call(_) = expr {
            return Ok(Some(Expr::Coerce { input: Box::new(expr), to: target, explicit }));
        }
        Ok(Some(Expr::Coerce { input: Box::new(expr), to: target, explicit }))
    }

    fn coerce_oid(
        &mut self,
        expr: Expr,
        target: Oid,
        context: CastContext,
        span: Span,
    ) -> Result<Option<Expr>> {
        let source = expr.ty();
        if source.oid == target {
            return Ok(Some(expr));
        }
        let to = SqlType::new(target, -1);
        match expr {
            Expr::Literal { value: Datum::Null, ty } if ty.oid == Oid::UNKNOWN => {
                return Ok(Some(Expr::literal(Datum::Null, to)));
            }
            Expr::Literal { value: Datum::Text(text), ty } if ty.oid == Oid::UNKNOWN => {
                return self.read_literal(&text, to, span).map(Some);
            }
            Expr::Param { index, ty } if ty.oid == Oid::UNKNOWN => {
                self.determine_param(index, to, span)?;
                return Ok(Some(Expr::Param { index, ty: to }));
            }
            _ => {}
        }
        if target == Oid::ANY
            || lookup::is_polymorphic(target)
            || target == Oid::RECORD && matches!(expr, Expr::Row { .. })
        {
            return Ok(Some(expr));
        }
        if source.oid == Oid::UNKNOWN {
            // An unknown that is neither literal nor parameter: its text is read when it runs.
            return Ok(Some(Expr::Cast {
                input: Box::new(expr),
                to,
                method: CastMethod::InOut,
                explicit: false,
            }));
        }
        let Some(method) = lookup::pathway(source.oid, target, context) else { return Ok(None) };
        // A modifier survives a change between types of one representation (varchar(3) to text has none).
        Ok(Some(Expr::Cast { input: Box::new(expr), to, method, explicit: context == CastContext::Explicit }))
    }

    /// Reads the text of a literal as a type's input function does.
    fn read_literal(&mut self, text: &str, ty: SqlType, span: Span) -> Result<Expr> {
        let value = match ty.oid {
            Oid::REGCLASS | Oid::REGTYPE | Oid::REGPROC | Oid::REGROLE | Oid::REGNAMESPACE => {
                let found = match text.parse::<u32>() {
                    Ok(number) => Ok(Oid(number)),
                    Err(_) => self.eval.session.resolve_reg(ty.oid, text),
                };
                let stored = found.as_ref().ok().filter(|_| ty.oid == Oid::REGCLASS);
                match stored.and_then(|id| self.catalog.table_by_id(*id)) {
                    Some(table) => self.depend(&table),
                    None => self.cacheable = false,
                }
                found.map(Datum::Oid)
            }
            _ => {
                if matches!(ty.oid, Oid::DATE | Oid::TIME | Oid::TIMESTAMP | Oid::TIMESTAMPTZ) {
                    let lower = text.trim().to_ascii_lowercase();
                    if ["now", "today", "tomorrow", "yesterday", "allballs"]
                        .iter()
                        .any(|word| lower.starts_with(word))
                    {
                        self.cacheable = false;
                    }
                }
                basalt_types::text_in(ty, text, &self.eval.io)
            }
        };
        match value {
            Ok(value) => Ok(Expr::literal(value, ty)),
            Err(error) => Err(self.at(error, span)),
        }
    }

    /// An explicit cast.
    pub(crate) fn cast_explicit(&mut self, expr: Expr, target: SqlType, span: Span) -> Result<Expr> {
        self.coerce_or(expr, target, CastContext::Explicit, span, |source| {
            SqlError::new(
                SqlState::CANNOT_COERCE,
                format!("cannot cast type {} to {}", type_name(source), type_name(target)),
            )
        })
    }

    /// A boolean for WHERE, AND, …: `argument of WHERE must be type boolean, not type integer`.
    pub(crate) fn coerce_boolean(&mut self, expr: Expr, construct: &str, span: Span) -> Result<Expr> {
        self.coerce_or(expr, SqlType::BOOL, CastContext::Implicit, span, |source| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("argument of {construct} must be type boolean, not type {}", type_name(source)),
            )
        })
    }

    /// Unknown literals of an output become text.
    pub(crate) fn settle_unknown(&mut self, expr: Expr) -> Result<Expr> {
        if expr.ty().oid != Oid::UNKNOWN {
            return Ok(expr);
        }
        self.coerce(expr, SqlType::TEXT, CastContext::Implicit, Span::empty())?
            .ok_or_else(|| SqlError::internal("an unknown literal is not readable as text"))
    }

    /// Converts all to their common type; `construct` names them in the error (`CASE`, `UNION`, …).
    pub(crate) fn unify(
        &mut self,
        exprs: Vec<(Expr, Span)>,
        construct: &str,
    ) -> Result<(Vec<Expr>, SqlType)> {
        let types: Vec<SqlType> = exprs.iter().map(|(expr, _)| expr.ty()).collect();
        let spans: Vec<Span> = exprs.iter().map(|(_, span)| *span).collect();
        let common = self.common_type(&types, &spans, construct)?;
        let mut unified = Vec::with_capacity(exprs.len());
        for (expr, span) in exprs {
            unified.push(self.coerce_common(expr, common, construct, span)?);
        }
        Ok((unified, common))
    }

    pub(crate) fn coerce_common(
        &mut self,
        expr: Expr,
        common: SqlType,
        construct: &str,
        span: Span,
    ) -> Result<Expr> {
        self.coerce_or(expr, common.bare(), CastContext::Implicit, span, |source| {
            SqlError::new(
                SqlState::CANNOT_COERCE,
                format!("{construct} could not convert type {} to {}", type_name(source), type_name(common)),
            )
        })
    }

    /// PostgreSQL's `select_common_type` and `select_common_typmod`.
    pub(crate) fn common_type(&self, types: &[SqlType], spans: &[Span], construct: &str) -> Result<SqlType> {
        let Some(first) = types.first() else { return Ok(SqlType::TEXT) };
        if first.oid != Oid::UNKNOWN && types.iter().all(|ty| ty.oid == first.oid) {
            let typmod = if types.iter().all(|ty| ty.typmod == first.typmod) { first.typmod } else { -1 };
            return Ok(SqlType::new(first.oid, typmod));
        }
        let mut chosen = first.oid;
        for (index, ty) in types.iter().enumerate().skip(1) {
            if ty.oid == Oid::UNKNOWN || ty.oid == chosen {
                continue;
            }
            if chosen == Oid::UNKNOWN {
                chosen = ty.oid;
            } else if lookup::category(ty.oid) != lookup::category(chosen) {
                let error = SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "{construct} types {} and {} cannot be matched",
                        oid_name(chosen),
                        type_name(*ty)
                    ),
                );
                return Err(self.at(error, spans.get(index).copied().unwrap_or_else(Span::empty)));
            } else if !lookup::preferred(chosen)
                && lookup::can_coerce(chosen, ty.oid, CastContext::Implicit)
                && !lookup::can_coerce(ty.oid, chosen, CastContext::Implicit)
            {
                chosen = ty.oid;
            }
        }
        Ok(SqlType::new(if chosen == Oid::UNKNOWN { Oid::TEXT } else { chosen }, -1))
    }
}
