//! json and jsonb.
//!
//! A json argument is text that was validated when it became a json, so its parts are found by scanning; a jsonb is a
//! tree. Both are reached through [`basalt_types::json`].

mod access;
mod build;
mod contain;
mod convert;
mod edit;
mod encode;
mod raw;

use basalt_types::json::{Json, RawJson};
use basalt_types::{Result, SqlError, SqlState};

use crate::builder::Builder;

pub use build::{object_key, unnamed_key};
pub use encode::{Form, json_value, push_json};
pub use raw::raw_text;

pub fn register(builder: &mut Builder) {
    raw::register(builder);
    access::register(builder);
    contain::register(builder);
    edit::register(builder);
    build::register(builder);
    convert::register(builder);
}

/// `22023`.
pub fn refuse(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// An index counted from the end when negative.
pub fn element_position(index: i32, length: usize) -> Option<usize> {
    if index >= 0 {
        usize::try_from(index).ok().filter(|index| *index < length)
    } else {
        length.checked_sub(index.unsigned_abs() as usize)
    }
}

/// The text of a value for `->>`: strings without quotes, null as NULL.
pub fn jsonb_text(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.to_string()),
        other => Some(other.to_string()),
    }
}

/// One level of a json argument.
pub fn level(text: &str) -> Result<RawJson<'_>> {
    RawJson::of(text)
}
