//! Sorting avoided by index order, and limits told to the nodes that can stop early.

use basalt_types::Datum;

use super::{push::sized, walk::inputs_mut};
use crate::{
    ColumnId, Expr, Plan, PlanNode,
    plan::{KeyPart, Scan, SortKey},
};

pub(super) fn arrange(plan: &mut Plan) {
    if let PlanNode::Limit { input, limit, offset } = &mut plan.node
        && let Some(count) = rows_needed(limit.as_ref(), offset.as_ref())
    {
        announce(input, &count);
    }
    let sort_gone = match &mut plan.node {
        PlanNode::Sort { input, keys, top } => {
            let limited = top.is_some();
            if index_order(input, keys, limited) {
                if let Some(top) = top {
                    announce(input, top);
                }
                Some(std::mem::replace(input.as_mut(), crate::bind::one_row()))
            } else {
                None
            }
        }
        _ => None,
    };
    if let Some(input) = sort_gone {
        *plan = input;
        return arrange(plan);
    }
    for input in inputs_mut(&mut plan.node) {
        arrange(input);
    }
}

/// LIMIT + OFFSET, when that is one expression.
fn rows_needed(limit: Option<&Expr>, offset: Option<&Expr>) -> Option<Expr> {
    match (limit?, offset) {
        (limit, None) => Some(limit.clone()),
        (
            Expr::Literal { value: Datum::Int8(limit), ty },
            Some(Expr::Literal { value: Datum::Int8(offset), .. }),
        ) => Some(Expr::literal(Datum::Int8(limit.checked_add(*offset)?), *ty)),
        _ => None,
    }
}

/// Tells the node that makes the rows how many are read.
fn announce(plan: &mut Plan, count: &Expr) {
    match &mut plan.node {
        PlanNode::Project { input, .. } => announce(input, count),
        PlanNode::Sort { top, .. } => *top = Some(count.clone()),
        PlanNode::Scan(scan) => scan.limit = Some(count.clone()),
        _ => {}
    }
}

/// The scan that gives the rows in its order, seen through projections that keep the sort columns.
fn ordered_scan<'p>(plan: &'p mut Plan, keys: &[ColumnId]) -> Option<&'p mut Scan> {
    match &mut plan.node {
        PlanNode::Scan(scan) => Some(scan),
        PlanNode::Filter { input, .. } => ordered_scan(input, keys),
        PlanNode::Project { input, exprs } => {
            let kept = |key: &ColumnId| {
                exprs.iter().any(|(id, expr)| {
                    id == key && matches!(expr, Expr::Column { id: inner, .. } if inner == key)
                })
            };
            if keys.iter().all(kept) { ordered_scan(input, keys) } else { None }
        }
        _ => None,
    }
}

/// Whether a scan below can give the rows in this order; it is changed so that it does.
fn index_order(input: &mut Plan, keys: &[SortKey], limited: bool) -> bool {
    let mut ids = Vec::with_capacity(keys.len());
    for key in keys {
        match &key.expr {
            Expr::Column { id, .. } if key.nulls_first == key.descending => ids.push((*id, key.descending)),
            _ => return false,
        }
    }
    let plain: Vec<ColumnId> = ids.iter().map(|(id, _)| *id).collect();
    let Some(scan) = ordered_scan(input, &plain) else { return false };
    let mut wanted = Vec::with_capacity(ids.len());
    for (id, descending) in &ids {
        let Some((_, position)) = scan.columns.iter().find(|(column, _)| column == id) else { return false };
        wanted.push((scan.table.columns[*position].id, *descending));
    }
    let free = scan.access.prefix.is_empty() && scan.access.lower.is_none() && scan.access.upper.is_none();
    let candidates: Vec<usize> =
        if free { (0..scan.table.indexes.len()).collect() } else { vec![scan.index] };
    for index in candidates {
        if !scan.table.indexes[index].is_public() {
            continue;
        }
        // Fetching every row through a secondary index costs more than sorting them.
        if free && index != 0 && (!limited || scan.filter.is_some()) {
            continue;
        }
        if let Some(reverse) = gives_order(scan, index, &wanted) {
            scan.index = index;
            scan.reverse = reverse;
            return true;
        }
    }
    false
}

/// `Some(reverse)` when the index's entries come in the wanted order.
fn gives_order(scan: &Scan, index: usize, wanted: &[(u32, bool)]) -> Option<bool> {
    let index = &scan.table.indexes[index];
    let fixed = scan.access.prefix.len();
    let single = |part: &KeyPart| matches!(part, KeyPart::Equal(_) | KeyPart::IsNull);
    if !scan.access.prefix.iter().all(single) {
        return None;
    }
    let constant: Vec<u32> = index.columns[..fixed].iter().map(|column| column.column).collect();
    let mut rest = index.columns[fixed..].iter();
    let mut reverse = None;
    for (column, descending) in wanted {
        if constant.contains(column) {
            continue;
        }
        let Some(next) = rest.next() else {
            // All rows of a unique key without NULLs are told apart already.
            return (index.unique && index.primary).then(|| reverse.unwrap_or(false));
        };
        if next.column != *column {
            return None;
        }
        let turned = next.descending != *descending;
        if *reverse.get_or_insert(turned) != turned {
            return None;
        }
    }
    Some(reverse.unwrap_or(false))
}

/// Sizes a whole plan again.
pub(super) fn resize(plan: &mut Plan) {
    for input in inputs_mut(&mut plan.node) {
        resize(input);
    }
    let taken = std::mem::replace(plan, crate::bind::one_row());
    *plan = sized(taken);
}
