//! Comparison, containment and existence of jsonb.

use basalt_types::json::Json;
use basalt_types::{Array, Datum};

use crate::builder::{Builder, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "jsonb_eq" => |a: &Json, b: &Json| a.compare(b).is_eq(),
        "jsonb_ne" => |a: &Json, b: &Json| a.compare(b).is_ne(),
        "jsonb_lt" => |a: &Json, b: &Json| a.compare(b).is_lt(),
        "jsonb_le" => |a: &Json, b: &Json| a.compare(b).is_le(),
        "jsonb_gt" => |a: &Json, b: &Json| a.compare(b).is_gt(),
        "jsonb_ge" => |a: &Json, b: &Json| a.compare(b).is_ge(),
        "jsonb_cmp" => |a: &Json, b: &Json| a.compare(b) as i32,
        "jsonb_contains" => contains,
        "jsonb_contained" => |a: &Json, b: &Json| contains(b, a),
        "jsonb_exists" => exists,
        "jsonb_exists_any" => |a: &Json, keys: &Array| texts(keys).any(|key| exists(a, key)),
        "jsonb_exists_all" => |a: &Json, keys: &Array| texts(keys).all(|key| exists(a, key)),
    });
}

/// The elements that are not NULL.
pub fn texts(array: &Array) -> impl Iterator<Item = &str> {
    array.elements.iter().filter_map(|item| match item {
        Datum::Text(text) => Some(&**text),
        _ => None,
    })
}

/// A key of an object, a string in an array, or that string.
fn exists(json: &Json, key: &str) -> bool {
    let is_key = |value: &Json| matches!(value, Json::String(text) if **text == *key);
    match json {
        Json::Object(object) => object.get(key).is_some(),
        Json::Array(items) => items.iter().any(is_key),
        scalar => is_key(scalar),
    }
}

/// `@>`. An array contains a scalar that is one of its elements, at the outermost level only.
fn contains(json: &Json, part: &Json) -> bool {
    match (json, part) {
        (Json::Array(items), scalar) if scalar.is_scalar() => {
            items.iter().any(|item| same_scalar(item, scalar))
        }
        _ => contains_within(json, part),
    }
}

fn same_scalar(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Null, Json::Null) => true,
        (Json::Bool(a), Json::Bool(b)) => a == b,
        (Json::Number(a), Json::Number(b)) => a.compare(b).is_eq(),
        (Json::String(a), Json::String(b)) => a == b,
        _ => false,
    }
}

fn contains_within(json: &Json, part: &Json) -> bool {
    match (json, part) {
        (Json::Object(object), Json::Object(part)) => part
            .iter()
            .all(|(key, wanted)| object.get(key).is_some_and(|value| contains_within(value, wanted))),
        (Json::Array(items), Json::Array(part)) => {
            part.iter().all(|wanted| items.iter().any(|item| contains_within(item, wanted)))
        }
        (a, b) => same_scalar(a, b),
    }
}
