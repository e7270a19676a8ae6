//! Row constructors and their comparison, field by field.

use basalt_types::record_shape::record_type;
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::{
    ast::{self, BinaryOperator, Spanned},
    tokenizer::Span,
};

use super::{Binder, expr::operator_name, scope::Env};
use crate::Expr;

/// The fields of `(a, b)` or `ROW(a, b)`.
fn fields(expr: &ast::Expr) -> Option<Vec<&ast::Expr>> {
    match expr {
        ast::Expr::Tuple(items) => Some(items.iter().collect()),
        ast::Expr::Nested(inner) => fields(inner),
        ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            let ast::FunctionArguments::List(list) = &function.args else { return None };
            list.args
                .iter()
                .map(|arg| match arg {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect()
        }
        _ => None,
    }
}

/// A row whose fields have no names of their own.
pub(super) fn row_of(fields: Vec<Expr>) -> Expr {
    let shape = fields.iter().enumerate().map(|(index, field)| (format!("f{}", index + 1), field.ty()));
    let ty = record_type(shape.collect());
    Expr::Row { fields, ty }
}

impl Binder<'_> {
    pub(super) fn row(&mut self, items: &[ast::Expr], env: &Env<'_>) -> Result<Expr> {
        let mut fields = Vec::with_capacity(items.len());
        for item in items {
            let bound = self.expr(item, env)?;
            fields.push(self.settle_unknown(bound)?);
        }
        Ok(row_of(fields))
    }

    /// A comparison of two row constructors; `None` when neither side is one.
    pub(super) fn row_comparison(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Option<Expr>> {
        let (Some(lefts), Some(rights)) = (fields(left), fields(right)) else { return Ok(None) };
        if matches!(op, BinaryOperator::Overlaps) {
            return self.overlaps(&lefts, &rights, left.span(), env).map(Some);
        }
        if lefts.len() != rights.len() {
            return Err(self.error_after(
                SqlState::SYNTAX_ERROR,
                "unequal number of entries in row expressions",
                left.span(),
            ));
        }
        if lefts.is_empty() {
            return Err(self.at(SqlError::not_supported("a comparison of rows of zero length"), left.span()));
        }
        let mut pairs = Vec::with_capacity(lefts.len());
        for (left, right) in lefts.into_iter().zip(rights) {
            pairs.push((self.expr(left, env)?, self.expr(right, env)?, left.span(), right.span()));
        }
        let name = operator_name(op)?;
        let mut each = |operator: &str| -> Result<Vec<Expr>> {
            pairs
                .iter()
                .map(|(left, right, left_span, right_span)| {
                    self.binary(operator, left.clone(), right.clone(), *left_span, *right_span)
                })
                .collect()
        };
        Ok(Some(match name.as_str() {
            "=" => conjunction(each("=")?),
            "<>" => disjunction(each("<>")?),
            "<" | "<=" | ">" | ">=" => {
                let strict = each(&name[..1])?;
                let equal = each("=")?;
                let last = each(&name)?.pop().ok_or_else(|| SqlError::internal("a row without fields"))?;
                lexicographic(strict, equal, last)
            }
            other => {
                return Err(
                    self.at(SqlError::not_supported(format!("a row comparison by {other}")), left.span())
                );
            }
        }))
    }
}

impl Binder<'_> {
    /// `(start, end) OVERLAPS (start, end)` is a call of a function of four arguments.
    fn overlaps(
        &mut self,
        lefts: &[&ast::Expr],
        rights: &[&ast::Expr],
        span: Span,
        env: &Env<'_>,
    ) -> Result<Expr> {
        for (side, items) in [("left", lefts), ("right", rights)] {
            if items.len() != 2 {
                let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
                return Err(self.error_at(SqlState::SYNTAX_ERROR, message, span));
            }
        }
        let mut args = Vec::with_capacity(4);
        for item in lefts.iter().chain(rights) {
            args.push((self.expr(item, env)?, item.span()));
        }
        self.call_function("overlaps", args, span)
    }
}

pub(crate) fn conjunction(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 { parts.remove(0) } else { Expr::And(parts) }
}

fn disjunction(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 { parts.remove(0) } else { Expr::Or(parts) }
}

/// `a < x OR (a = x AND (b < y OR …))`.
fn lexicographic(strict: Vec<Expr>, equal: Vec<Expr>, last: Expr) -> Expr {
    let count = strict.len();
    let mut result = last;
    for (less, same) in strict.into_iter().zip(equal).take(count - 1).rev() {
        result = Expr::Or(vec![less, Expr::And(vec![same, result])]);
    }
    result
}
