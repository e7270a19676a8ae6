//! `testdata/scalar.tsv`: function, result (`V` value, `N` null, `E` SQLSTATE), arguments as `type=text`.
//! Results are what PostgreSQL 15 printed in the zone America/New_York.

use basalt_types::{Datum, Oid, SqlType, sql_type::type_by_name};

use crate::tests::session::context;
use crate::{Call, CastContext, Function, find_cast, io, registry};

static CASES: &str = include_str!("../../testdata/scalar.tsv");

fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => result.push('\n'),
                Some('t') => result.push('\t'),
                Some('r') => result.push('\r'),
                Some(other) => result.push(other),
                None => result.push('\\'),
            },
            other => result.push(other),
        }
    }
    result
}

fn named_type(name: &str) -> SqlType {
    let array = name.strip_suffix("[]").map(|element| format!("_{element}"));
    let info = type_by_name(array.as_deref().unwrap_or(name)).unwrap_or_else(|| panic!("no type {name}"));
    SqlType::new(info.oid, -1)
}

fn takes(declared: Oid, actual: Oid) -> bool {
    let polymorphic = [
        Oid::ANY,
        Oid::ANYELEMENT,
        Oid::ANYNONARRAY,
        Oid::ANYCOMPATIBLE,
        Oid::ANYARRAY,
        Oid::ANYCOMPATIBLEARRAY,
    ];
    declared == actual || polymorphic.contains(&declared)
}

/// The overload with these types, else the one to which they all cast implicitly.
fn resolve(name: &str, types: &[SqlType]) -> Option<(&'static Function, bool)> {
    let same_count =
        |function: &&&'static Function| function.args.len() == types.len() && function.scalar().is_some();
    let named = registry().functions_named(name);
    let exact = named.iter().filter(same_count).find(|function| {
        function.args.iter().zip(types).all(|(declared, actual)| takes(*declared, actual.oid))
    });
    if let Some(function) = exact {
        return Some((function, false));
    }
    let cast = named.iter().filter(same_count).find(|function| {
        function.args.iter().zip(types).all(|(declared, actual)| {
            takes(*declared, actual.oid) || find_cast(actual.oid, *declared, CastContext::Implicit).is_some()
        })
    });
    cast.map(|function| (*function, true))
}

/// The type of a result, from the declaration and the arguments.
fn result_type(function: &Function, types: &[SqlType]) -> SqlType {
    match function.returns {
        Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY => {
            let array = types.iter().find(|arg| arg.is_array()).copied();
            if function.name == "array_fill" { types[0].array() } else { array }
                .expect("an array among the arguments")
        }
        oid => SqlType::new(oid, -1),
    }
}

fn run(name: &str, arguments: &[&str]) -> Result<String, String> {
    let context = context();
    let mut types = Vec::new();
    let mut values = Vec::new();
    for argument in arguments {
        let (type_name, text) = argument.split_once('=').expect("type=text");
        let sql_type = named_type(type_name);
        types.push(sql_type);
        let call = Call { context: &context, arg_types: &[], return_type: sql_type };
        values.push(if text == "\\N" {
            Datum::Null
        } else {
            io::input(&call, sql_type, &unescape(text)).map_err(|error| format!("E{}", error.sqlstate()))?
        });
    }
    let (function, casts) = resolve(name, &types).ok_or("no such function")?;
    if casts {
        for ((value, sql_type), declared) in values.iter_mut().zip(&mut types).zip(&function.args) {
            if let Some(method) = find_cast(sql_type.oid, *declared, CastContext::Implicit) {
                let target = SqlType::new(*declared, -1);
                let call = Call { context: &context, arg_types: &[*sql_type], return_type: target };
                *value = method.apply(&call, value).map_err(|error| format!("E{}", error.sqlstate()))?;
                *sql_type = target;
            }
        }
    }
    let return_type = result_type(function, &types);
    let call = Call { context: &context, arg_types: &types, return_type };
    match function.call(&call, &values) {
        Ok(Datum::Null) => Ok("N".into()),
        Ok(value) => Ok(format!("V{}", io::output(&call, &value, return_type))),
        Err(error) => Err(format!("E{}", error.sqlstate())),
    }
}

/// Functions for which the C library that PostgreSQL used does not round to nearest.
fn differs_in_the_last_digit(name: &str, found: &str, expected: &str) -> bool {
    let number = |text: &str| text.trim_start_matches('V').parse::<f64>();
    let (Ok(found), Ok(expected)) = (number(found), number(expected)) else { return false };
    matches!(name, "cbrt" | "asinh" | "acosh" | "atanh" | "sinh" | "cosh" | "tanh")
        && (found - expected).abs() <= expected.abs() * f64::EPSILON * 2.0
}

#[test]
fn scalar_functions_agree_with_postgresql() {
    let mut failures = Vec::new();
    let mut count = 0;
    for line in CASES.lines() {
        count += 1;
        let fields: Vec<&str> = line.split('\t').collect();
        let (name, expected, arguments) = (fields[0], fields[1], &fields[2..]);
        let expected = if let Some(value) = expected.strip_prefix('V') {
            format!("V{}", unescape(value))
        } else {
            expected.into()
        };
        let found = run(name, arguments).unwrap_or_else(|error| error);
        if found != expected && !differs_in_the_last_digit(name, &found, &expected) {
            failures.push(format!("{name} {arguments:?}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(count > 5000);
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}
