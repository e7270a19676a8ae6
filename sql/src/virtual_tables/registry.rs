//! pg_type, pg_proc, pg_operator, pg_cast: the built-in registries.

use basalt_functions::{CastContext, CastMethod, FunctionKind, Volatility, registry};
use basalt_types::{Category, Datum, Oid, sql_type};

use super::row::{FALSE, Rows, TRUE, letter, oid, oid_vector, text};
use crate::catalog::{PG_CATALOG_SCHEMA, POSTGRES_ROLE};

pub(super) fn types(out: &mut Rows) {
    out.default(&[
        ("typnamespace", oid(PG_CATALOG_SCHEMA)),
        ("typowner", oid(POSTGRES_ROLE)),
        ("typisdefined", TRUE),
        ("typdelim", letter(',')),
        ("typrelid", oid(Oid(0))),
        ("typsubscript", oid(Oid(0))),
        ("typinput", oid(Oid(0))),
        ("typoutput", oid(Oid(0))),
        ("typreceive", oid(Oid(0))),
        ("typsend", oid(Oid(0))),
        ("typmodin", oid(Oid(0))),
        ("typmodout", oid(Oid(0))),
        ("typanalyze", oid(Oid(0))),
        ("typalign", letter('i')),
        ("typnotnull", FALSE),
        ("typbasetype", oid(Oid(0))),
        ("typtypmod", Datum::Int4(-1)),
        ("typndims", Datum::Int4(0)),
    ]);
    for info in sql_type::all_types() {
        let is_text = matches!(info.oid, Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME);
        out.push(vec![
            ("oid", oid(info.oid)),
            ("typname", text(info.name)),
            ("typlen", Datum::Int2(info.length)),
            ("typbyval", Datum::Bool((1..=8).contains(&info.length))),
            ("typtype", letter(if info.category == Category::Pseudo { 'p' } else { 'b' })),
            ("typcategory", letter(info.category.letter())),
            ("typispreferred", Datum::Bool(info.preferred)),
            ("typelem", oid(info.element)),
            ("typarray", oid(info.array)),
            ("typstorage", letter(if info.length == -1 { 'x' } else { 'p' })),
            ("typcollation", oid(if is_text { Oid(100) } else { Oid(0) })),
        ]);
    }
}

pub(super) fn functions(out: &mut Rows) {
    out.default(&[
        ("pronamespace", oid(PG_CATALOG_SCHEMA)),
        ("proowner", oid(POSTGRES_ROLE)),
        ("prolang", oid(Oid(12))),
        ("procost", Datum::Float4(1.0)),
        ("prosupport", oid(Oid(0))),
        ("prosecdef", FALSE),
        ("proleakproof", FALSE),
        ("proparallel", letter('s')),
    ]);
    for function in &registry().functions {
        let kind = match function.kind {
            FunctionKind::Aggregate(_) => 'a',
            FunctionKind::Window(_) => 'w',
            FunctionKind::Scalar(_) | FunctionKind::Set { .. } => 'f',
        };
        let is_set = matches!(function.kind, FunctionKind::Set { .. });
        let volatility = match function.volatility {
            Volatility::Immutable => 'i',
            Volatility::Stable => 's',
            Volatility::Volatile => 'v',
        };
        out.push(vec![
            ("oid", oid(function.oid)),
            ("proname", text(function.name)),
            ("prorows", Datum::Float4(if is_set { 1_000.0 } else { 0.0 })),
            ("provariadic", oid(function.variadic.unwrap_or_default())),
            ("prokind", letter(kind)),
            ("proisstrict", Datum::Bool(function.strict)),
            ("proretset", Datum::Bool(is_set)),
            ("provolatile", letter(volatility)),
            ("pronargs", Datum::Int2(function.args.len() as i16)),
            ("pronargdefaults", Datum::Int2(function.defaults as i16)),
            ("prorettype", oid(function.returns)),
            ("proargtypes", oid_vector(function.args.iter().copied())),
            ("prosrc", text(function.name)),
        ]);
    }
}

pub(super) fn operators(out: &mut Rows) {
    out.default(&[
        ("oprnamespace", oid(PG_CATALOG_SCHEMA)),
        ("oprowner", oid(POSTGRES_ROLE)),
        ("oprcom", oid(Oid(0))),
        ("oprnegate", oid(Oid(0))),
        ("oprrest", oid(Oid(0))),
        ("oprjoin", oid(Oid(0))),
    ]);
    for operator in &registry().operators {
        let hashable = operator.name == "=" && operator.left == Some(operator.right);
        out.push(vec![
            ("oid", oid(operator.oid)),
            ("oprname", text(operator.name)),
            ("oprkind", letter(if operator.left.is_some() { 'b' } else { 'l' })),
            ("oprcanmerge", Datum::Bool(hashable)),
            ("oprcanhash", Datum::Bool(hashable)),
            ("oprleft", oid(operator.left.unwrap_or_default())),
            ("oprright", oid(operator.right)),
            ("oprresult", oid(operator.result)),
            ("oprcode", oid(operator.function.oid)),
        ]);
    }
}

pub(super) fn casts(out: &mut Rows) {
    for (number, cast) in (1..).zip(&registry().casts) {
        let context = match cast.context {
            CastContext::Implicit => 'i',
            CastContext::Assignment => 'a',
            CastContext::Explicit => 'e',
        };
        let (method, function) = match cast.method {
            CastMethod::Function(function) => ('f', function.oid),
            CastMethod::Binary => ('b', Oid(0)),
            CastMethod::InOut => ('i', Oid(0)),
        };
        out.push(vec![
            ("oid", oid(Oid(number))),
            ("castsource", oid(cast.source)),
            ("casttarget", oid(cast.target)),
            ("castfunc", oid(function)),
            ("castcontext", letter(context)),
            ("castmethod", letter(method)),
        ]);
    }
}
