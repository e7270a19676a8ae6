//! Subqueries in a node's expressions.

use std::{collections::BTreeMap, sync::Arc};

use basalt_planner::{
    Expr, Plan, PlanNode, children,
    expr::{CallExpr, Subquery, SubqueryKind},
    exprs, has_volatile,
};
use datafusion::{logical_expr::Operator as DfOperator, physical_plan::ExecutionPlanProperties};

use super::{Failure, PlanBuilder, builder::Operator};
use crate::{
    expression::{native::operator_of, translator::used_columns},
    kind::{Kind, columns_of},
    relation::operator::OperatorExec,
    source::properties::partitioned,
    subquery::{OnceSubquery, Prepare, Wanted},
};

/// The subqueries of a node that run once, by the address of their plan (which lives as long as the node's).
pub type Subqueries = BTreeMap<usize, Arc<OnceSubquery>>;

pub fn address(subquery: &Subquery) -> usize {
    Arc::as_ptr(&subquery.plan) as usize
}

/// `left = ANY (subquery)` or `left <> ALL (subquery)`: both sides, and whether it is negated.
pub struct Membership<'a> {
    pub outer: &'a Expr,
    pub inner: &'a Expr,
    pub negated: bool,
}

/// The subquery as a membership, if it is one of a single key.
pub fn membership(subquery: &Subquery) -> Option<Membership<'_>> {
    let SubqueryKind::Quantified { all, comparison, columns } = &subquery.kind else { return None };
    let Expr::Call(call) = &**comparison else { return None };
    let CallExpr { function, args, .. } = &**call;
    let negated = match (operator_of(function)?, all) {
        (DfOperator::Eq, false) => false,
        (DfOperator::NotEq, true) => true,
        _ => return None,
    };
    let [left, right] = &args[..] else { return None };
    let reads_inner = |expr: &Expr| used_columns(expr).iter().any(|id| columns.contains(id));
    let (outer, inner) = match (reads_inner(left), reads_inner(right)) {
        (false, true) => (left, right),
        (true, false) => (right, left),
        _ => return None,
    };
    let kinds = (Kind::of(outer.ty())?, Kind::of(inner.ty())?);
    (kinds.0 == kinds.1 && kinds.0 != Kind::Stored).then_some(Membership { outer, inner, negated })
}

fn collect<'e>(expr: &'e Expr, found: &mut Vec<&'e Subquery>) {
    if let Expr::Subquery(subquery) = expr {
        found.push(subquery);
    }
    children(expr, &mut |child| collect(child, found));
}

impl PlanBuilder {
    /// Builds the node's subqueries that refer to no outer row. Others stay unknown to the translator, which refuses.
    pub(super) async fn subqueries(&mut self, plan: &Plan) -> Result<(), Failure> {
        let mut found = Vec::new();
        match &plan.node {
            // Its bounds are evaluated before it is opened.
            PlanNode::Scan(scan) => scan.filter.iter().for_each(|filter| collect(filter, &mut found)),
            node => exprs(node, &mut |expr| collect(expr, &mut found)),
        }
        let mut wanted = Vec::new();
        for subquery in found {
            if !subquery.outer.is_empty() || has_volatile(&subquery.plan) {
                continue;
            }
            match self.subquery(subquery).await {
                Ok(Some(once)) => {
                    self.known.insert(address(subquery), once.clone());
                    wanted.push(once);
                }
                Ok(None) | Err(Failure::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.wanted = wanted;
        Ok(())
    }

    async fn subquery(&mut self, subquery: &Subquery) -> Result<Option<Arc<OnceSubquery>>, Failure> {
        let columns = columns_of(&subquery.plan.columns)?;
        let wanted = match &subquery.kind {
            SubqueryKind::Quantified { .. } => {
                let Some(membership) = membership(subquery) else { return Ok(None) };
                Wanted::Keys(self.translator(&columns).translate(membership.inner)?.key()?)
            }
            SubqueryKind::Exists => Wanted::Value { kind: subquery.kind.clone(), ty: subquery.ty },
            SubqueryKind::Scalar | SubqueryKind::Array if columns.len() == 1 => {
                Kind::of(subquery.ty).ok_or(subquery.ty)?;
                Wanted::Value { kind: subquery.kind.clone(), ty: subquery.ty }
            }
            _ => return Ok(None),
        };
        let operator = self.build(&subquery.plan).await?;
        Ok(Some(Arc::new(OnceSubquery::new(operator, columns, wanted))))
    }

    /// The operator below those expressions.
    pub(super) fn prepared(&self, operator: Operator, wanted: Vec<Arc<OnceSubquery>>) -> Operator {
        if wanted.is_empty() {
            return operator;
        }
        let partitions = operator.output_partitioning().partition_count();
        let properties = partitioned(operator.schema(), partitions);
        OperatorExec::plan(Prepare { subqueries: wanted.into() }, vec![operator], properties)
    }
}
