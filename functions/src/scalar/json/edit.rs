//! jsonb put together and changed.

use basalt_types::json::{Json, JsonObject};
use basalt_types::{Array, Datum, Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};
use crate::scalar::json::contain::texts;
use crate::scalar::json::raw::path_index;
use crate::scalar::json::{element_position, refuse};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "jsonb_concat" => concat,
        "jsonb_delete(jsonb,text)" => |json: &Json, key: &str| delete_keys(json, &[key]),
        "jsonb_delete(jsonb,_text)" => |json: &Json, keys: &Array| delete_keys(json, &texts(keys).collect::<Vec<_>>()),
        "jsonb_delete(jsonb,int4)" => delete_element,
        "jsonb_delete_path" => delete_path,
        "jsonb_set" => |json: &Json, path: &Array, new: &Json, create: bool| set(json, path, new, create),
        "jsonb_insert" => |json: &Json, path: &Array, new: &Json, after: bool| {
            let action = if after { Action::InsertAfter(new) } else { Action::InsertBefore(new) };
            change(json, path, action)
        },
        "jsonb_strip_nulls" => |json: &Json| {
            let mut json = json.clone();
            strip_nulls(&mut json);
            json
        },
    });
    scalars!(builder, { "jsonb_set_lax" => set_lax });
}

/// Objects merge, the right one wins; everything else becomes an array of both.
fn concat(a: &Json, b: &Json) -> Json {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            let pairs = a.iter().chain(b.iter()).map(|(key, value)| (key.into(), value.clone()));
            Json::Object(JsonObject::from_pairs(pairs.collect()))
        }
        (a, b) => {
            let items = |json: &Json| match json {
                Json::Array(items) => items.clone(),
                other => vec![other.clone()],
            };
            let mut all = items(a);
            all.extend(items(b));
            Json::Array(all)
        }
    }
}

fn delete_keys(json: &Json, keys: &[&str]) -> Result<Json> {
    let mut json = json.clone();
    match &mut json {
        Json::Object(object) => keys.iter().for_each(|key| object.remove(key)),
        Json::Array(items) => {
            items.retain(|item| !matches!(item, Json::String(text) if keys.contains(&&**text)));
        }
        _ => return Err(refuse("cannot delete from scalar")),
    }
    Ok(json)
}

fn delete_element(json: &Json, index: i32) -> Result<Json> {
    match json {
        Json::Array(items) => {
            let mut items = items.clone();
            if let Some(position) = element_position(index, items.len()) {
                items.remove(position);
            }
            Ok(Json::Array(items))
        }
        Json::Object(_) => Err(refuse("cannot delete from object using integer index")),
        _ => Err(refuse("cannot delete from scalar")),
    }
}

fn one_dimension(path: &Array) -> Result<()> {
    if path.dimensions.len() > 1 {
        return Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "wrong number of array subscripts"));
    }
    Ok(())
}

fn delete_path(json: &Json, path: &Array) -> Result<Json> {
    one_dimension(path)?;
    if json.is_scalar() {
        return Err(refuse("cannot delete path in scalar"));
    }
    change(json, path, Action::Delete)
}

fn set(json: &Json, path: &Array, new: &Json, create: bool) -> Result<Json> {
    change(json, path, if create { Action::Set(new) } else { Action::Replace(new) })
}

fn set_lax(
    json: Option<&Json>,
    path: Option<&Array>,
    new: Option<&Json>,
    create: Option<bool>,
    null_treatment: Option<&str>,
) -> Result<Option<Json>> {
    let (Some(json), Some(path), Some(create)) = (json, path, create) else { return Ok(None) };
    let treatment = null_treatment.ok_or_else(|| {
        refuse("null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"")
    })?;
    if let Some(new) = new {
        return set(json, path, new, create).map(Some);
    }
    match treatment {
        "raise_exception" => Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "JSON value must not be null")
            .with_detail("Exception was raised because null_value_treatment is \"raise_exception\".".to_owned())
            .with_hint("To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.")),
        "use_json_null" => set(json, path, &Json::Null, create).map(Some),
        "delete_key" => delete_path(json, path).map(Some),
        "return_target" => Ok(Some(json.clone())),
        _ => Err(refuse(
            "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
        )),
    }
}

#[derive(Clone, Copy)]
enum Action<'a> {
    Delete,
    /// Where there is a value.
    Replace(&'a Json),
    /// Or where the last step of the path could be added.
    Set(&'a Json),
    InsertBefore(&'a Json),
    InsertAfter(&'a Json),
}

fn change(json: &Json, path: &Array, action: Action<'_>) -> Result<Json> {
    one_dimension(path)?;
    if json.is_scalar() {
        return Err(refuse("cannot set path in scalar"));
    }
    let mut json = json.clone();
    if path.elements.is_empty() {
        return Ok(json);
    }
    let is_empty = match &json {
        Json::Array(items) => items.is_empty(),
        Json::Object(object) => object.is_empty(),
        _ => false,
    };
    if is_empty && matches!(action, Action::Delete | Action::Replace(_)) {
        return Ok(json);
    }
    step(&mut json, &path.elements, 0, action)?;
    Ok(json)
}

fn step(json: &mut Json, path: &[Datum], at: usize, action: Action<'_>) -> Result<()> {
    let name = match &path[at] {
        Datum::Text(name) => name,
        _ => {
            return Err(SqlError::new(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                format!("path element at position {} is null", at + 1),
            ));
        }
    };
    let is_last = at + 1 == path.len();
    match json {
        Json::Object(object) if !is_last => match object.get_mut(name) {
            Some(inner) => step(inner, path, at + 1, action),
            None => Ok(()),
        },
        Json::Object(object) => change_pair(object, name, action),
        Json::Array(items) => {
            let index = path_index(name).ok_or_else(|| {
                SqlError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!("path element at position {} is not an integer: \"{name}\"", at + 1),
                )
            })?;
            if is_last {
                change_element(items, index, action);
                return Ok(());
            }
            match element_position(index, items.len()) {
                Some(position) => step(&mut items[position], path, at + 1, action),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn change_pair(object: &mut JsonObject, key: &str, action: Action<'_>) -> Result<()> {
    let exists = object.get(key).is_some();
    match action {
        Action::Delete => object.remove(key),
        Action::Replace(new) if exists => object.insert(key, new.clone()),
        Action::Replace(_) => {}
        Action::Set(new) => object.insert(key, new.clone()),
        Action::InsertBefore(_) | Action::InsertAfter(_) if exists => {
            return Err(refuse("cannot replace existing key")
                .with_hint("Try using the function jsonb_set to replace key value."));
        }
        Action::InsertBefore(new) | Action::InsertAfter(new) => object.insert(key, new.clone()),
    }
    Ok(())
}

fn change_element(items: &mut Vec<Json>, index: i32, action: Action<'_>) {
    let found = element_position(index, items.len());
    match (action, found) {
        (Action::Delete, Some(position)) => {
            items.remove(position);
        }
        (Action::Replace(new) | Action::Set(new), Some(position)) => items[position] = new.clone(),
        (Action::InsertBefore(new), Some(position)) => items.insert(position, new.clone()),
        (Action::InsertAfter(new), Some(position)) => items.insert(position + 1, new.clone()),
        (Action::Delete | Action::Replace(_), None) => {}
        // Beyond either end it is added there.
        (Action::Set(new) | Action::InsertBefore(new) | Action::InsertAfter(new), None) => {
            let position = if index < 0 { 0 } else { items.len() };
            items.insert(position, new.clone());
        }
    }
}

fn strip_nulls(json: &mut Json) {
    match json {
        Json::Object(object) => {
            object.retain(|_, value| *value != Json::Null);
            object.values_mut().for_each(strip_nulls);
        }
        Json::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}
