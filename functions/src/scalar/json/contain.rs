//! Comparison, containment and existence of jsonb.

use basalt_types::json::Json;
use basalt_types::{Array, Datum, Result};

use crate::builder::{Builder, call_scalars, scalars};
use crate::{Call, EvalContext};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "jsonb_eq" => |a: &Json, b: &Json| a.compare(b).is_eq(),
        "jsonb_ne" => |a: &Json, b: &Json| a.compare(b).is_ne(),
        "jsonb_lt" => |a: &Json, b: &Json| a.compare(b).is_lt(),
        "jsonb_le" => |a: &Json, b: &Json| a.compare(b).is_le(),
        "jsonb_gt" => |a: &Json, b: &Json| a.compare(b).is_gt(),
        "jsonb_ge" => |a: &Json, b: &Json| a.compare(b).is_ge(),
        "jsonb_cmp" => |a: &Json, b: &Json| a.compare(b) as i32,
        "jsonb_exists" => exists,
        "jsonb_exists_any" => |a: &Json, keys: &Array| texts(keys).any(|key| exists(a, key)),
        "jsonb_exists_all" => |a: &Json, keys: &Array| texts(keys).all(|key| exists(a, key)),
    });
    call_scalars!(builder, {
        "jsonb_contains" => contains,
        "jsonb_contained" => |call: &Call<'_>, a: &Json, b: &Json| contains(call, b, a),
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
fn contains(call: &Call<'_>, json: &Json, part: &Json) -> Result<bool> {
    match (json, part) {
        (Json::Array(items), scalar) if scalar.is_scalar() => {
            Ok(items.iter().any(|item| same_scalar(item, scalar)))
        }
        _ => contains_within(call.context, json, part, &mut 0),
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

/// Arrays are compared element by element, which may be many times many: `steps` are counted.
fn contains_within(context: &EvalContext, json: &Json, part: &Json, steps: &mut usize) -> Result<bool> {
    *steps += 1;
    context.check_at(*steps)?;
    match (json, part) {
        (Json::Object(object), Json::Object(part)) => {
            for (key, wanted) in part.iter() {
                let Some(value) = object.get(key) else { return Ok(false) };
                if !contains_within(context, value, wanted, steps)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::Array(items), Json::Array(part)) => {
            'part: for wanted in part {
                for item in items {
                    if contains_within(context, item, wanted, steps)? {
                        continue 'part;
                    }
                }
                return Ok(false);
            }
            Ok(true)
        }
        (a, b) => Ok(same_scalar(a, b)),
    }
}
