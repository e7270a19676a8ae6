//! Sort keys, and what ORDER BY, GROUP BY and DISTINCT ON items refer to.

use basalt_types::{Result, SqlState};
use sqlparser::{
    ast::{self, OrderByOptions, Spanned},
    tokenizer::Span,
};

use super::{Binder, names::fold, scope::Env, select::Target};
use crate::{Expr, plan::SortKey};

impl Binder<'_> {
    pub(crate) fn sort_key(&self, expr: Expr, options: &OrderByOptions, span: Span) -> Result<SortKey> {
        if basalt_functions::less_than(expr.ty().oid).is_none() {
            return Err(self.no_ordering(expr.ty(), span));
        }
        let descending = options.asc == Some(false);
        Ok(SortKey { expr, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
    }

    /// An output column named or counted by `expr`: by position, or by name when `by_name`.
    pub(super) fn output_reference(
        &self,
        expr: &ast::Expr,
        targets: &[Target],
        visible: usize,
        clause: &str,
        by_name: bool,
    ) -> Result<Option<usize>> {
        match expr {
            ast::Expr::Nested(_) => Ok(None),
            ast::Expr::Identifier(ident) if by_name => {
                let name = fold(ident);
                let mut found: Option<usize> = None;
                for (index, target) in targets[..visible].iter().enumerate() {
                    if target.name != name {
                        continue;
                    }
                    match found {
                        Some(first) if !super::group::same(&targets[first].expr, &target.expr) => {
                            return Err(self.error_at(
                                SqlState::AMBIGUOUS_COLUMN,
                                format!("{clause} \"{name}\" is ambiguous"),
                                ident.span,
                            ));
                        }
                        Some(_) => {}
                        None => found = Some(index),
                    }
                }
                Ok(found)
            }
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Number(text, _) if text.parse::<i32>().is_ok() => {
                    let position: i64 = text.parse().unwrap_or(0);
                    let index = usize::try_from(position - 1).ok().filter(|index| *index < visible);
                    index.map(Some).ok_or_else(|| {
                        self.error_at(
                            SqlState::INVALID_COLUMN_REFERENCE,
                            format!("{clause} position {position} is not in select list"),
                            value.span,
                        )
                    })
                }
                ast::Value::Placeholder(_) | ast::Value::Null => Ok(None),
                _ => Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    format!("non-integer constant in {clause}"),
                    value.span,
                )),
            },
            _ => Ok(None),
        }
    }

    /// The position of an ORDER BY or DISTINCT ON item among the targets; a new hidden target when it is none of them.
    pub(super) fn sort_target(
        &mut self,
        expr: &ast::Expr,
        targets: &mut Vec<Target>,
        visible: usize,
        clause: &str,
        env: &Env<'_>,
    ) -> Result<usize> {
        if let Some(index) = self.output_reference(expr, targets, visible, clause, true)? {
            return Ok(index);
        }
        let bound = self.expr(expr, env)?;
        let bound = self.settle_unknown(bound)?;
        if let Some(index) = targets.iter().position(|target| super::group::same(&target.expr, &bound)) {
            return Ok(index);
        }
        targets.push(Target {
            name: String::new(),
            expr: bound,
            origin: (basalt_types::Oid(0), 0),
            span: expr.span(),
        });
        Ok(targets.len() - 1)
    }
}
