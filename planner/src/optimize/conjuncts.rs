//! Conditions as lists of conjuncts.

use std::collections::BTreeMap;

use super::walk::{any, children_mut, columns_of};
use crate::{ColumnId, Expr};

/// Splits a condition at its ANDs.
pub(super) fn split(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::And(list) => list.into_iter().for_each(|part| split(part, into)),
        other => into.push(other),
    }
}

/// Joins conjuncts again.
pub(super) fn all_of(mut list: Vec<Expr>) -> Option<Expr> {
    match list.len() {
        0 => None,
        1 => list.pop(),
        _ => Some(Expr::And(list)),
    }
}

pub(super) fn columns(expr: &Expr) -> Vec<ColumnId> {
    let mut ids = Vec::new();
    columns_of(expr, &mut ids);
    ids
}

/// Replaces columns by expressions. `false` (and a half-changed expression) when a subquery inside reads one of them.
pub(super) fn substitute(expr: &mut Expr, map: &BTreeMap<ColumnId, Expr>) -> bool {
    if let Expr::Column { id, .. } = expr {
        if let Some(replacement) = map.get(id) {
            *expr = replacement.clone();
        }
        return true;
    }
    if let Expr::Subquery(subquery) = expr {
        let moved = |id: &ColumnId| {
            map.get(id).is_some_and(|to| !matches!(to, Expr::Column { id: same, .. } if same == id))
        };
        if subquery.outer.iter().any(|(id, _)| moved(id)) {
            return false;
        }
    }
    let mut possible = true;
    children_mut(expr, &mut |child| possible = possible && substitute(child, map));
    possible
}

/// Whether the condition cannot be true when all the given columns are NULL.
pub(super) fn rejects_nulls(expr: &Expr, of: &dyn Fn(&ColumnId) -> bool) -> bool {
    match expr {
        Expr::And(list) => list.iter().any(|part| rejects_nulls(part, of)),
        Expr::Or(list) => list.iter().all(|part| rejects_nulls(part, of)),
        Expr::IsNull { input, negated: true } => strict_in(input, of),
        Expr::BoolTest { input, value: Some(_), negated: false } => strict_in(input, of),
        Expr::InList { input, .. } => strict_in(input, of),
        // ALL of an empty array is true whatever the input.
        Expr::ArrayOp { input, operator, all: false, .. } => operator.strict && strict_in(input, of),
        Expr::Call(_) | Expr::Column { .. } => strict_in(expr, of),
        Expr::Not(input) => strict_in(input, of),
        _ => false,
    }
}

/// Whether the value is NULL when the given columns are.
fn strict_in(expr: &Expr, of: &dyn Fn(&ColumnId) -> bool) -> bool {
    match expr {
        Expr::Column { id, .. } => of(id),
        Expr::Call(call) => call.function.strict && call.args.iter().any(|arg| strict_in(arg, of)),
        Expr::Cast { input, .. } | Expr::Coerce { input, .. } | Expr::Not(input) => strict_in(input, of),
        _ => false,
    }
}

/// Whether evaluating it somewhere else, or another number of times, may be noticed.
pub(super) fn is_pinned(expr: &Expr) -> bool {
    super::walk::is_volatile(expr) || any(expr, &mut |part| matches!(part, Expr::Subquery(_)))
}
