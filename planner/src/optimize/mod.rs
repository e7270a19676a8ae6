//! Rewrites of bound plans. Each turns a plan into an equal one.

mod access;
mod conjuncts;
mod estimate;
mod fold;
mod joins;
mod order;
mod prune;
mod push;
mod same;
mod semijoin;
mod walk;

use std::sync::Arc;

pub use same::same;
pub(crate) use same::same_aggregate;
pub use walk::any as any_expr;
pub use walk::{children, children_mut, exprs, free_columns, has_volatile, inputs, is_volatile, reads_cte};
pub(crate) use walk::{columns_of, has_subquery, inputs_mut, replace_cte};

use crate::{Expr, Plan, PlanNode, bind::PlanSettings};

/// Makes a bound plan fast.
pub(crate) fn optimize(mut plan: Plan, settings: &PlanSettings<'_>) -> basalt_types::Result<Plan> {
    fold::fold_plan(&mut plan, settings.eval)?;
    let mut plan = rewrite(plan);
    prune::prune_root(&mut plan);
    Ok(plan)
}

/// Pushdown, joins, access paths and order, of this plan and of those in its subqueries.
fn rewrite(plan: Plan) -> Plan {
    let mut plan = push::push(filters_to_joins(plan), vec![]);
    order::arrange(&mut plan);
    order::resize(&mut plan);
    subqueries(&mut plan);
    plan
}

fn subqueries(plan: &mut Plan) {
    walk::exprs_mut(&mut plan.node, &mut subqueries_of);
    for input in inputs_mut(&mut plan.node) {
        subqueries(input);
    }
}

fn subqueries_of(expr: &mut Expr) {
    if let Expr::Subquery(subquery) = expr {
        let taken = std::mem::replace(Arc::make_mut(&mut subquery.plan), crate::bind::one_row());
        subquery.plan = Arc::new(rewrite(taken));
    }
    children_mut(expr, &mut subqueries_of);
}

/// EXISTS and IN conjuncts of a filter over anything become joins of what is below it.
fn filters_to_joins(mut plan: Plan) -> Plan {
    for input in inputs_mut(&mut plan.node) {
        let taken = std::mem::replace(input, crate::bind::one_row());
        *input = filters_to_joins(taken);
    }
    if let PlanNode::Filter { input, predicate } = plan.node {
        let mut parts = Vec::new();
        conjuncts::split(predicate, &mut parts);
        let (joins, rest) = semijoin::extract(&input, parts);
        let filtered = match conjuncts::all_of(rest) {
            Some(predicate) => crate::bind::filter(*input, predicate),
            None => *input,
        };
        return semijoin::canonical(filtered, joins);
    }
    plan
}
