//! EXISTS and IN subqueries as semi-joins and anti-joins.
//!
//! A conjunct `EXISTS (…)`, `NOT EXISTS (…)` or `x IN (…)` of a WHERE clause needs no value of its own, only which rows
//! pass; so it becomes a join when the subquery reads enclosing columns in its topmost filter only. `NOT IN` stays a
//! subquery, because a NULL on either side must hide the row.

use std::collections::BTreeMap;

use super::{
    conjuncts::{is_pinned, split, substitute},
    walk::{free_columns, has_volatile},
};
use crate::{
    ColumnId, Expr, Plan, PlanNode,
    expr::{Subquery, SubqueryKind},
    plan::JoinKind,
};

/// A join that takes the place of a conjunct.
pub(super) struct SemiJoin {
    kind: JoinKind,
    right: Plan,
    on: Vec<Expr>,
}

/// Takes the convertible conjuncts out of a list.
pub(super) fn extract(left: &Plan, conjuncts: Vec<Expr>) -> (Vec<SemiJoin>, Vec<Expr>) {
    let mut joins = Vec::new();
    let mut rest = Vec::with_capacity(conjuncts.len());
    for conjunct in conjuncts {
        let converted = match &conjunct {
            Expr::Subquery(subquery) => convert(left, subquery, false),
            Expr::Not(inner) => match inner.as_ref() {
                Expr::Subquery(subquery) if matches!(subquery.kind, SubqueryKind::Exists) => {
                    convert(left, subquery, true)
                }
                _ => None,
            },
            _ => None,
        };
        match converted {
            Some(join) => joins.push(join),
            None => rest.push(conjunct),
        }
    }
    (joins, rest)
}

/// The joins on top of `plan`, for later rewrites to push into.
pub(super) fn canonical(mut plan: Plan, joins: Vec<SemiJoin>) -> Plan {
    for join in joins {
        let columns = plan.columns.clone();
        let node = PlanNode::NestedLoop {
            kind: join.kind,
            left: Box::new(plan),
            right: Box::new(super::filters_to_joins(join.right)),
            on: super::conjuncts::all_of(join.on),
            lateral: false,
        };
        plan = Plan { node, columns, rows: 0.0, cost: 0.0 };
    }
    plan
}

fn convert(left: &Plan, subquery: &Subquery, negated: bool) -> Option<SemiJoin> {
    let kind = if negated { JoinKind::Anti } else { JoinKind::Semi };
    let local = |id: &ColumnId| left.columns.iter().any(|(own, _)| own == id);
    // Columns of queries further out are fine for neither side of a hash join; such subqueries stay.
    if !subquery.outer.iter().all(|(id, _)| local(id)) || has_volatile(&subquery.plan) {
        return None;
    }
    let mut on = Vec::new();
    let mut plan = subquery.plan.as_ref().clone();
    match &subquery.kind {
        SubqueryKind::Exists => {
            while let PlanNode::Project { input, .. } = plan.node {
                plan = *input;
            }
        }
        SubqueryKind::Quantified { all: false, comparison, .. } => {
            let mut condition = comparison.as_ref().clone();
            if is_pinned(&condition) {
                return None;
            }
            if let (PlanNode::Project { exprs, .. }, false) = (&plan.node, subquery.outer.is_empty()) {
                let map: BTreeMap<ColumnId, Expr> = exprs.iter().cloned().collect();
                if exprs.iter().any(|(_, expr)| is_pinned(expr)) || !substitute(&mut condition, &map) {
                    return None;
                }
                if let PlanNode::Project { input, .. } = plan.node {
                    plan = *input;
                }
            }
            split(condition, &mut on);
        }
        _ => return None,
    }
    // Conditions on enclosing columns move from the topmost filter to the join.
    if !free_columns(&plan).is_empty() {
        let PlanNode::Filter { input, predicate } = plan.node else { return None };
        let mut parts = Vec::new();
        split(predicate, &mut parts);
        let mut inner = Vec::new();
        for part in parts {
            let outer = super::conjuncts::columns(&part).iter().any(local);
            if !outer {
                inner.push(part);
            } else if is_pinned(&part) {
                return None;
            } else {
                on.push(part);
            }
        }
        plan = match super::conjuncts::all_of(inner) {
            Some(predicate) => crate::bind::filter(*input, predicate),
            None => *input,
        };
        if !free_columns(&plan).is_empty() {
            return None;
        }
    }
    Some(SemiJoin { kind, right: plan, on })
}
