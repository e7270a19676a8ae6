//! UNION, INTERSECT and EXCEPT.

use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{SetExpr, SetOperator, SetQuantifier, Spanned},
    tokenizer::Span,
};

use super::{Binder, Bound, plan, project, scope::Env};
use crate::{Expr, Plan, PlanNode, plan::SetOp, statement::Field};

impl Binder<'_> {
    pub(super) fn set_operation(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
        whole: &SetExpr,
        parent: Option<&Env<'_>>,
    ) -> Result<Bound> {
        let construct = match op {
            SetOperator::Union => "UNION",
            SetOperator::Intersect => "INTERSECT",
            SetOperator::Except => "EXCEPT",
            SetOperator::Minus => return Err(SqlError::not_supported("MINUS")),
        };
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return Err(SqlError::not_supported(format!("{construct} BY NAME"))),
        };
        let left_bound = self.set_expr(left, false, parent)?;
        let right_bound = self.set_expr(right, false, parent)?;
        let (left_types, right_types) = (types(&left_bound.plan), types(&right_bound.plan));
        if left_types.len() != right_types.len() {
            return Err(self.error_at(
                SqlState::SYNTAX_ERROR,
                format!("each {construct} query must have the same number of columns"),
                right_span(right),
            ));
        }
        let mut common = Vec::with_capacity(left_types.len());
        for (one, other) in left_types.iter().zip(&right_types) {
            common.push(self.common_type(&[*one, *other], &[whole.span(), right_span(right)], construct)?);
        }
        if !all || op != SetOperator::Union {
            for ty in &common {
                if basalt_functions::equality(ty.oid).is_none() {
                    return Err(SqlError::new(
                        SqlState::UNDEFINED_FUNCTION,
                        format!("could not identify an equality operator for type {}", super::type_name(*ty)),
                    ));
                }
            }
        }
        let fields = left_bound
            .fields
            .into_iter()
            .zip(&common)
            .map(|(field, ty)| Field { name: field.name, ty: *ty, table: Oid(0), attnum: 0 })
            .collect();
        let left_plan = self.convert_columns(left_bound.plan, &common, construct)?;
        let right_plan = self.convert_columns(right_bound.plan, &common, construct)?;
        let columns: Vec<_> = common.iter().map(|ty| (self.new_id(), *ty)).collect();
        let result = match op {
            SetOperator::Union => {
                let mut inputs = Vec::new();
                for side in [left_plan, right_plan] {
                    match side.node {
                        PlanNode::Append { inputs: inner } => inputs.extend(inner),
                        node => inputs.push(Plan { node, ..side }),
                    }
                }
                let append = plan(PlanNode::Append { inputs }, columns.clone());
                if all {
                    append
                } else {
                    plan(PlanNode::Distinct { input: Box::new(append), on: vec![] }, columns)
                }
            }
            _ => {
                let op = if op == SetOperator::Intersect { SetOp::Intersect } else { SetOp::Except };
                let node =
                    PlanNode::SetOp { op, all, left: Box::new(left_plan), right: Box::new(right_plan) };
                plan(node, columns)
            }
        };
        Ok(Bound { plan: result, fields })
    }

    /// `input` with its columns converted to `targets` by position.
    pub(super) fn convert_columns(
        &mut self,
        mut input: Plan,
        targets: &[SqlType],
        construct: &str,
    ) -> Result<Plan> {
        let differs = |(_, ty): &(crate::ColumnId, SqlType), target: &SqlType| ty.oid != target.oid;
        if !input.columns.iter().zip(targets).any(|(column, target)| differs(column, target)) {
            return Ok(input);
        }
        // Literals and parameters must be converted where they stand.
        match &mut input.node {
            PlanNode::Project { exprs, .. } => {
                let mut columns = Vec::with_capacity(exprs.len());
                for ((id, expr), target) in exprs.iter_mut().zip(targets) {
                    if expr.ty().oid != target.oid {
                        let taken = std::mem::replace(expr, super::expr_placeholder());
                        *expr = self.coerce_common(taken, *target, construct, Span::empty())?;
                        *id = self.new_id();
                    }
                    columns.push((*id, expr.ty()));
                }
                input.columns = columns;
                Ok(input)
            }
            PlanNode::Values { rows } => {
                for row in rows.iter_mut() {
                    for (expr, target) in row.iter_mut().zip(targets) {
                        let taken = std::mem::replace(expr, super::expr_placeholder());
                        *expr = self.coerce_common(taken, *target, construct, Span::empty())?;
                    }
                }
                for ((_, ty), target) in input.columns.iter_mut().zip(targets) {
                    *ty = target.bare();
                }
                Ok(input)
            }
            _ => {
                let mut exprs = Vec::with_capacity(targets.len());
                for ((id, ty), target) in input.columns.iter().zip(targets) {
                    let column = Expr::Column { id: *id, ty: *ty };
                    if ty.oid == target.oid {
                        exprs.push((*id, column));
                    } else {
                        let id = self.new_id();
                        exprs.push((id, self.coerce_common(column, *target, construct, Span::empty())?));
                    }
                }
                Ok(project(input, exprs))
            }
        }
    }
}

fn types(plan: &Plan) -> Vec<SqlType> {
    plan.columns.iter().map(|(_, ty)| *ty).collect()
}

/// The first output expression of a side.
fn right_span(side: &SetExpr) -> Span {
    match side {
        SetExpr::Select(select) => select.projection.first().map_or_else(Span::empty, Spanned::span),
        other => other.span(),
    }
}
