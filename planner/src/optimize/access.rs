//! The choice of an index and of the part of it that a scan reads.

use basalt_functions::{CastContext, CastMethod};
use basalt_types::{Datum, Oid, SqlType};

use super::{
    conjuncts::{all_of, columns, is_pinned},
    estimate::{LOOKUP_COST, access_share, table_rows},
};
use crate::{
    ColumnId, Expr,
    plan::{Access, KeyPart, Scan},
};

/// A conjunct as a restriction of one column of the scan.
enum Restriction {
    Key(KeyPart),
    Lower(Expr, bool),
    Upper(Expr, bool),
    /// LIKE 'prefix%': both bounds, and the pattern stays to be checked.
    Prefix(Expr, Option<Expr>),
}

struct Candidate {
    /// Table column position.
    column: usize,
    restriction: Restriction,
    /// Which conjunct it came from.
    conjunct: usize,
}

/// Gives the scan the best access for its conjuncts; the rest becomes its filter.
pub(super) fn choose(scan: &mut Scan, conjuncts: Vec<Expr>) {
    let candidates: Vec<Candidate> = conjuncts
        .iter()
        .enumerate()
        .filter_map(|(conjunct, expr)| {
            let (column, restriction) = restriction(scan, expr)?;
            Some(Candidate { column, restriction, conjunct })
        })
        .collect();
    let mut best: Option<(f64, usize, Access, Vec<usize>)> = None;
    if !candidates.is_empty() {
        for index in 0..scan.table.indexes.len() {
            if !scan.table.indexes[index].is_public() {
                continue;
            }
            let (access, used) = match_index(scan, index, &candidates);
            if used.is_empty() {
                continue;
            }
            let rows = table_rows(scan) * access_share(scan, index, &access);
            let mut probe = scan.clone_for(index);
            probe.index = index;
            let fetch = if index == 0 || super::estimate::covers(&probe) { 1.0 } else { LOOKUP_COST };
            // More restrictions are better where the guess sees no difference.
            let cost = rows * fetch + 1.0 - used.len() as f64 * 0.001;
            if cost < table_rows(scan) * 1.5 + 1.0 && best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, index, access, used));
            }
        }
    }
    let mut rest = Vec::with_capacity(conjuncts.len());
    match best {
        None => rest = conjuncts,
        Some((_, index, access, used)) => {
            scan.index = index;
            scan.access = access;
            for (position, conjunct) in conjuncts.into_iter().enumerate() {
                if !used.contains(&position) {
                    rest.push(conjunct);
                }
            }
        }
    }
    scan.filter = all_of(rest);
}

impl Scan {
    /// A copy with another index, for a look at what that would cover.
    fn clone_for(&self, index: usize) -> Self {
        Self { index, access: Access::default(), filter: None, limit: None, ..self.clone() }
    }
}

/// The access of one index, and the conjuncts that it guarantees.
fn match_index(scan: &Scan, index: usize, candidates: &[Candidate]) -> (Access, Vec<usize>) {
    let mut access = Access::default();
    let mut used = Vec::new();
    let mut touched = false;
    for key in &scan.table.indexes[index].columns {
        let Some(position) = scan.table.position(key.column) else { break };
        let of_column = || candidates.iter().filter(|candidate| candidate.column == position);
        // The most selective kind first.
        let rank = |part: &KeyPart| match part {
            KeyPart::Equal(_) => 0,
            KeyPart::IsNull => 1,
            KeyPart::In(_) => 2,
            KeyPart::Any(_) => 3,
        };
        let equal = of_column()
            .filter_map(|candidate| match &candidate.restriction {
                Restriction::Key(part) => Some((part, candidate.conjunct)),
                _ => None,
            })
            .min_by_key(|(part, _)| rank(part));
        if let Some((part, conjunct)) = equal {
            access.prefix.push(part.clone());
            used.push(conjunct);
            continue;
        }
        let (mut lower_from, mut upper_from) = (None, None);
        for candidate in of_column() {
            match &candidate.restriction {
                Restriction::Lower(bound, inclusive) if access.lower.is_none() => {
                    access.lower = Some((bound.clone(), *inclusive));
                    lower_from = Some(candidate.conjunct);
                }
                Restriction::Upper(bound, inclusive) if access.upper.is_none() => {
                    access.upper = Some((bound.clone(), *inclusive));
                    upper_from = Some(candidate.conjunct);
                }
                Restriction::Prefix(lower, upper) if access.lower.is_none() && access.upper.is_none() => {
                    access.lower = Some((lower.clone(), true));
                    access.upper = upper.clone().map(|upper| (upper, false));
                    touched = true;
                }
                _ => {}
            }
        }
        // Between two bounds there is no NULL; an open side may hold them, so that its condition stays.
        if lower_from.is_some() && upper_from.is_some() {
            used.extend(lower_from);
            used.extend(upper_from);
        } else {
            touched |= lower_from.is_some() || upper_from.is_some();
        }
        break;
    }
    if touched && used.is_empty() {
        // Nothing is guaranteed, yet the bounds help: a number that no conjunct has marks the access as used.
        used.push(usize::MAX);
    }
    (access, used)
}

/// The scan's column behind an operand, through casts that change no key.
fn column_operand(scan: &Scan, expr: &Expr) -> Option<usize> {
    let id = match expr {
        Expr::Column { id, .. } => id,
        Expr::Cast { input, to, method, .. } => match input.as_ref() {
            Expr::Column { id, ty } => {
                let text =
                    ty.oid == Oid::VARCHAR && to.oid == Oid::TEXT && matches!(method, CastMethod::Binary);
                let wider =
                    integer_rank(ty.oid).zip(integer_rank(to.oid)).is_some_and(|(from, to)| from < to);
                if !text && !wider {
                    return None;
                }
                id
            }
            _ => return None,
        },
        _ => return None,
    };
    scan.columns.iter().find(|(column, _)| column == id).map(|(_, position)| *position)
}

fn integer_rank(oid: Oid) -> Option<u8> {
    match oid {
        Oid::INT2 => Some(2),
        Oid::INT4 => Some(4),
        Oid::INT8 => Some(8),
        _ => None,
    }
}

/// `expr` as a value of the column's type with the same meaning in a comparison.
fn key_value(scan: &Scan, column: SqlType, expr: &Expr) -> Option<Expr> {
    let own = |id: &ColumnId| scan.columns.iter().any(|(column, _)| column == id);
    if columns(expr).iter().any(own) || is_pinned(expr) {
        return None;
    }
    let ty = expr.ty();
    if ty.oid == column.oid {
        return Some(expr.clone());
    }
    let textual = |oid| matches!(oid, Oid::TEXT | Oid::VARCHAR);
    if textual(ty.oid) && textual(column.oid) {
        return Some(Expr::Cast {
            input: Box::new(expr.clone()),
            to: column.bare(),
            method: CastMethod::Binary,
            explicit: false,
        });
    }
    let (from, to) = (integer_rank(ty.oid)?, integer_rank(column.oid)?);
    if let Expr::Literal { value, .. } = expr {
        let number = match value {
            Datum::Int2(number) => i64::from(*number),
            Datum::Int4(number) => i64::from(*number),
            Datum::Int8(number) => *number,
            Datum::Null => return Some(Expr::literal(Datum::Null, column.bare())),
            _ => return None,
        };
        let value = match column.oid {
            Oid::INT2 => Datum::Int2(i16::try_from(number).ok()?),
            Oid::INT4 => Datum::Int4(i32::try_from(number).ok()?),
            _ => Datum::Int8(number),
        };
        return Some(Expr::literal(value, column.bare()));
    }
    if from > to {
        return None;
    }
    let method = basalt_functions::find_cast(ty.oid, column.oid, CastContext::Implicit)?;
    Some(Expr::Cast { input: Box::new(expr.clone()), to: column.bare(), method, explicit: false })
}

fn restriction(scan: &Scan, expr: &Expr) -> Option<(usize, Restriction)> {
    match expr {
        Expr::Call(call) => {
            let operator = call.operator?;
            let [left, right] = call.args.as_slice() else { return None };
            if operator == "~~" {
                return like_prefix(scan, left, right);
            }
            let (column, other, operator) = match column_operand(scan, left) {
                Some(column) => (column, right, operator),
                None => (column_operand(scan, right)?, left, flip(operator)?),
            };
            let ty = scan.table.columns[column].ty;
            let value = key_value(scan, ty, other)?;
            let restriction = match operator {
                "=" => Restriction::Key(KeyPart::Equal(value)),
                ">" => Restriction::Lower(value, false),
                ">=" => Restriction::Lower(value, true),
                "<" => Restriction::Upper(value, false),
                "<=" => Restriction::Upper(value, true),
                _ => return None,
            };
            Some((column, restriction))
        }
        Expr::InList { input, list, negated: false, .. } => {
            let column = column_operand(scan, input)?;
            let ty = scan.table.columns[column].ty;
            let values = list.iter().map(|item| key_value(scan, ty, item)).collect::<Option<Vec<_>>>()?;
            Some((column, Restriction::Key(KeyPart::In(values))))
        }
        Expr::ArrayOp { input, operator, array, all: false } => {
            let column = column_operand(scan, input)?;
            let ty = scan.table.columns[column].ty;
            let is_equality =
                basalt_functions::equality(ty.oid).is_some_and(|equal| equal.oid == operator.oid);
            let element = array.ty().info()?.element;
            let own = |id: &ColumnId| scan.columns.iter().any(|(column, _)| column == id);
            let textual = |oid| matches!(oid, Oid::TEXT | Oid::VARCHAR);
            let fits = element == ty.oid || textual(element) && textual(ty.oid);
            if !is_equality || !fits || columns(array).iter().any(own) || is_pinned(array) {
                return None;
            }
            Some((column, Restriction::Key(KeyPart::Any(array.as_ref().clone()))))
        }
        Expr::IsNull { input, negated: false } => {
            let column = column_operand(scan, input)?;
            Some((column, Restriction::Key(KeyPart::IsNull)))
        }
        Expr::Column { .. } | Expr::Not(_) => {
            let (inner, value) = match expr {
                Expr::Not(inner) => (inner.as_ref(), false),
                other => (other, true),
            };
            let column = column_operand(scan, inner)?;
            (scan.table.columns[column].ty.oid == Oid::BOOL).then(|| {
                (column, Restriction::Key(KeyPart::Equal(Expr::literal(Datum::Bool(value), SqlType::BOOL))))
            })
        }
        _ => None,
    }
}

fn flip(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "=" => "=",
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        _ => return None,
    })
}

/// The text that every match of a LIKE pattern begins with.
fn like_prefix(scan: &Scan, left: &Expr, right: &Expr) -> Option<(usize, Restriction)> {
    let column = column_operand(scan, left)?;
    let ty = scan.table.columns[column].ty;
    if !matches!(ty.oid, Oid::TEXT | Oid::VARCHAR) {
        return None;
    }
    let Expr::Literal { value: Datum::Text(pattern), .. } = right else { return None };
    let prefix: String = pattern.chars().take_while(|c| !matches!(c, '%' | '_' | '\\')).collect();
    if prefix.is_empty() {
        return None;
    }
    let literal = |text: &str| Expr::literal(Datum::text(text), ty.bare());
    // The least text above all that begin so: the last character that can be is raised by one.
    let mut above: Vec<char> = prefix.chars().collect();
    let mut upper = None;
    while let Some(last) = above.pop() {
        let next = (u32::from(last) + 1..=0x10_FFFF).find_map(char::from_u32);
        if let Some(next) = next {
            above.push(next);
            upper = Some(literal(&above.iter().collect::<String>()));
            break;
        }
    }
    Some((column, Restriction::Prefix(literal(&prefix), upper)))
}
