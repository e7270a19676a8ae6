//! Traversal of expressions and plans: every rewrite is built on these few functions.

use std::{collections::BTreeSet, sync::Arc};

use basalt_functions::Volatility;
use basalt_types::SqlType;

use crate::{
    ColumnId, Expr, Plan, PlanNode,
    expr::{AggregateCall, CallExpr, SubqueryKind},
    plan::{Access, FrameBound, KeyPart, Scan, SortKey, WindowCall},
};

/// Calls `f` on each direct operand. A subquery's plan is not entered.
pub fn children_mut(expr: &mut Expr, f: &mut dyn FnMut(&mut Expr)) {
    match expr {
        Expr::Literal { .. } | Expr::Column { .. } | Expr::Param { .. } => {}
        Expr::Call(call) => call.args.iter_mut().for_each(f),
        Expr::Cast { input, .. }
        | Expr::Coerce { input, .. }
        | Expr::Not(input)
        | Expr::IsNull { input, .. }
        | Expr::BoolTest { input, .. } => f(input),
        Expr::And(list)
        | Expr::Or(list)
        | Expr::Coalesce { args: list, .. }
        | Expr::MinMax { args: list, .. } => {
            list.iter_mut().for_each(f);
        }
        Expr::Array { elements: list, .. } | Expr::Row { fields: list, .. } => list.iter_mut().for_each(f),
        Expr::IsDistinct { left, right, .. } | Expr::NullIf { left, right, .. } => {
            f(left);
            f(right);
        }
        Expr::Case { branches, otherwise, .. } => {
            for (condition, result) in branches {
                f(condition);
                f(result);
            }
            if let Some(otherwise) = otherwise {
                f(otherwise);
            }
        }
        Expr::InList { input, list, .. } => {
            f(input);
            list.iter_mut().for_each(f);
        }
        Expr::ArrayOp { input, array, .. } => {
            f(input);
            f(array);
        }
        Expr::Subscript { array, indexes, .. } => {
            f(array);
            indexes.iter_mut().for_each(f);
        }
        Expr::Subquery(subquery) => {
            if let SubqueryKind::Quantified { comparison, .. } = &mut subquery.kind {
                f(comparison);
            }
        }
    }
}

/// Calls `f` on each direct operand.
pub fn children<'e>(expr: &'e Expr, f: &mut dyn FnMut(&'e Expr)) {
    match expr {
        Expr::Literal { .. } | Expr::Column { .. } | Expr::Param { .. } => {}
        Expr::Call(call) => call.args.iter().for_each(f),
        Expr::Cast { input, .. }
        | Expr::Coerce { input, .. }
        | Expr::Not(input)
        | Expr::IsNull { input, .. }
        | Expr::BoolTest { input, .. } => f(input),
        Expr::And(list)
        | Expr::Or(list)
        | Expr::Coalesce { args: list, .. }
        | Expr::MinMax { args: list, .. } => {
            list.iter().for_each(f);
        }
        Expr::Array { elements: list, .. } | Expr::Row { fields: list, .. } => list.iter().for_each(f),
        Expr::IsDistinct { left, right, .. } | Expr::NullIf { left, right, .. } => {
            f(left);
            f(right);
        }
        Expr::Case { branches, otherwise, .. } => {
            for (condition, result) in branches {
                f(condition);
                f(result);
            }
            if let Some(otherwise) = otherwise {
                f(otherwise);
            }
        }
        Expr::InList { input, list, .. } => {
            f(input);
            list.iter().for_each(f);
        }
        Expr::ArrayOp { input, array, .. } => {
            f(input);
            f(array);
        }
        Expr::Subscript { array, indexes, .. } => {
            f(array);
            indexes.iter().for_each(f);
        }
        Expr::Subquery(subquery) => {
            if let SubqueryKind::Quantified { comparison, .. } = &subquery.kind {
                f(comparison);
            }
        }
    }
}

/// Every column an expression reads, those of its subqueries' surroundings included; the columns that a subquery
/// makes itself are not.
pub(crate) fn columns_of(expr: &Expr, into: &mut Vec<ColumnId>) {
    match expr {
        Expr::Column { id, .. } => into.push(*id),
        Expr::Subquery(subquery) => {
            into.extend(subquery.outer.iter().map(|(id, _)| *id));
            if let SubqueryKind::Quantified { comparison, columns, .. } = &subquery.kind {
                let mut inner = Vec::new();
                columns_of(comparison, &mut inner);
                into.extend(inner.into_iter().filter(|id| !columns.contains(id)));
            }
        }
        other => children(other, &mut |child| columns_of(child, into)),
    }
}

fn typed_columns(expr: &Expr, into: &mut Vec<(ColumnId, SqlType)>) {
    match expr {
        Expr::Column { id, ty } => into.push((*id, *ty)),
        Expr::Subquery(subquery) => {
            into.extend(subquery.outer.iter().copied());
            if let SubqueryKind::Quantified { comparison, columns, .. } = &subquery.kind {
                let mut inner = Vec::new();
                typed_columns(comparison, &mut inner);
                into.extend(inner.into_iter().filter(|(id, _)| !columns.contains(id)));
            }
        }
        other => children(other, &mut |child| typed_columns(child, into)),
    }
}

/// Whether any part satisfies `test`.
pub fn any<'e>(expr: &'e Expr, test: &mut dyn FnMut(&'e Expr) -> bool) -> bool {
    if test(expr) {
        return true;
    }
    let mut found = false;
    children(expr, &mut |child| found = found || any(child, test));
    found
}

/// Calls a volatile function, or holds a subquery that does.
pub fn is_volatile(expr: &Expr) -> bool {
    any(expr, &mut |part| match part {
        Expr::Call(call) => call.function.volatility == Volatility::Volatile,
        Expr::Subquery(subquery) => has_volatile(&subquery.plan),
        _ => false,
    })
}

pub(crate) fn has_subquery(expr: &Expr) -> bool {
    any(expr, &mut |part| matches!(part, Expr::Subquery(_)))
}

/// The input plans of a node.
pub(crate) fn inputs_mut(node: &mut PlanNode) -> Vec<&mut Plan> {
    match node {
        PlanNode::Values { .. }
        | PlanNode::Scan(_)
        | PlanNode::VirtualScan { .. }
        | PlanNode::FunctionScan { .. }
        | PlanNode::CteScan { .. } => vec![],
        PlanNode::Filter { input, .. }
        | PlanNode::Project { input, .. }
        | PlanNode::ProjectSet { input, .. }
        | PlanNode::Window { input, .. }
        | PlanNode::Sort { input, .. }
        | PlanNode::Limit { input, .. }
        | PlanNode::Distinct { input, .. }
        | PlanNode::LockRows { input, .. }
        | PlanNode::LookupJoin { left: input, .. } => vec![input],
        PlanNode::NestedLoop { left, right, .. }
        | PlanNode::HashJoin { left, right, .. }
        | PlanNode::SetOp { left, right, .. } => vec![left, right],
        PlanNode::With { definition, body, .. } => vec![definition, body],
        PlanNode::RecursiveUnion { base, step, .. } => vec![base, step],
        PlanNode::Append { inputs } => inputs.iter_mut().collect(),
        PlanNode::Aggregate(aggregate) => vec![&mut aggregate.input],
        PlanNode::Insert(insert) => vec![&mut insert.source],
        PlanNode::Update(update) => vec![&mut update.source],
        PlanNode::Delete(delete) => vec![&mut delete.source],
    }
}

/// The input plans of a node.
pub fn inputs(node: &PlanNode) -> Vec<&Plan> {
    match node {
        PlanNode::Values { .. }
        | PlanNode::Scan(_)
        | PlanNode::VirtualScan { .. }
        | PlanNode::FunctionScan { .. }
        | PlanNode::CteScan { .. } => vec![],
        PlanNode::Filter { input, .. }
        | PlanNode::Project { input, .. }
        | PlanNode::ProjectSet { input, .. }
        | PlanNode::Window { input, .. }
        | PlanNode::Sort { input, .. }
        | PlanNode::Limit { input, .. }
        | PlanNode::Distinct { input, .. }
        | PlanNode::LockRows { input, .. }
        | PlanNode::LookupJoin { left: input, .. } => vec![input],
        PlanNode::NestedLoop { left, right, .. }
        | PlanNode::HashJoin { left, right, .. }
        | PlanNode::SetOp { left, right, .. } => vec![left, right],
        PlanNode::With { definition, body, .. } => vec![definition, body],
        PlanNode::RecursiveUnion { base, step, .. } => vec![base, step],
        PlanNode::Append { inputs } => inputs.iter().collect(),
        PlanNode::Aggregate(aggregate) => vec![&aggregate.input],
        PlanNode::Insert(insert) => vec![&insert.source],
        PlanNode::Update(update) => vec![&update.source],
        PlanNode::Delete(delete) => vec![&delete.source],
    }
}

fn access_exprs<'e>(access: &'e mut Access, f: &mut dyn FnMut(&'e mut Expr)) {
    for part in &mut access.prefix {
        match part {
            KeyPart::Equal(expr) | KeyPart::Any(expr) => f(expr),
            KeyPart::In(list) => list.iter_mut().for_each(&mut *f),
            KeyPart::IsNull => {}
        }
    }
    for (expr, _) in access.lower.iter_mut().chain(&mut access.upper) {
        f(expr);
    }
}

fn scan_exprs(scan: &mut Scan, f: &mut dyn FnMut(&mut Expr)) {
    access_exprs(&mut scan.access, &mut |expr| f(expr));
    scan.filter.iter_mut().chain(&mut scan.limit).for_each(f);
}

fn sort_exprs(keys: &mut [SortKey], f: &mut dyn FnMut(&mut Expr)) {
    keys.iter_mut().for_each(|key| f(&mut key.expr));
}

fn aggregate_exprs(call: &mut AggregateCall, f: &mut dyn FnMut(&mut Expr)) {
    call.args.iter_mut().chain(&mut call.filter).for_each(&mut *f);
    sort_exprs(&mut call.order_by, f);
}

fn window_exprs(call: &mut WindowCall, f: &mut dyn FnMut(&mut Expr)) {
    aggregate_exprs(&mut call.aggregate, f);
    call.partition_by.iter_mut().for_each(&mut *f);
    sort_exprs(&mut call.order_by, f);
    for bound in [&mut call.frame.start, &mut call.frame.end] {
        if let FrameBound::Preceding(expr) | FrameBound::Following(expr) = bound {
            f(expr);
        }
    }
}

fn call_exprs(call: &mut CallExpr, f: &mut dyn FnMut(&mut Expr)) {
    call.args.iter_mut().for_each(f);
}

/// Calls `f` on every expression that a node holds itself.
pub(crate) fn exprs_mut(node: &mut PlanNode, f: &mut dyn FnMut(&mut Expr)) {
    match node {
        PlanNode::Values { rows } => rows.iter_mut().flatten().for_each(f),
        PlanNode::Scan(scan) => scan_exprs(scan, f),
        PlanNode::VirtualScan { filter, .. } => filter.iter_mut().for_each(f),
        PlanNode::FunctionScan { call, .. } => call_exprs(call, f),
        PlanNode::Filter { predicate, .. } => f(predicate),
        PlanNode::Project { exprs, .. } => exprs.iter_mut().for_each(|(_, expr)| f(expr)),
        PlanNode::ProjectSet { calls, .. } => calls.iter_mut().for_each(|(_, call)| call_exprs(call, f)),
        PlanNode::NestedLoop { on, .. } => on.iter_mut().for_each(f),
        PlanNode::HashJoin { keys, residual, .. } => {
            for key in keys {
                f(&mut key.left);
                f(&mut key.right);
            }
            residual.iter_mut().for_each(f);
        }
        PlanNode::LookupJoin { scan, residual, .. } => {
            scan_exprs(scan, f);
            residual.iter_mut().for_each(f);
        }
        PlanNode::Aggregate(aggregate) => {
            aggregate.groups.iter_mut().for_each(|(_, expr)| f(expr));
            aggregate.aggregates.iter_mut().for_each(|(_, call)| aggregate_exprs(call, f));
        }
        PlanNode::Window { calls, .. } => calls.iter_mut().for_each(|(_, call)| window_exprs(call, f)),
        PlanNode::Sort { keys, top, .. } => {
            sort_exprs(keys, f);
            top.iter_mut().for_each(f);
        }
        PlanNode::Limit { limit, offset, .. } => limit.iter_mut().chain(offset).for_each(f),
        PlanNode::Distinct { on, .. } => on.iter_mut().for_each(f),
        PlanNode::Append { .. }
        | PlanNode::SetOp { .. }
        | PlanNode::With { .. }
        | PlanNode::CteScan { .. }
        | PlanNode::RecursiveUnion { .. }
        | PlanNode::LockRows { .. } => {}
        PlanNode::Insert(insert) => {
            insert.checks.iter_mut().for_each(|check| f(&mut check.expr));
            insert.returning.iter_mut().for_each(|(_, expr)| f(expr));
            if let Some(conflict) = &mut insert.on_conflict {
                conflict.filter.iter_mut().for_each(&mut *f);
                conflict.update.iter_mut().flatten().for_each(|(_, expr)| f(expr));
            }
        }
        PlanNode::Update(update) => {
            update.checks.iter_mut().for_each(|check| f(&mut check.expr));
            update.assignments.iter_mut().for_each(|(_, expr)| f(expr));
            update.returning.iter_mut().for_each(|(_, expr)| f(expr));
        }
        PlanNode::Delete(delete) => delete.returning.iter_mut().for_each(|(_, expr)| f(expr)),
    }
}

fn call_parts<'p>(call: &'p AggregateCall, f: &mut dyn FnMut(&'p Expr)) {
    call.args.iter().chain(&call.filter).for_each(&mut *f);
    call.order_by.iter().for_each(|key| f(&key.expr));
}

fn scan_parts<'p>(scan: &'p Scan, f: &mut dyn FnMut(&'p Expr)) {
    for part in &scan.access.prefix {
        match part {
            KeyPart::Equal(expr) | KeyPart::Any(expr) => f(expr),
            KeyPart::In(list) => list.iter().for_each(&mut *f),
            KeyPart::IsNull => {}
        }
    }
    scan.access.lower.iter().chain(&scan.access.upper).for_each(|(expr, _)| f(expr));
    scan.filter.iter().chain(&scan.limit).for_each(f);
}

/// Calls `f` on every expression that a node holds itself.
pub fn exprs<'p>(node: &'p PlanNode, f: &mut dyn FnMut(&'p Expr)) {
    match node {
        PlanNode::Values { rows } => rows.iter().flatten().for_each(f),
        PlanNode::Scan(scan) => scan_parts(scan, f),
        PlanNode::VirtualScan { filter, .. } => filter.iter().for_each(f),
        PlanNode::FunctionScan { call, .. } => call.args.iter().for_each(f),
        PlanNode::Filter { predicate, .. } => f(predicate),
        PlanNode::Project { exprs, .. } => exprs.iter().for_each(|(_, expr)| f(expr)),
        PlanNode::ProjectSet { calls, .. } => calls.iter().flat_map(|(_, call)| &call.args).for_each(f),
        PlanNode::NestedLoop { on, .. } => on.iter().for_each(f),
        PlanNode::HashJoin { keys, residual, .. } => {
            for key in keys {
                f(&key.left);
                f(&key.right);
            }
            residual.iter().for_each(f);
        }
        PlanNode::LookupJoin { scan, residual, .. } => {
            scan_parts(scan, f);
            residual.iter().for_each(f);
        }
        PlanNode::Aggregate(aggregate) => {
            aggregate.groups.iter().for_each(|(_, expr)| f(expr));
            aggregate.aggregates.iter().for_each(|(_, aggregate)| call_parts(aggregate, f));
        }
        PlanNode::Window { calls, .. } => {
            for (_, window) in calls {
                call_parts(&window.aggregate, f);
                window.partition_by.iter().for_each(&mut *f);
                window.order_by.iter().for_each(|key| f(&key.expr));
                for bound in [&window.frame.start, &window.frame.end] {
                    if let FrameBound::Preceding(expr) | FrameBound::Following(expr) = bound {
                        f(expr);
                    }
                }
            }
        }
        PlanNode::Sort { keys, top, .. } => {
            keys.iter().for_each(|key| f(&key.expr));
            top.iter().for_each(f);
        }
        PlanNode::Limit { limit, offset, .. } => limit.iter().chain(offset).for_each(f),
        PlanNode::Distinct { on, .. } => on.iter().for_each(f),
        PlanNode::Append { .. }
        | PlanNode::SetOp { .. }
        | PlanNode::With { .. }
        | PlanNode::CteScan { .. }
        | PlanNode::RecursiveUnion { .. }
        | PlanNode::LockRows { .. } => {}
        PlanNode::Insert(insert) => {
            insert.checks.iter().for_each(|check| f(&check.expr));
            insert.returning.iter().for_each(|(_, expr)| f(expr));
            if let Some(conflict) = &insert.on_conflict {
                conflict.filter.iter().for_each(&mut *f);
                conflict.update.iter().flatten().for_each(|(_, expr)| f(expr));
            }
        }
        PlanNode::Update(update) => {
            update.checks.iter().for_each(|check| f(&check.expr));
            update.assignments.iter().for_each(|(_, expr)| f(expr));
            update.returning.iter().for_each(|(_, expr)| f(expr));
        }
        PlanNode::Delete(delete) => delete.returning.iter().for_each(|(_, expr)| f(expr)),
    }
}

/// Columns that a plan reads but does not make: those of enclosing queries.
pub fn free_columns(plan: &Plan) -> Vec<(ColumnId, SqlType)> {
    let mut made = BTreeSet::new();
    let mut read = Vec::new();
    collect(plan, &mut made, &mut read);
    let mut seen = BTreeSet::new();
    read.retain(|(id, _)| !made.contains(id) && seen.insert(*id));
    read
}

fn collect(plan: &Plan, made: &mut BTreeSet<ColumnId>, read: &mut Vec<(ColumnId, SqlType)>) {
    // A projection may pass a column of an enclosing query on under its own id: it reads it all the same.
    match &plan.node {
        PlanNode::Project { exprs, .. } => made.extend(
            exprs
                .iter()
                .filter(|(id, expr)| !matches!(expr, Expr::Column { id: same, .. } if same == id))
                .map(|(id, _)| *id),
        ),
        PlanNode::Aggregate(aggregate) => {
            made.extend(
                aggregate
                    .groups
                    .iter()
                    .filter(|(id, expr)| !matches!(expr, Expr::Column { id: same, .. } if same == id))
                    .map(|(id, _)| *id),
            );
            made.extend(aggregate.aggregates.iter().map(|(id, _)| *id));
            made.extend(aggregate.groupings.iter().map(|(id, _)| *id));
        }
        PlanNode::Window { calls, .. } => made.extend(calls.iter().map(|(id, _)| *id)),
        PlanNode::ProjectSet { calls, .. } => made.extend(calls.iter().map(|(id, _)| *id)),
        PlanNode::Values { .. }
        | PlanNode::Scan(_)
        | PlanNode::VirtualScan { .. }
        | PlanNode::FunctionScan { .. }
        | PlanNode::CteScan { .. }
        | PlanNode::Append { .. }
        | PlanNode::SetOp { .. }
        | PlanNode::RecursiveUnion { .. }
        | PlanNode::Insert(_)
        | PlanNode::Update(_)
        | PlanNode::Delete(_) => made.extend(plan.columns.iter().map(|(id, _)| *id)),
        PlanNode::LookupJoin { scan, .. } => made.extend(scan.columns.iter().map(|(id, _)| *id)),
        _ => {}
    }
    exprs(&plan.node, &mut |expr| typed_columns(expr, read));
    for input in inputs(&plan.node) {
        collect(input, made, read);
    }
}

/// Whether the plan must not be run another number of times than written.
pub fn has_volatile(plan: &Plan) -> bool {
    let mut found = matches!(plan.node, PlanNode::Insert(_) | PlanNode::Update(_) | PlanNode::Delete(_));
    if let PlanNode::Scan(scan) = &plan.node {
        found |= scan.lock.is_some();
    }
    exprs(&plan.node, &mut |expr| found = found || is_volatile(expr));
    found || inputs(&plan.node).into_iter().any(has_volatile)
}

/// Puts what `make` gives in the place of the first reference to a common table expression.
pub(crate) fn replace_cte(
    plan: &mut Plan,
    cte: u32,
    make: &mut dyn FnMut(&[(ColumnId, SqlType)]) -> Option<Plan>,
) {
    if let PlanNode::CteScan { cte: found } = &plan.node
        && *found == cte
    {
        if let Some(replacement) = make(&plan.columns) {
            *plan = replacement;
        }
        return;
    }
    let mut nested = |expr: &mut Expr| replace_in_expr(expr, cte, make);
    exprs_mut(&mut plan.node, &mut nested);
    for input in inputs_mut(&mut plan.node) {
        replace_cte(input, cte, make);
    }
}

fn replace_in_expr(expr: &mut Expr, cte: u32, make: &mut dyn FnMut(&[(ColumnId, SqlType)]) -> Option<Plan>) {
    if let Expr::Subquery(subquery) = expr
        && reads_cte(&subquery.plan, cte)
    {
        replace_cte(Arc::make_mut(&mut subquery.plan), cte, make);
    }
    children_mut(expr, &mut |child| replace_in_expr(child, cte, make));
}

/// Whether a plan reads a common table expression.
pub fn reads_cte(plan: &Plan, cte: u32) -> bool {
    if matches!(&plan.node, PlanNode::CteScan { cte: found } if *found == cte) {
        return true;
    }
    let mut found = false;
    exprs(&plan.node, &mut |expr| {
        found = found
            || any(expr, &mut |part| match part {
                Expr::Subquery(subquery) => reads_cte(&subquery.plan, cte),
                _ => false,
            });
    });
    found || inputs(&plan.node).into_iter().any(|input| reads_cte(input, cte))
}
