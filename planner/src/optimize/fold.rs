//! Constant folding.
//!
//! Only immutable calls over literals are computed. A constant that fails fails the statement, whether a row would ever
//! reach it or not, as in PostgreSQL; what a constant condition before it makes unreachable is not computed.

use std::sync::Arc;

use basalt_functions::{Call, EvalContext, Volatility};
use basalt_types::{Datum, Result, SqlType, apply_typmod};

use super::walk::{children_mut, exprs_mut, inputs_mut};
use crate::{Expr, Plan, PlanNode};

/// Fails when a constant part of the plan does, as PostgreSQL's planner does.
pub(super) fn fold_plan(plan: &mut Plan, context: &EvalContext) -> Result<()> {
    let mut result = Ok(());
    exprs_mut(&mut plan.node, &mut |expr| {
        if result.is_ok() {
            result = fold(expr, context);
        }
    });
    result?;
    if let PlanNode::Filter { predicate, .. } = &mut plan.node {
        unknown_is_false(predicate);
    }
    for input in inputs_mut(&mut plan.node) {
        fold_plan(input, context)?;
    }
    Ok(())
}

/// A condition that is not known to hold rejects a row as one that does not: `NULL AND a / 0 > 1` is never computed.
fn unknown_is_false(condition: &mut Expr) {
    let is =
        |part: &Expr, wanted: bool| matches!(literal(part), Some(Datum::Bool(value)) if *value == wanted);
    match condition {
        Expr::Literal { value: Datum::Null, .. } => *condition = boolean(Some(false)),
        Expr::And(parts) => {
            parts.iter_mut().for_each(unknown_is_false);
            if parts.iter().any(|part| is(part, false)) {
                *condition = boolean(Some(false));
            }
        }
        Expr::Or(parts) => {
            parts.iter_mut().for_each(unknown_is_false);
            parts.retain(|part| !is(part, false));
            match parts.len() {
                0 => *condition = boolean(Some(false)),
                1 => *condition = parts.remove(0),
                _ => {}
            }
        }
        _ => {}
    }
}

fn literal(expr: &Expr) -> Option<&Datum> {
    match expr {
        Expr::Literal { value, .. } => Some(value),
        _ => None,
    }
}

fn boolean(value: Option<bool>) -> Expr {
    Expr::literal(value.map_or(Datum::Null, Datum::Bool), SqlType::BOOL)
}

pub(super) fn fold(expr: &mut Expr, context: &EvalContext) -> Result<()> {
    match expr {
        Expr::Subquery(subquery) => fold_plan(Arc::make_mut(&mut subquery.plan), context)?,
        // Parts that a constant before them makes unreachable are not computed.
        Expr::Case { branches, otherwise, .. } => {
            let mut reached = true;
            for (condition, result) in branches.iter_mut() {
                if !reached {
                    break;
                }
                fold(condition, context)?;
                match literal(condition) {
                    Some(Datum::Bool(true)) => {
                        fold(result, context)?;
                        reached = false;
                    }
                    Some(Datum::Bool(false) | Datum::Null) => {}
                    _ => fold(result, context)?,
                }
            }
            if reached && let Some(otherwise) = otherwise {
                fold(otherwise, context)?;
            }
        }
        Expr::Coalesce { args, .. } => {
            for arg in args.iter_mut() {
                fold(arg, context)?;
                if literal(arg).is_some_and(|value| !value.is_null()) {
                    break;
                }
            }
        }
        Expr::And(_) | Expr::Or(_) => {
            let ends = matches!(expr, Expr::Or(_));
            if let Expr::And(list) | Expr::Or(list) = expr {
                for part in list.iter_mut() {
                    fold(part, context)?;
                    if matches!(literal(part), Some(Datum::Bool(value)) if *value == ends) {
                        break;
                    }
                }
            }
        }
        _ => {
            let mut result = Ok(());
            children_mut(expr, &mut |child| {
                if result.is_ok() {
                    result = fold(child, context);
                }
            });
            result?;
        }
    }
    if let Some(folded) = folded(expr, context)? {
        *expr = folded;
    }
    Ok(())
}

fn folded(expr: &mut Expr, context: &EvalContext) -> Result<Option<Expr>> {
    match expr {
        Expr::Call(call) => {
            // A strict function of NULL is NULL whatever its other arguments are; they are not computed.
            let scalar = call.function.scalar().is_some();
            if scalar
                && call.function.strict
                && call.args.iter().any(|arg| literal(arg).is_some_and(Datum::is_null))
            {
                return Ok(Some(Expr::literal(Datum::Null, call.ty)));
            }
            if call.function.volatility != Volatility::Immutable || !scalar {
                return Ok(None);
            }
            let args: Option<Vec<Datum>> = call.args.iter().map(|arg| literal(arg).cloned()).collect();
            let Some(args) = args else { return Ok(None) };
            let arg_types: Vec<SqlType> = call.args.iter().map(Expr::ty).collect();
            let site = Call { context, arg_types: &arg_types, return_type: call.ty };
            let value = call.function.call(&site, &args)?;
            Ok(Some(Expr::literal(value, call.ty)))
        }
        Expr::Cast { input, to, method, .. } => {
            let source = input.ty();
            let Some(value) = literal(input) else { return Ok(None) };
            // Reading and writing text may depend on settings and the clock.
            let immutable = match method {
                basalt_functions::CastMethod::Function(function) => {
                    function.volatility == Volatility::Immutable
                }
                basalt_functions::CastMethod::Binary => true,
                basalt_functions::CastMethod::InOut => value.is_null(),
            };
            if !immutable {
                return Ok(None);
            }
            let site = Call { context, arg_types: &[source], return_type: *to };
            Ok(Some(Expr::literal(method.apply(&site, value)?, *to)))
        }
        Expr::Coerce { input, to, explicit } => {
            let Some(value) = literal(input).cloned() else { return Ok(None) };
            let rule = if *explicit {
                basalt_types::LengthRule::ExplicitCast
            } else {
                basalt_types::LengthRule::Assignment
            };
            Ok(Some(Expr::literal(apply_typmod(value, *to, rule)?, *to)))
        }
        other => Ok(logic(other)),
    }
}

/// Constructs whose constants never fail.
fn logic(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::And(list) => connective(list, true),
        Expr::Or(list) => connective(list, false).or_else(|| in_list(list)),
        Expr::Not(input) => match literal(input)? {
            Datum::Bool(value) => Some(boolean(Some(!*value))),
            Datum::Null => Some(boolean(None)),
            _ => None,
        },
        Expr::IsNull { input, negated } => {
            let value = literal(input)?;
            Some(boolean(Some(value.is_null() != *negated)))
        }
        Expr::BoolTest { input, value, negated } => {
            let found = match literal(input)? {
                Datum::Bool(found) => Some(*found),
                _ => None,
            };
            Some(boolean(Some((found == *value) != *negated)))
        }
        Expr::Case { branches, otherwise, ty } => {
            // Branches before the first true one that are never taken go away; a constant true one ends the list.
            let mut kept = Vec::new();
            for (condition, result) in branches.drain(..) {
                match literal(&condition) {
                    Some(Datum::Bool(true)) => {
                        *otherwise = Some(Box::new(result));
                        break;
                    }
                    Some(Datum::Bool(false) | Datum::Null) => {}
                    _ => kept.push((condition, result)),
                }
            }
            if kept.is_empty() {
                return Some(otherwise.take().map_or_else(|| Expr::literal(Datum::Null, *ty), |expr| *expr));
            }
            *branches = kept;
            None
        }
        Expr::Coalesce { args, ty } => {
            args.retain(|arg| !literal(arg).is_some_and(Datum::is_null));
            match args.first() {
                None => Some(Expr::literal(Datum::Null, *ty)),
                Some(first) if literal(first).is_some() => Some(args.remove(0)),
                Some(_) => None,
            }
        }
        _ => None,
    }
}

/// `a = 1 OR a = 2` as `a IN (1, 2)`, which an index can serve.
fn in_list(list: &[Expr]) -> Option<Expr> {
    let equality = |expr: &Expr| match expr {
        Expr::Call(call)
            if call.operator == Some("=")
                && call.function.args.first() == call.function.args.get(1)
                && matches!(call.args.first(), Some(Expr::Column { .. }))
                && matches!(call.args.get(1), Some(Expr::Literal { .. } | Expr::Param { .. })) =>
        {
            Some((call.function, call.args[0].clone(), call.args[1].clone()))
        }
        _ => None,
    };
    let (equal, input, first) = equality(list.first()?)?;
    let mut values = vec![first];
    for part in &list[1..] {
        let (function, column, value) = equality(part)?;
        if function.oid != equal.oid || !super::same(&column, &input) || value.ty().oid != values[0].ty().oid
        {
            return None;
        }
        values.push(value);
    }
    Some(Expr::InList { input: Box::new(input), list: values, equal, negated: false })
}

/// AND and OR over partly constant operands.
fn connective(list: &mut Vec<Expr>, is_and: bool) -> Option<Expr> {
    let decides = |expr: &Expr| matches!(literal(expr), Some(Datum::Bool(value)) if *value != is_and);
    if list.iter().any(decides) {
        return Some(boolean(Some(!is_and)));
    }
    list.retain(|expr| !matches!(literal(expr), Some(Datum::Bool(value)) if *value == is_and));
    match list.len() {
        0 => Some(boolean(Some(is_and))),
        1 => Some(list.remove(0)),
        _ if list.iter().all(|expr| literal(expr).is_some()) => Some(boolean(None)),
        _ => None,
    }
}
