//! Rows of json and jsonb: elements, pairs and keys.

use basalt_types::json::{Json, RawJson};
use basalt_types::{Datum, Result, SqlError};

use crate::builder::Builder;
use crate::scalar::json::{jsonb_text, level, raw_text, refuse};
use crate::set::empty;
use crate::{Call, RowSource};

pub fn register(builder: &mut Builder) {
    builder.set("json_array_elements", |_, args| elements("json_array_elements", args, raw));
    builder
        .set("json_array_elements_text", |_, args| elements("json_array_elements_text", args, raw_as_text));
    builder.set("json_each", |_, args| pairs(args, raw));
    builder.set("json_each_text", |_, args| pairs(args, raw_as_text));
    builder.set("json_object_keys", keys);
    builder.set("jsonb_array_elements", |_, args| elements_b(args, |value| Datum::jsonb(value.clone())));
    builder.set("jsonb_array_elements_text", |_, args| elements_b(args, text));
    builder.set("jsonb_each", |_, args| pairs_b("jsonb_each", args, |value| Datum::jsonb(value.clone())));
    builder.set("jsonb_each_text", |_, args| pairs_b("jsonb_each_text", args, text));
    builder.set("jsonb_object_keys", keys_b);
}

fn rows(rows: Vec<Result<Vec<Datum>>>) -> RowSource {
    Box::new(rows.into_iter())
}

fn raw(json: &str) -> Result<Datum> {
    Ok(Datum::text(json))
}

fn raw_as_text(json: &str) -> Result<Datum> {
    Ok(raw_text(json)?.map_or(Datum::Null, Datum::text))
}

fn text(value: &Json) -> Datum {
    jsonb_text(value).map_or(Datum::Null, Datum::text)
}

fn elements(function: &str, args: &[Datum], value: fn(&str) -> Result<Datum>) -> Result<RowSource> {
    let [Datum::Text(json)] = args else { return Ok(empty()) };
    match level(json)? {
        RawJson::Array(items) => Ok(rows(items.into_iter().map(|item| Ok(vec![value(item)?])).collect())),
        RawJson::Object(_) => Err(refuse(format!("cannot call {function} on a non-array"))),
        _ => Err(refuse(format!("cannot call {function} on a scalar"))),
    }
}

fn pairs(args: &[Datum], value: fn(&str) -> Result<Datum>) -> Result<RowSource> {
    let [Datum::Text(json)] = args else { return Ok(empty()) };
    match level(json)? {
        RawJson::Object(pairs) => {
            let pairs = pairs.into_iter().map(|(key, item)| Ok(vec![Datum::text(key), value(item)?]));
            Ok(rows(pairs.collect()))
        }
        RawJson::Array(_) => Err(refuse("cannot deconstruct an array as an object")),
        _ => Err(refuse("cannot deconstruct a scalar")),
    }
}

fn keys_of_other(function: &str, is_array: bool) -> SqlError {
    refuse(format!("cannot call {function} on {}", if is_array { "an array" } else { "a scalar" }))
}

fn keys(_: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let [Datum::Text(json)] = args else { return Ok(empty()) };
    match level(json)? {
        RawJson::Object(pairs) => {
            Ok(rows(pairs.into_iter().map(|(key, _)| Ok(vec![Datum::text(key)])).collect()))
        }
        other => Err(keys_of_other("json_object_keys", matches!(other, RawJson::Array(_)))),
    }
}

fn elements_b(args: &[Datum], value: fn(&Json) -> Datum) -> Result<RowSource> {
    let [Datum::Jsonb(json)] = args else { return Ok(empty()) };
    match &**json {
        Json::Array(items) => Ok(rows(items.iter().map(|item| Ok(vec![value(item)])).collect())),
        Json::Object(_) => Err(refuse("cannot extract elements from an object")),
        _ => Err(refuse("cannot extract elements from a scalar")),
    }
}

fn pairs_b(function: &str, args: &[Datum], value: fn(&Json) -> Datum) -> Result<RowSource> {
    let [Datum::Jsonb(json)] = args else { return Ok(empty()) };
    match &**json {
        Json::Object(object) => {
            Ok(rows(object.iter().map(|(key, item)| Ok(vec![Datum::text(key), value(item)])).collect()))
        }
        _ => Err(refuse(format!("cannot call {function} on a non-object"))),
    }
}

fn keys_b(_: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let [Datum::Jsonb(json)] = args else { return Ok(empty()) };
    match &**json {
        Json::Object(object) => Ok(rows(object.iter().map(|(key, _)| Ok(vec![Datum::text(key)])).collect())),
        other => Err(keys_of_other("jsonb_object_keys", matches!(other, Json::Array(_)))),
    }
}
