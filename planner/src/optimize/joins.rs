//! The order and method of inner joins.
//!
//! Greedy: start with the smallest relation, then always add the connected one that gives the fewest rows. Relations
//! that nothing connects are joined last, so that no cross product stands where an equality could.

use std::collections::BTreeSet;

use super::{
    access,
    conjuncts::{all_of, columns, is_pinned},
    estimate::{LOOKUP_COST, distinct_share, selectivity, table_rows},
    push::{push, sized},
    walk::free_columns,
};
use crate::{
    ColumnId, Expr, Plan, PlanNode,
    expr::CallExpr,
    plan::{JoinKey, JoinKind},
};

fn ids(plan: &Plan) -> BTreeSet<ColumnId> {
    plan.columns.iter().map(|(id, _)| *id).collect()
}

/// The two sides of an equality.
fn equality(expr: &Expr) -> Option<&CallExpr> {
    match expr {
        Expr::Call(call)
            if call.operator == Some("=")
                && call.args.len() == 2
                && call.function.args.first() == call.function.args.get(1)
                && call.args[0].ty().oid == call.args[1].ty().oid =>
        {
            Some(call)
        }
        _ => None,
    }
}

/// Splits conditions into hash keys between two sides and the rest.
pub(super) fn equi_keys(
    left: &BTreeSet<ColumnId>,
    right: &BTreeSet<ColumnId>,
    conditions: Vec<Expr>,
) -> (Vec<JoinKey>, Vec<Expr>) {
    let (mut keys, mut rest) = (Vec::new(), Vec::new());
    for condition in conditions {
        let key = equality(&condition).and_then(|call| {
            let (a, b) = (&call.args[0], &call.args[1]);
            let within = |expr: &Expr, side: &BTreeSet<ColumnId>| {
                let read = columns(expr);
                !read.is_empty() && read.iter().all(|id| side.contains(id)) && !is_pinned(expr)
            };
            if within(a, left) && within(b, right) {
                Some(JoinKey { left: a.clone(), right: b.clone(), equal: call.function })
            } else if within(b, left) && within(a, right) {
                Some(JoinKey { left: b.clone(), right: a.clone(), equal: call.function })
            } else {
                None
            }
        });
        match key {
            Some(key) => keys.push(key),
            None => rest.push(condition),
        }
    }
    (keys, rest)
}

/// A key as a condition again.
pub(super) fn key_condition(key: JoinKey) -> Expr {
    Expr::Call(Box::new(CallExpr {
        function: key.equal,
        args: vec![key.left, key.right],
        ty: basalt_types::SqlType::BOOL,
        operator: Some("="),
    }))
}

struct Condition {
    expr: Expr,
    /// Relations of the region that it reads.
    relations: BTreeSet<usize>,
    pinned: bool,
}

/// Joins the relations of a region under all its conditions.
pub(super) fn join_region(relations: Vec<Plan>, conjuncts: Vec<Expr>) -> Plan {
    let columns_by: Vec<BTreeSet<ColumnId>> = relations.iter().map(ids).collect();
    let owner = |id: &ColumnId| columns_by.iter().position(|set| set.contains(id));
    // Relations that a lateral one reads must stand before it.
    let needs: Vec<BTreeSet<usize>> = relations
        .iter()
        .enumerate()
        .map(|(own, plan)| {
            free_columns(plan).iter().filter_map(|(id, _)| owner(id)).filter(|found| *found != own).collect()
        })
        .collect();
    let mut conditions = Vec::with_capacity(conjuncts.len());
    let mut own: Vec<Vec<Expr>> = vec![Vec::new(); relations.len()];
    let mut top = Vec::new();
    for expr in conjuncts {
        let read: BTreeSet<usize> = columns(&expr).iter().filter_map(owner).collect();
        let pinned = is_pinned(&expr);
        match read.iter().next() {
            _ if pinned => top.push(expr),
            None => own[0].push(expr),
            Some(only) if read.len() == 1 => own[*only].push(expr),
            _ => conditions.push(Condition { expr, relations: read, pinned }),
        }
    }
    let mut plans: Vec<Option<Plan>> =
        relations.into_iter().zip(own).map(|(plan, conjuncts)| Some(push(plan, conjuncts))).collect();
    let mut joined: Option<(Plan, BTreeSet<usize>)> = None;
    while plans.iter().any(Option::is_some) {
        joined = Some(match joined {
            None => {
                let first = smallest(&plans, &needs, &BTreeSet::new());
                let plan = plans[first].take().unwrap_or_else(crate::bind::one_row);
                (plan, BTreeSet::from([first]))
            }
            Some((left, mut done)) => {
                let next = next_relation(&left, &done, &plans, &needs, &conditions);
                let right = plans[next].take().unwrap_or_else(crate::bind::one_row);
                done.insert(next);
                let mut applicable = Vec::new();
                conditions.retain(|condition| {
                    let ready = condition.relations.iter().all(|relation| done.contains(relation))
                        && !condition.pinned;
                    if ready {
                        applicable.push(condition.expr.clone());
                    }
                    !ready
                });
                (inner_join(left, right, applicable, !needs[next].is_empty()), done)
            }
        });
    }
    let plan = joined.map_or_else(crate::bind::one_row, |(plan, _)| plan);
    top.extend(conditions.into_iter().map(|condition| condition.expr));
    match all_of(top) {
        None => plan,
        Some(predicate) => {
            let columns = plan.columns.clone();
            sized(Plan {
                node: PlanNode::Filter { input: Box::new(plan), predicate },
                columns,
                rows: 0.0,
                cost: 0.0,
            })
        }
    }
}

fn allowed(index: usize, needs: &[BTreeSet<usize>], done: &BTreeSet<usize>) -> bool {
    needs[index].is_subset(done)
}

fn smallest(plans: &[Option<Plan>], needs: &[BTreeSet<usize>], done: &BTreeSet<usize>) -> usize {
    let mut best: Option<(f64, usize)> = None;
    for (index, plan) in plans.iter().enumerate() {
        if let Some(plan) = plan
            && allowed(index, needs, done)
            && best.is_none_or(|(rows, _)| plan.rows < rows)
        {
            best = Some((plan.rows, index));
        }
    }
    // A relation that needs a later one cannot be: FROM binds from left to right.
    best.map_or_else(|| plans.iter().position(Option::is_some).unwrap_or(0), |(_, index)| index)
}

fn next_relation(
    left: &Plan,
    done: &BTreeSet<usize>,
    plans: &[Option<Plan>],
    needs: &[BTreeSet<usize>],
    conditions: &[Condition],
) -> usize {
    let mut best: Option<(f64, usize)> = None;
    for (index, plan) in plans.iter().enumerate() {
        let Some(plan) = plan else { continue };
        if !allowed(index, needs, done) {
            continue;
        }
        let mut rows = left.rows.max(1.0) * plan.rows.max(0.001);
        let mut connected = false;
        for condition in conditions {
            let ready = condition.relations.contains(&index)
                && condition.relations.iter().all(|relation| *relation == index || done.contains(relation));
            if !ready {
                continue;
            }
            match equality(&condition.expr) {
                Some(call) => {
                    connected = true;
                    let within = |expr: &&Expr| {
                        columns(expr).iter().all(|id| plan.columns.iter().any(|(own, _)| own == id))
                    };
                    let side = call.args.iter().find(within);
                    rows *= side.map_or(0.1, |side| distinct_share(plan, side));
                }
                None => rows *= selectivity(&condition.expr),
            }
        }
        if connected && best.is_none_or(|(least, _)| rows < least) {
            best = Some((rows, index));
        }
    }
    best.map_or_else(|| smallest(plans, needs, done), |(_, index)| index)
}

/// Two inputs by lookup, hash or nested loop.
fn inner_join(left: Plan, right: Plan, conditions: Vec<Expr>, lateral: bool) -> Plan {
    let columns: Vec<_> = left.columns.iter().chain(&right.columns).copied().collect();
    let build = |node: PlanNode| sized(Plan { node, columns: columns.clone(), rows: 0.0, cost: 0.0 });
    if lateral {
        return build(PlanNode::NestedLoop {
            kind: JoinKind::Inner,
            left: Box::new(left),
            right: Box::new(right),
            on: all_of(conditions),
            lateral,
        });
    }
    if let Some(joined) = lookup(&left, &right, &conditions) {
        return build(joined);
    }
    let (keys, rest) = equi_keys(&ids(&left), &ids(&right), conditions);
    if keys.is_empty() {
        return build(PlanNode::NestedLoop {
            kind: JoinKind::Inner,
            left: Box::new(left),
            right: Box::new(right),
            on: all_of(rest),
            lateral,
        });
    }
    // The right side is the one that is kept in memory.
    let (left, right, keys) = if right.rows > left.rows {
        let swapped =
            keys.into_iter().map(|key| JoinKey { left: key.right, right: key.left, equal: key.equal });
        (right, left, swapped.collect())
    } else {
        (left, right, keys)
    };
    let columns: Vec<_> = left.columns.iter().chain(&right.columns).copied().collect();
    let node = PlanNode::HashJoin {
        kind: JoinKind::Inner,
        left: Box::new(left),
        right: Box::new(right),
        keys,
        residual: all_of(rest),
    };
    sized(Plan { node, columns, rows: 0.0, cost: 0.0 })
}

/// Fetching the right rows by key per left row, when that reads less.
fn lookup(left: &Plan, right: &Plan, conditions: &[Expr]) -> Option<PlanNode> {
    let PlanNode::Scan(base) = &right.node else { return None };
    let narrowed =
        !base.access.prefix.is_empty() || base.access.lower.is_some() || base.access.upper.is_some();
    if narrowed || base.lock.is_some() || base.limit.is_some() {
        return None;
    }
    let mut scan = base.clone();
    let mut all: Vec<Expr> = conditions.to_vec();
    if let Some(filter) = scan.filter.take() {
        super::conjuncts::split(filter, &mut all);
    }
    access::choose(&mut scan, all);
    let reads_left =
        |expr: &Expr| columns(expr).iter().any(|id| left.columns.iter().any(|(other, _)| other == id));
    let keyed = scan.access.prefix.iter().any(|part| match part {
        crate::plan::KeyPart::Equal(expr) => reads_left(expr),
        _ => false,
    });
    if !keyed {
        return None;
    }
    let each = table_rows(&scan) * super::estimate::access_share(&scan, scan.index, &scan.access);
    let fetch = if scan.index == 0 { LOOKUP_COST } else { LOOKUP_COST * 2.0 };
    if left.rows.max(1.0) * (fetch + each) >= table_rows(&scan) {
        return None;
    }
    // The scan's own filter must not read left columns: those conditions are checked after the lookup.
    let mut residual = Vec::new();
    let mut filter = Vec::new();
    if let Some(rest) = scan.filter.take() {
        let mut parts = Vec::new();
        super::conjuncts::split(rest, &mut parts);
        for expr in parts {
            if reads_left(&expr) { residual.push(expr) } else { filter.push(expr) }
        }
    }
    scan.filter = all_of(filter);
    Some(PlanNode::LookupJoin {
        kind: JoinKind::Inner,
        left: Box::new(left.clone()),
        scan,
        residual: all_of(residual),
    })
}
