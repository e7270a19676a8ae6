//! The registry as a whole.

use basalt_types::Oid;

use crate::{
    CastContext, CastMethod, comparison_type, equality, find_cast, functions_named, less_than,
    operator_function, operators_named, registry,
};

#[test]
fn every_operator_of_the_catalog_has_its_function() {
    // Access control items are not values here.
    let missing: Vec<_> = crate::catalog::operators()
        .filter(|row| crate::function_by_oid(row.function).is_none())
        .map(|row| (row.name, row.left, row.right))
        .filter(|(_, left, _)| left.is_none_or(|left| comparison_type(left).is_some() && left != Oid(1034)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_cast_of_the_catalog_is_there() {
    let present = registry().casts.len();
    assert_eq!(present, crate::catalog::casts().count());
}

#[test]
fn operators_are_found_by_their_types() {
    let plus = operator_function("+", Some(Oid::INT4), Oid::INT4).expect("int4 + int4");
    assert_eq!((plus.name, plus.oid), ("int4pl", Oid(177)));
    let minus = operator_function("-", None, Oid::INT4).expect("- int4");
    assert_eq!(minus.name, "int4um");
    assert!(operator_function("+", Some(Oid::BOOL), Oid::BOOL).is_none());
    assert!(operators_named("=").len() > 30);
    assert!(functions_named("no_such_function").is_empty());
}

#[test]
fn types_find_their_comparisons() {
    for (oid, name) in [
        (Oid::INT4, "int4eq"),
        (Oid::VARCHAR, "texteq"),
        (Oid::BPCHAR, "bpchareq"),
        (Oid::REGCLASS, "oideq"),
        (Oid(1007), "array_eq"),
        (Oid::RECORD, "record_eq"),
        (Oid::TIMESTAMPTZ, "timestamptz_eq"),
    ] {
        assert_eq!(equality(oid).map(|function| function.name), Some(name));
        assert!(less_than(oid).is_some());
    }
    assert!(equality(Oid::JSON).is_none());
}

#[test]
fn casts_follow_their_contexts() {
    let method = |source, target, context| find_cast(source, target, context);
    assert!(matches!(method(Oid::INT4, Oid::INT8, CastContext::Implicit), Some(CastMethod::Function(_))));
    assert!(method(Oid::INT8, Oid::INT4, CastContext::Implicit).is_none());
    assert!(method(Oid::INT8, Oid::INT4, CastContext::Assignment).is_some());
    assert!(matches!(method(Oid::VARCHAR, Oid::TEXT, CastContext::Implicit), Some(CastMethod::Binary)));
    assert!(matches!(method(Oid::INT4, Oid::TEXT, CastContext::Assignment), Some(CastMethod::InOut)));
    assert!(method(Oid::TEXT, Oid::INT4, CastContext::Assignment).is_none());
    assert!(matches!(method(Oid::TEXT, Oid::INT4, CastContext::Explicit), Some(CastMethod::InOut)));
    assert!(method(Oid(1007), Oid(1016), CastContext::Implicit).is_some());
    assert!(method(Oid::BOOL, Oid::DATE, CastContext::Explicit).is_none());
}
