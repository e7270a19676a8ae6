//! Structural equality of expressions.

use basalt_types::Datum;

use crate::{Expr, expr::AggregateCall, plan::SortKey};

fn all_same(left: &[Expr], right: &[Expr]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
}

/// Bit by bit: NaN is itself, and zero is not its negative.
fn same_literal(left: &Datum, right: &Datum) -> bool {
    match (left, right) {
        (Datum::Float4(left), Datum::Float4(right)) => left.to_bits() == right.to_bits(),
        (Datum::Float8(left), Datum::Float8(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

/// Whether two expressions compute the same from the same row. Volatile calls and subqueries never do.
pub fn same(left: &Expr, right: &Expr) -> bool {
    match (left, right) {
        (Expr::Literal { value: a, ty: s }, Expr::Literal { value: b, ty: t }) => {
            s == t && same_literal(a, b)
        }
        (Expr::Column { id: a, .. }, Expr::Column { id: b, .. }) => a == b,
        (Expr::Param { index: a, ty: s }, Expr::Param { index: b, ty: t }) => a == b && s == t,
        (Expr::Call(a), Expr::Call(b)) => {
            a.function.oid == b.function.oid
                && a.ty == b.ty
                && a.function.volatility != basalt_functions::Volatility::Volatile
                && all_same(&a.args, &b.args)
        }
        (Expr::Cast { input: a, to: s, .. }, Expr::Cast { input: b, to: t, .. })
        | (Expr::Coerce { input: a, to: s, .. }, Expr::Coerce { input: b, to: t, .. }) => {
            s == t && same(a, b)
        }
        (Expr::And(a), Expr::And(b)) | (Expr::Or(a), Expr::Or(b)) => all_same(a, b),
        (Expr::Not(a), Expr::Not(b)) => same(a, b),
        (Expr::IsNull { input: a, negated: n }, Expr::IsNull { input: b, negated: m }) => {
            n == m && same(a, b)
        }
        (
            Expr::BoolTest { input: a, value: v, negated: n },
            Expr::BoolTest { input: b, value: w, negated: m },
        ) => v == w && n == m && same(a, b),
        (
            Expr::IsDistinct { left: a, right: b, negated: n, .. },
            Expr::IsDistinct { left: c, right: d, negated: m, .. },
        ) => n == m && same(a, c) && same(b, d),
        (Expr::Case { branches: a, otherwise: e, .. }, Expr::Case { branches: b, otherwise: f, .. }) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((c, r), (d, s))| same(c, d) && same(r, s))
                && match (e, f) {
                    (None, None) => true,
                    (Some(e), Some(f)) => same(e, f),
                    _ => false,
                }
        }
        (Expr::Coalesce { args: a, .. }, Expr::Coalesce { args: b, .. }) => all_same(a, b),
        (Expr::NullIf { left: a, right: b, .. }, Expr::NullIf { left: c, right: d, .. }) => {
            same(a, c) && same(b, d)
        }
        (Expr::MinMax { greatest: g, args: a, .. }, Expr::MinMax { greatest: h, args: b, .. }) => {
            g == h && all_same(a, b)
        }
        (
            Expr::InList { input: a, list: l, negated: n, .. },
            Expr::InList { input: b, list: m, negated: o, .. },
        ) => n == o && same(a, b) && all_same(l, m),
        (
            Expr::ArrayOp { input: a, operator: o, array: x, all: p },
            Expr::ArrayOp { input: b, operator: q, array: y, all: r },
        ) => o.oid == q.oid && p == r && same(a, b) && same(x, y),
        (Expr::Array { elements: a, ty: s }, Expr::Array { elements: b, ty: t }) => s == t && all_same(a, b),
        (Expr::Subscript { array: a, indexes: i, .. }, Expr::Subscript { array: b, indexes: j, .. }) => {
            same(a, b) && all_same(i, j)
        }
        (Expr::Row { fields: a, .. }, Expr::Row { fields: b, .. }) => all_same(a, b),
        _ => false,
    }
}

fn same_keys(left: &[SortKey], right: &[SortKey]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(a, b)| {
            a.descending == b.descending && a.nulls_first == b.nulls_first && same(&a.expr, &b.expr)
        })
}

pub(crate) fn same_aggregate(left: &AggregateCall, right: &AggregateCall) -> bool {
    left.function.oid == right.function.oid
        && left.function.volatility != basalt_functions::Volatility::Volatile
        && left.distinct == right.distinct
        && all_same(&left.args, &right.args)
        && same_keys(&left.order_by, &right.order_by)
        && match (&left.filter, &right.filter) {
            (None, None) => true,
            (Some(a), Some(b)) => same(a, b),
            _ => false,
        }
}
