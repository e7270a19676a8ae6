//! Predicate pushdown: conditions travel to the node that can use them earliest.
//!
//! A conjunct moves only where it sees the same rows: not below a limit, not to the side of an outer join that may be
//! NULL-extended, and not at all when it is volatile or holds a subquery.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    access,
    conjuncts::{all_of, columns, is_pinned, rejects_nulls, split, substitute},
    estimate::size,
    joins::{equi_keys, join_region},
};
use crate::{ColumnId, Expr, Plan, PlanNode, plan::JoinKind};

fn ids(plan: &Plan) -> BTreeSet<ColumnId> {
    plan.columns.iter().map(|(id, _)| *id).collect()
}

/// `plan` with the conjuncts that remained on top of it.
fn filtered(plan: Plan, rest: Vec<Expr>) -> Plan {
    match all_of(rest) {
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

pub(super) fn sized(mut plan: Plan) -> Plan {
    size(&mut plan);
    plan
}

/// Splits by whether a conjunct reads only `within` (and enclosing columns not in `all`).
fn part(conjuncts: Vec<Expr>, test: impl Fn(&Expr) -> bool) -> (Vec<Expr>, Vec<Expr>) {
    conjuncts.into_iter().partition(|expr| test(expr))
}

/// Optimises a plan under the conjunction of `conjuncts`.
pub(super) fn push(plan: Plan, conjuncts: Vec<Expr>) -> Plan {
    let Plan { node, columns: layout, .. } = plan;
    let rebuild = |node: PlanNode| sized(Plan { node, columns: layout.clone(), rows: 0.0, cost: 0.0 });
    match node {
        PlanNode::Filter { input, predicate } => {
            let mut all = Vec::new();
            split(predicate, &mut all);
            all.extend(conjuncts);
            push(*input, all)
        }
        PlanNode::Scan(mut scan) => {
            let (pinned, mut free) = part(conjuncts, is_pinned);
            if let Some(filter) = scan.filter.take() {
                split(filter, &mut free);
            }
            access::choose(&mut scan, free);
            filtered(rebuild(PlanNode::Scan(scan)), pinned)
        }
        PlanNode::VirtualScan { table, columns, filter } => {
            let (pinned, mut free) = part(conjuncts, is_pinned);
            if let Some(filter) = filter {
                split(filter, &mut free);
            }
            filtered(rebuild(PlanNode::VirtualScan { table, columns, filter: all_of(free) }), pinned)
        }
        PlanNode::Project { input, exprs } => {
            let map: BTreeMap<ColumnId, Expr> = exprs.iter().cloned().collect();
            let movable = |id: &ColumnId| map.get(id).is_none_or(|expr| !is_pinned(expr));
            let (mut below, mut above) = (Vec::new(), Vec::new());
            for conjunct in conjuncts {
                let mut moved = conjunct.clone();
                if columns(&conjunct).iter().all(movable) && substitute(&mut moved, &map) {
                    below.push(moved);
                } else {
                    above.push(conjunct);
                }
            }
            let input = Box::new(push(*input, below));
            filtered(rebuild(PlanNode::Project { input, exprs }), above)
        }
        PlanNode::ProjectSet { input, calls } => {
            let made: BTreeSet<ColumnId> = calls.iter().map(|(id, _)| *id).collect();
            let (below, above) =
                part(conjuncts, |expr| !columns(expr).iter().any(|id| made.contains(id)) && !is_pinned(expr));
            let input = Box::new(push(*input, below));
            filtered(rebuild(PlanNode::ProjectSet { input, calls }), above)
        }
        PlanNode::Aggregate(mut aggregate) => {
            let map: BTreeMap<ColumnId, Expr> = aggregate.groups.iter().cloned().collect();
            let plain = aggregate.grouping_sets.is_none() && !aggregate.groups.is_empty();
            let made: BTreeSet<ColumnId> = layout.iter().map(|(id, _)| *id).collect();
            let (mut below, mut above) = (Vec::new(), Vec::new());
            for conjunct in conjuncts {
                let mut moved = conjunct.clone();
                let grouped = columns(&conjunct).iter().all(|id| !made.contains(id) || map.contains_key(id));
                if plain && grouped && !is_pinned(&conjunct) && substitute(&mut moved, &map) {
                    below.push(moved);
                } else {
                    above.push(conjunct);
                }
            }
            aggregate.input = push(aggregate.input, below);
            filtered(rebuild(PlanNode::Aggregate(aggregate)), above)
        }
        PlanNode::Sort { input, keys, top } => {
            let (below, above) = if top.is_none() { (conjuncts, vec![]) } else { (vec![], conjuncts) };
            let input = Box::new(push(*input, below));
            filtered(rebuild(PlanNode::Sort { input, keys, top }), above)
        }
        PlanNode::Distinct { input, on } => {
            let (below, above) = part(conjuncts, |expr| on.is_empty() && !is_pinned(expr));
            let input = Box::new(push(*input, below));
            filtered(rebuild(PlanNode::Distinct { input, on }), above)
        }
        PlanNode::Append { inputs } => {
            let (shared, above) = part(conjuncts, |expr| !is_pinned(expr));
            let mut inputs_done = Vec::with_capacity(inputs.len());
            for input in inputs {
                let map: BTreeMap<ColumnId, Expr> = layout
                    .iter()
                    .zip(&input.columns)
                    .map(|((id, _), (inner, ty))| (*id, Expr::Column { id: *inner, ty: *ty }))
                    .collect();
                let mut own = shared.clone();
                for conjunct in &mut own {
                    substitute(conjunct, &map);
                }
                inputs_done.push(push(input, own));
            }
            filtered(rebuild(PlanNode::Append { inputs: inputs_done }), above)
        }
        PlanNode::NestedLoop { kind, left, right, on, lateral } => push_join(
            Plan {
                node: PlanNode::NestedLoop { kind, left, right, on, lateral },
                columns: layout,
                rows: 0.0,
                cost: 0.0,
            },
            conjuncts,
        ),
        PlanNode::With { cte, definition, body } => {
            let definition = Box::new(push(*definition, vec![]));
            let body = Box::new(push(*body, conjuncts));
            rebuild(PlanNode::With { cte, definition, body })
        }
        mut other => {
            for input in super::walk::inputs_mut(&mut other) {
                let taken = std::mem::replace(input, crate::bind::one_row());
                *input = push(taken, vec![]);
            }
            filtered(rebuild(other), conjuncts)
        }
    }
}

/// Joins: inner regions are ordered together; outer joins take what they may.
fn push_join(plan: Plan, mut conjuncts: Vec<Expr>) -> Plan {
    let Plan { node, columns: layout, .. } = plan;
    let PlanNode::NestedLoop { mut kind, mut left, mut right, on, lateral } = node else {
        return Plan { node, columns: layout, rows: 0.0, cost: 0.0 };
    };
    if kind == JoinKind::Right && !lateral {
        std::mem::swap(&mut left, &mut right);
        kind = JoinKind::Left;
    }
    let (left_ids, right_ids) = (ids(&left), ids(&right));
    // A condition above that no NULL-extended row passes makes the join an inner one.
    if kind == JoinKind::Full {
        let keeps_left = conjuncts.iter().any(|expr| rejects_nulls(expr, &|id| left_ids.contains(id)));
        let keeps_right = conjuncts.iter().any(|expr| rejects_nulls(expr, &|id| right_ids.contains(id)));
        kind = match (keeps_left, keeps_right) {
            (true, true) => JoinKind::Inner,
            (true, false) => JoinKind::Left,
            (false, true) => {
                std::mem::swap(&mut left, &mut right);
                JoinKind::Left
            }
            (false, false) => JoinKind::Full,
        };
    }
    let (left_ids, right_ids) = (ids(&left), ids(&right));
    if kind == JoinKind::Left
        && conjuncts.iter().any(|expr| rejects_nulls(expr, &|id| right_ids.contains(id)))
    {
        kind = JoinKind::Inner;
    }
    let mut on_list = Vec::new();
    if let Some(on) = on {
        split(on, &mut on_list);
    }
    match kind {
        JoinKind::Inner => {
            on_list.append(&mut conjuncts);
            let mut relations = Vec::new();
            flatten(*left, &mut relations, &mut on_list);
            flatten(*right, &mut relations, &mut on_list);
            join_region(relations, on_list)
        }
        JoinKind::Left => {
            let reads =
                |expr: &Expr, side: &BTreeSet<ColumnId>| columns(expr).iter().any(|id| side.contains(id));
            let (below_left, above) = part(conjuncts, |expr| !reads(expr, &right_ids) && !is_pinned(expr));
            let (below_right, on_list) = part(on_list, |expr| !reads(expr, &left_ids) && !is_pinned(expr));
            let left = push(*left, below_left);
            let right = push(*right, below_right);
            filtered(outer_join(kind, left, right, on_list, lateral, layout), above)
        }
        JoinKind::Semi | JoinKind::Anti => {
            let reads =
                |expr: &Expr, side: &BTreeSet<ColumnId>| columns(expr).iter().any(|id| side.contains(id));
            let (mut below_left, above) = part(conjuncts, |expr| !is_pinned(expr));
            let (below_right, on_list) =
                part(on_list, |expr| reads(expr, &right_ids) && !reads(expr, &left_ids) && !is_pinned(expr));
            // A semi-join's condition on the left side alone filters that side.
            let (own, on_list) =
                part(on_list, |expr| kind == JoinKind::Semi && !reads(expr, &right_ids) && !is_pinned(expr));
            below_left.extend(own);
            let left = push(*left, below_left);
            let right = push(*right, below_right);
            filtered(outer_join(kind, left, right, on_list, false, layout), above)
        }
        _ => {
            let left = push(*left, vec![]);
            let right = push(*right, vec![]);
            filtered(outer_join(kind, left, right, on_list, lateral, layout), conjuncts)
        }
    }
}

/// The relations of a region of inner joins; conditions go to `conjuncts`.
fn flatten(plan: Plan, relations: &mut Vec<Plan>, conjuncts: &mut Vec<Expr>) {
    match plan.node {
        PlanNode::NestedLoop { kind: JoinKind::Inner, left, right, on, .. } => {
            flatten(*left, relations, conjuncts);
            flatten(*right, relations, conjuncts);
            if let Some(on) = on {
                split(on, conjuncts);
            }
        }
        PlanNode::Filter { input, predicate }
            if matches!(input.node, PlanNode::NestedLoop { kind: JoinKind::Inner, .. }) =>
        {
            split(predicate, conjuncts);
            flatten(*input, relations, conjuncts);
        }
        node => relations.push(Plan { node, ..plan }),
    }
}

/// A join that is not inner: by hash when an equality connects the sides.
pub(super) fn outer_join(
    kind: JoinKind,
    left: Plan,
    right: Plan,
    on: Vec<Expr>,
    lateral: bool,
    layout: Vec<(ColumnId, basalt_types::SqlType)>,
) -> Plan {
    let columns = match kind {
        JoinKind::Semi | JoinKind::Anti => left.columns.clone(),
        _ if layout.is_empty() => left.columns.iter().chain(&right.columns).copied().collect(),
        // The sides may have been swapped.
        _ => left.columns.iter().chain(&right.columns).copied().collect(),
    };
    let (keys, rest) = if lateral { (vec![], on) } else { equi_keys(&ids(&left), &ids(&right), on) };
    let pinned = rest.iter().any(is_pinned);
    let node = if keys.is_empty() || pinned {
        let mut all: Vec<Expr> = keys.into_iter().map(super::joins::key_condition).collect();
        all.extend(rest);
        PlanNode::NestedLoop { kind, left: Box::new(left), right: Box::new(right), on: all_of(all), lateral }
    } else {
        PlanNode::HashJoin {
            kind,
            left: Box::new(left),
            right: Box::new(right),
            keys,
            residual: all_of(rest),
        }
    };
    sized(Plan { node, columns, rows: 0.0, cost: 0.0 })
}
