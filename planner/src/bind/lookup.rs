//! Rows of the function registry as resolution asks for them.

use basalt_functions::{CastContext, CastMethod, Function, FunctionKind, Operator};
use basalt_types::{Category, Oid, SqlType};

pub(crate) fn functions(name: &str) -> impl Iterator<Item = &'static Function> {
    basalt_functions::functions_named(name).iter().copied()
}

pub(crate) fn operators(name: &str) -> impl Iterator<Item = &'static Operator> {
    basalt_functions::operators_named(name).iter()
}

pub(crate) fn category(oid: Oid) -> Category {
    SqlType::new(oid, -1).info().map_or(Category::UserDefined, |info| info.category)
}

pub(crate) fn preferred(oid: Oid) -> bool {
    SqlType::new(oid, -1).info().is_some_and(|info| info.preferred)
}

pub(crate) fn element(oid: Oid) -> Option<Oid> {
    match oid {
        Oid::INT2VECTOR => Some(Oid::INT2),
        Oid::OIDVECTOR => Some(Oid::OID),
        _ => SqlType::new(oid, -1).info().map(|info| info.element).filter(|element| element.0 != 0),
    }
}

pub(crate) fn array_of(oid: Oid) -> Option<Oid> {
    SqlType::new(oid, -1).info().map(|info| info.array).filter(|array| array.0 != 0)
}

pub(crate) fn is_polymorphic(oid: Oid) -> bool {
    matches!(
        oid,
        Oid::ANYELEMENT | Oid::ANYARRAY | Oid::ANYNONARRAY | Oid::ANYCOMPATIBLE | Oid::ANYCOMPATIBLEARRAY
    )
}

pub(crate) fn is_aggregate(function: &Function) -> bool {
    matches!(function.kind, FunctionKind::Aggregate(_))
}

/// How a value of one type becomes another in a context.
pub(crate) fn pathway(source: Oid, target: Oid, context: CastContext) -> Option<CastMethod> {
    // The vectors of the catalogs are arrays with another lower bound.
    if matches!((source, target), (Oid::INT2VECTOR, Oid(1005)) | (Oid::OIDVECTOR, Oid(1028))) {
        return Some(CastMethod::Binary);
    }
    basalt_functions::find_cast(source, target, context)
}

/// PostgreSQL's `can_coerce_type` for one value.
pub(crate) fn can_coerce(source: Oid, target: Oid, context: CastContext) -> bool {
    if source == target
        || source == Oid::UNKNOWN
        || target == Oid::ANY
        || target == Oid::ANYELEMENT
        || target == Oid::ANYCOMPATIBLE
    {
        return true;
    }
    match target {
        Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY => element(source).is_some() || source == Oid::ANYARRAY,
        Oid::ANYNONARRAY => element(source).is_none(),
        // A row of any shape.
        Oid::RECORD => category(source) == Category::Composite,
        _ => pathway(source, target, context).is_some(),
    }
}
