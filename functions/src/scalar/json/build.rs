//! json and jsonb made of SQL values.

use basalt_types::json::{Json, JsonObject, push_json_string};
use basalt_types::{Array, Datum, Result, SqlError, SqlState, SqlType};

use crate::Call;
use crate::builder::{Builder, call_scalars, raw_scalars, scalars};
use crate::scalar::json::encode::{Form, json_value, push_in_lines, push_json};
use crate::scalar::json::refuse;

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "to_json" => |call: &Call<'_>, value: &Datum| in_lines(call, value, false),
        "to_jsonb" => |call: &Call<'_>, value: &Datum| json_value(call.context, value, type_at(call, 0)),
        "array_to_json(anyarray)" => |call: &Call<'_>, value: &Datum| in_lines(call, value, false),
        "array_to_json(anyarray,bool)" => |call: &Call<'_>, value: &Datum, pretty: bool| in_lines(call, value, pretty),
        "row_to_json(record)" => |call: &Call<'_>, value: &Datum| in_lines(call, value, false),
        "row_to_json(record,bool)" => |call: &Call<'_>, value: &Datum, pretty: bool| in_lines(call, value, pretty),
    });
    raw_scalars!(builder, {
        "json_build_array()" => build_array,
        "json_build_array(any)" => build_array,
        "json_build_object()" => build_object,
        "json_build_object(any)" => build_object,
        "jsonb_build_array()" => build_array_b,
        "jsonb_build_array(any)" => build_array_b,
        "jsonb_build_object()" => build_object_b,
        "jsonb_build_object(any)" => build_object_b,
    });
    scalars!(builder, {
        "json_object(_text)" => |pairs: &Array| Ok::<_, SqlError>(object_text(&alternating(pairs)?)),
        "json_object(_text,_text)" => |keys: &Array, values: &Array| Ok::<_, SqlError>(object_text(&side_by_side(keys, values)?)),
        "jsonb_object(_text)" => |pairs: &Array| Ok::<_, SqlError>(object_value(alternating(pairs)?)),
        "jsonb_object(_text,_text)" => |keys: &Array, values: &Array| Ok::<_, SqlError>(object_value(side_by_side(keys, values)?)),
    });
}

fn type_at(call: &Call<'_>, index: usize) -> SqlType {
    call.arg_types.get(index).copied().unwrap_or(SqlType::TEXT)
}

fn in_lines(call: &Call<'_>, value: &Datum, pretty: bool) -> Result<Datum> {
    let mut out = String::new();
    push_in_lines(call.context, value, type_at(call, 0), if pretty { ",\n " } else { "," }, &mut out)?;
    Ok(Datum::text(out))
}

fn build_array(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let mut out = String::from("[");
    for (index, value) in args.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push_json(call.context, value, type_at(call, index), &mut out)?;
    }
    out.push(']');
    Ok(Datum::text(out))
}

fn build_array_b(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let items =
        args.iter().enumerate().map(|(index, value)| json_value(call.context, value, type_at(call, index)));
    Ok(Datum::jsonb(Json::Array(items.collect::<Result<_>>()?)))
}

fn uneven(function: &str) -> SqlError {
    refuse("argument list must have even number of elements")
        .with_hint(format!("The arguments of {function}() must consist of alternating keys and values."))
}

/// The error of a key that is NULL in an aggregate.
pub fn unnamed_key() -> SqlError {
    refuse("field name must not be null")
}

/// A value as the key of an object.
pub fn object_key(call: &Call<'_>, value: &Datum, sql_type: SqlType) -> Result<String> {
    match Form::of(sql_type) {
        Form::Array | Form::Record | Form::Json => {
            Err(refuse("key value must be scalar, not array, composite, or json"))
        }
        // As in the value of a pair.
        Form::Bool => Ok(if *value == Datum::Bool(true) { "true".into() } else { "false".into() }),
        Form::Date | Form::Timestamp | Form::TimestampTz => {
            let mut text = String::new();
            push_json(call.context, value, sql_type, &mut text)?;
            Ok(text.trim_matches('"').to_owned())
        }
        Form::Number | Form::Text => Ok(crate::io::output(call, value, sql_type)),
    }
}

fn build_object(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    if !args.len().is_multiple_of(2) {
        return Err(uneven("json_build_object"));
    }
    let mut out = String::from("{");
    for (index, pair) in args.chunks(2).enumerate() {
        if pair[0].is_null() {
            return Err(refuse(format!("argument {} cannot be null", index * 2 + 1))
                .with_hint("Object keys should be text."));
        }
        if index > 0 {
            out.push_str(", ");
        }
        push_json_string(&object_key(call, &pair[0], type_at(call, index * 2))?, &mut out);
        out.push_str(" : ");
        push_json(call.context, &pair[1], type_at(call, index * 2 + 1), &mut out)?;
    }
    out.push('}');
    Ok(Datum::text(out))
}

fn build_object_b(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    if !args.len().is_multiple_of(2) {
        return Err(uneven("jsonb_build_object"));
    }
    let mut pairs = Vec::with_capacity(args.len() / 2);
    for (index, pair) in args.chunks(2).enumerate() {
        if pair[0].is_null() {
            return Err(refuse(format!("argument {}: key must not be null", index * 2 + 1)));
        }
        let key = object_key(call, &pair[0], type_at(call, index * 2))?;
        pairs.push((key.into(), json_value(call.context, &pair[1], type_at(call, index * 2 + 1))?));
    }
    Ok(Datum::jsonb(Json::Object(JsonObject::from_pairs(pairs))))
}

type TextPairs<'a> = Vec<(&'a str, Option<&'a str>)>;

fn dimension_error(message: &str) -> SqlError {
    SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
}

fn key_of(datum: &Datum) -> Result<&str> {
    value_of(datum).ok_or_else(|| {
        SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key")
    })
}

fn value_of(datum: &Datum) -> Option<&str> {
    match datum {
        Datum::Text(text) => Some(text),
        _ => None,
    }
}

/// Keys and values in turn, or rows of two.
fn alternating(array: &Array) -> Result<TextPairs<'_>> {
    match array.dimensions[..] {
        [] => {}
        [(length, _)] if length % 2 == 0 => {}
        [_] => return Err(dimension_error("array must have even number of elements")),
        [_, (2, _)] => {}
        [_, _] => return Err(dimension_error("array must have two columns")),
        _ => return Err(dimension_error("wrong number of array subscripts")),
    }
    array.elements.chunks(2).map(|pair| Ok((key_of(&pair[0])?, value_of(&pair[1])))).collect()
}

fn side_by_side<'a>(keys: &'a Array, values: &'a Array) -> Result<TextPairs<'a>> {
    if keys.dimensions.len() > 1 || keys.dimensions.len() != values.dimensions.len() {
        return Err(dimension_error("wrong number of array subscripts"));
    }
    if keys.elements.len() != values.elements.len() {
        return Err(dimension_error("mismatched array dimensions"));
    }
    keys.elements
        .iter()
        .zip(&values.elements)
        .map(|(key, value)| Ok((key_of(key)?, value_of(value))))
        .collect()
}

fn object_text(pairs: &TextPairs<'_>) -> String {
    let mut out = String::from("{");
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push_json_string(key, &mut out);
        out.push_str(" : ");
        match value {
            Some(value) => push_json_string(value, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    out
}

fn object_value(pairs: TextPairs<'_>) -> Json {
    let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.map_or(Json::Null, Json::string)));
    Json::Object(JsonObject::from_pairs(pairs.collect()))
}
