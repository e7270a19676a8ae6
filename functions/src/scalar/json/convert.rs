//! Casts of jsonb to boolean and to numbers.

use basalt_types::json::Json;
use basalt_types::{Numeric, Result};

use crate::builder::{Builder, scalars};
use crate::scalar::json::refuse;

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "bool(jsonb)" => |json: &Json| match json {
            Json::Bool(value) => Ok(*value),
            other => Err(refused(other, "boolean")),
        },
        "numeric(jsonb)" => |json: &Json| number(json, "numeric").cloned(),
        "int2(jsonb)" => |json: &Json| number(json, "smallint")?.to_i16(),
        "int4(jsonb)" => |json: &Json| number(json, "integer")?.to_i32(),
        "int8(jsonb)" => |json: &Json| number(json, "bigint")?.to_i64(),
        "float4(jsonb)" => |json: &Json| number(json, "real")?.to_f32(),
        "float8(jsonb)" => |json: &Json| number(json, "double precision")?.to_f64(),
    });
}

fn number<'a>(json: &'a Json, target: &str) -> Result<&'a Numeric> {
    match json {
        Json::Number(value) => Ok(value),
        other => Err(refused(other, target)),
    }
}

fn refused(json: &Json, target: &str) -> basalt_types::SqlError {
    let kind = match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "numeric",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    refuse(format!("cannot cast jsonb {kind} to type {target}"))
}
