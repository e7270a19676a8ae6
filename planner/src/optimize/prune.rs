//! Projection pruning: scans read, and joins carry, only the columns that something above uses.

use std::{collections::BTreeSet, sync::Arc};

use super::walk::{children_mut, columns_of, exprs, exprs_mut, has_volatile, inputs_mut, is_volatile};
use crate::{ColumnId, Expr, Plan, PlanNode, expr::SubqueryKind, plan::JoinKind};

type Ids = BTreeSet<ColumnId>;

fn all(plan: &Plan) -> Ids {
    plan.columns.iter().map(|(id, _)| *id).collect()
}

/// Prunes a plan all of whose columns are used.
pub(super) fn prune_root(plan: &mut Plan) {
    let needed = all(plan);
    prune(plan, &needed);
}

fn subplans(expr: &mut Expr) {
    if let Expr::Subquery(subquery) = expr {
        let plan = Arc::make_mut(&mut subquery.plan);
        if matches!(subquery.kind, SubqueryKind::Exists) && !has_volatile(plan) {
            prune(plan, &Ids::new());
        } else {
            prune_root(plan);
        }
    }
    children_mut(expr, &mut subplans);
}

fn prune(plan: &mut Plan, needed: &Ids) {
    exprs_mut(&mut plan.node, &mut subplans);
    // What the node's own expressions read comes on top of what is read above.
    if let PlanNode::Project { exprs, .. } = &mut plan.node {
        exprs.retain(|(id, expr)| needed.contains(id) || is_volatile(expr));
        plan.columns.retain(|(id, _)| exprs.iter().any(|(kept, _)| kept == id));
    }
    if let PlanNode::Aggregate(aggregate) = &mut plan.node {
        // Without groups one call stays, so that the one row has a column.
        let keep = aggregate.aggregates.first().map(|(id, _)| *id).filter(|_| aggregate.groups.is_empty());
        aggregate.aggregates.retain(|(id, _)| needed.contains(id) || keep == Some(*id));
        let groups: Ids = aggregate.groups.iter().map(|(id, _)| *id).collect();
        plan.columns.retain(|(id, _)| {
            groups.contains(id)
                || aggregate.aggregates.iter().any(|(kept, _)| kept == id)
                || aggregate.groupings.iter().any(|(kept, _)| kept == id)
        });
    }
    let mut read: Vec<ColumnId> = Vec::new();
    exprs(&plan.node, &mut |expr| columns_of(expr, &mut read));
    let own: Ids = read.into_iter().collect();
    let through: Ids = needed.union(&own).copied().collect();
    match &mut plan.node {
        PlanNode::Scan(scan) => {
            scan.columns.retain(|(id, _)| through.contains(id));
            plan.columns.retain(|(id, _)| through.contains(id));
        }
        PlanNode::VirtualScan { columns, .. } => {
            columns.retain(|(id, _)| through.contains(id));
            plan.columns.retain(|(id, _)| through.contains(id));
        }
        PlanNode::LookupJoin { left, scan, .. } => {
            scan.columns.retain(|(id, _)| through.contains(id));
            prune(left, &through);
            plan.columns = left.columns.clone();
            for (id, position) in &scan.columns {
                plan.columns.push((*id, scan.table.columns[*position].ty));
            }
        }
        PlanNode::Project { input, .. } => prune(input, &own),
        PlanNode::Aggregate(aggregate) => prune(&mut aggregate.input, &own),
        PlanNode::Filter { input, .. }
        | PlanNode::Sort { input, .. }
        | PlanNode::Limit { input, .. }
        | PlanNode::LockRows { input, .. } => {
            prune(input, &through);
            plan.columns = input.columns.clone();
        }
        PlanNode::Distinct { input, on } => {
            // Without ON, every column takes part.
            if on.is_empty() {
                let whole = all(input);
                prune(input, &whole);
            } else {
                prune(input, &through);
            }
            plan.columns = input.columns.clone();
        }
        PlanNode::ProjectSet { input, calls } => {
            prune(input, &through);
            plan.columns = input.columns.clone();
            plan.columns.extend(calls.iter().map(|(id, call)| (*id, call.ty)));
        }
        PlanNode::Window { input, calls } => {
            prune(input, &through);
            plan.columns = input.columns.clone();
            plan.columns.extend(calls.iter().map(|(id, call)| (*id, call.aggregate.ty)));
        }
        PlanNode::NestedLoop { kind, left, right, .. } | PlanNode::HashJoin { kind, left, right, .. } => {
            // The right side of a lateral join reads left columns.
            let mut lateral = through.clone();
            lateral.extend(super::walk::free_columns(right).into_iter().map(|(id, _)| id));
            prune(left, &lateral);
            prune(right, &through);
            plan.columns = left.columns.clone();
            if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
                plan.columns.extend(right.columns.iter().copied());
            }
        }
        PlanNode::Append { inputs } => {
            for input in inputs.iter_mut() {
                let whole = all(input);
                prune(input, &whole);
            }
        }
        PlanNode::With { definition, body, .. } => {
            prune_root(definition);
            prune(body, &through);
            plan.columns = body.columns.clone();
        }
        PlanNode::Update(update) => {
            let mut source: Ids = own;
            source.extend(update.old.iter().copied());
            prune(&mut update.source, &source);
        }
        PlanNode::Delete(delete) => {
            let mut source: Ids = own;
            source.extend(delete.old.iter().copied());
            prune(&mut delete.source, &source);
        }
        other => {
            for input in inputs_mut(other) {
                prune_root(input);
            }
        }
    }
}
