//! Parts of jsonb.

use basalt_types::json::{Json, push_json_text_pretty};
use basalt_types::{Array, Datum, Result};

use crate::builder::{Builder, scalars};
use crate::scalar::json::raw::path_index;
use crate::scalar::json::{element_position, jsonb_text, refuse};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "jsonb_object_field" => |json: &Json, key: &str| field(json, key).cloned(),
        "jsonb_object_field_text" => |json: &Json, key: &str| field(json, key).and_then(jsonb_text),
        "jsonb_array_element" => |json: &Json, index: i32| element(json, index).cloned(),
        "jsonb_array_element_text" => |json: &Json, index: i32| element(json, index).and_then(jsonb_text),
        "jsonb_extract_path" => |json: &Json, path: &Array| extract(json, path).cloned(),
        "jsonb_extract_path_text" => |json: &Json, path: &Array| extract(json, path).and_then(jsonb_text),
        "jsonb_typeof" => kind,
        "jsonb_array_length" => array_length,
        "jsonb_pretty" => |json: &Json| {
            let mut out = String::new();
            push_json_text_pretty(json, 0, &mut out);
            out
        },
    });
}

fn field<'a>(json: &'a Json, key: &str) -> Option<&'a Json> {
    match json {
        Json::Object(object) => object.get(key),
        _ => None,
    }
}

fn element(json: &Json, index: i32) -> Option<&Json> {
    match json {
        Json::Array(items) => element_position(index, items.len()).map(|position| &items[position]),
        // A scalar is kept as an array of one.
        scalar if scalar.is_scalar() && matches!(index, 0 | -1) => Some(scalar),
        _ => None,
    }
}

fn extract<'a>(json: &'a Json, path: &Array) -> Option<&'a Json> {
    path.elements.iter().try_fold(json, |found, step| {
        let Datum::Text(step) = step else { return None };
        match found {
            Json::Object(object) => object.get(step),
            Json::Array(_) => element(found, path_index(step)?),
            _ => None,
        }
    })
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn array_length(json: &Json) -> Result<i32> {
    match json {
        Json::Array(items) => Ok(items.len() as i32),
        Json::Object(_) => Err(refuse("cannot get array length of a non-array")),
        _ => Err(refuse("cannot get array length of a scalar")),
    }
}
