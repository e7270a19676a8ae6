//! Parts of json: the text as written.

use basalt_types::json::{RawJson, raw_kind, unescape};
use basalt_types::{Array, Datum, Result};

use crate::builder::{Builder, scalars};
use crate::scalar::json::{element_position, level, refuse};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "json_object_field" => |json: &str, key: &str| field(json, key).map(|found| found.map(str::to_owned)),
        "json_object_field_text" => |json: &str, key: &str| field(json, key)?.map_or(Ok(None), raw_text),
        "json_array_element" => |json: &str, index: i32| element(json, index).map(|found| found.map(str::to_owned)),
        "json_array_element_text" => |json: &str, index: i32| element(json, index)?.map_or(Ok(None), raw_text),
        "json_extract_path" => |json: &str, path: &Array| extract(json, path).map(|found| found.map(str::to_owned)),
        "json_extract_path_text" => |json: &str, path: &Array| extract(json, path)?.map_or(Ok(None), raw_text),
        "json_typeof" => |json: &str| raw_kind(json),
        "json_array_length" => |json: &str| match level(json)? {
            RawJson::Array(items) => Ok(items.len() as i32),
            RawJson::Object(_) => Err(refuse("cannot get array length of a non-array")),
            _ => Err(refuse("cannot get array length of a scalar")),
        },
        "json_strip_nulls" => |json: &str| {
            let mut out = String::with_capacity(json.len());
            strip_nulls(json, &mut out)?;
            Ok::<_, basalt_types::SqlError>(out)
        },
    });
}

/// The value as text: strings unescaped, null as NULL.
pub fn raw_text(json: &str) -> Result<Option<String>> {
    Ok(match level(json)? {
        RawJson::Null => None,
        RawJson::String(body) => Some(unescape(body)?),
        RawJson::Bool(_) | RawJson::Number(_) => Some(json.trim_matches([' ', '\t', '\n', '\r']).to_owned()),
        RawJson::Array(_) | RawJson::Object(_) => Some(json.to_owned()),
    })
}

/// Of several pairs with the key, the last.
fn field<'a>(json: &'a str, key: &str) -> Result<Option<&'a str>> {
    Ok(match level(json)? {
        RawJson::Object(pairs) => pairs.into_iter().rfind(|(own, _)| own == key).map(|(_, value)| value),
        _ => None,
    })
}

fn element(json: &str, index: i32) -> Result<Option<&str>> {
    Ok(match level(json)? {
        RawJson::Array(items) => element_position(index, items.len()).map(|position| items[position]),
        _ => None,
    })
}

fn extract<'a>(json: &'a str, path: &Array) -> Result<Option<&'a str>> {
    let mut found = json;
    for step in &path.elements {
        let Datum::Text(step) = step else { return Ok(None) };
        let next = match level(found)? {
            RawJson::Object(_) => field(found, step)?,
            RawJson::Array(items) => path_index(step)
                .and_then(|index| element_position(index, items.len()))
                .map(|position| items[position]),
            _ => None,
        };
        let Some(next) = next else { return Ok(None) };
        found = next;
    }
    Ok(Some(found))
}

/// A step of a path as an index: as C's strtol reads it, blanks before it allowed.
pub fn path_index(step: &str) -> Option<i32> {
    let digits = step.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    digits.parse().ok()
}

/// Without the pairs whose value is null, and without blanks.
fn strip_nulls(json: &str, out: &mut String) -> Result<()> {
    match level(json)? {
        RawJson::Array(items) => {
            out.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                strip_nulls(item, out)?;
            }
            out.push(']');
        }
        RawJson::Object(pairs) => {
            out.push('{');
            let kept = pairs.into_iter().filter(|(_, value)| raw_kind(value) != "null");
            for (index, (key, value)) in kept.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                basalt_types::json::push_json_string(&key, out);
                out.push(':');
                strip_nulls(value, out)?;
            }
            out.push('}');
        }
        RawJson::String(body) => basalt_types::json::push_json_string(&unescape(body)?, out),
        _ => out.push_str(json.trim_matches([' ', '\t', '\n', '\r'])),
    }
    Ok(())
}
