//! Queries inside expressions.

use basalt_types::{Result, SqlState, SqlType};
use sqlparser::{ast, ast::Spanned};
use std::sync::Arc;

use super::{Binder, Bound, lookup, scope::Env};
use crate::{
    Expr,
    expr::{Subquery, SubqueryKind},
};

impl Binder<'_> {
    /// Binds a nested query; what the enclosing level has collected stays apart.
    pub(super) fn subplan(&mut self, query: &ast::Query, env: &Env<'_>) -> Result<Bound> {
        let outer = std::mem::take(&mut self.collected);
        let bound = self.query(query, Some(env));
        let references = std::mem::take(&mut self.collected.references);
        self.collected = outer;
        self.collected.references.extend(references);
        bound
    }

    pub(super) fn subquery(&mut self, query: &ast::Query, kind: SubqueryKind, env: &Env<'_>) -> Result<Expr> {
        let bound = self.subplan(query, env)?;
        let ty = match kind {
            SubqueryKind::Exists | SubqueryKind::Quantified { .. } => SqlType::BOOL,
            SubqueryKind::Scalar | SubqueryKind::Array => {
                let [(_, ty)] = bound.plan.columns.as_slice() else {
                    let error = basalt_types::SqlError::new(
                        SqlState::SYNTAX_ERROR,
                        "subquery must return only one column",
                    );
                    return Err(match self.source.last_before(query.span().start, "(") {
                        Some(position) => error.at(position),
                        None => error,
                    });
                };
                if matches!(kind, SubqueryKind::Scalar) {
                    *ty
                } else {
                    let array = lookup::array_of(ty.oid).ok_or_else(|| {
                        self.error_at(
                            SqlState::UNDEFINED_OBJECT,
                            format!("could not find array type for data type {}", super::type_name(*ty)),
                            query.span(),
                        )
                    })?;
                    SqlType::new(array, ty.typmod)
                }
            }
        };
        Ok(self.subquery_expr(kind, bound, ty))
    }

    pub(super) fn subquery_expr(&mut self, kind: SubqueryKind, bound: Bound, ty: SqlType) -> Expr {
        let outer = crate::optimize::free_columns(&bound.plan);
        Expr::Subquery(Box::new(Subquery { kind, plan: Arc::new(bound.plan), outer, ty }))
    }
}
