//! Padding and trimming.

use basalt_types::Result;

use crate::builder::{Builder, scalars};
use crate::scalar::text::{TEXT_BYTES_MAX, characters, offset, too_long};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "lpad(text,int4)" => |a: &str, length: i32| pad(a, length, " ", true),
        "lpad(text,int4,text)" => |a: &str, length: i32, fill: &str| pad(a, length, fill, true),
        "rpad(text,int4)" => |a: &str, length: i32| pad(a, length, " ", false),
        "rpad(text,int4,text)" => |a: &str, length: i32, fill: &str| pad(a, length, fill, false),
        "btrim(text)" => |a: &str| a.trim_matches(' ').to_owned(),
        "ltrim(text)" => |a: &str| a.trim_start_matches(' ').to_owned(),
        "rtrim(text)" => |a: &str| a.trim_end_matches(' ').to_owned(),
        "btrim(text,text)" => |a: &str, set: &str| a.trim_matches(|c| set.contains(c)).to_owned(),
        "ltrim(text,text)" => |a: &str, set: &str| a.trim_start_matches(|c| set.contains(c)).to_owned(),
        "rtrim(text,text)" => |a: &str, set: &str| a.trim_end_matches(|c| set.contains(c)).to_owned(),
    });
}

/// Fills up to `length` characters, or cuts to them.
fn pad(text: &str, length: i32, fill: &str, on_left: bool) -> Result<String> {
    let length = length.max(0) as usize;
    let present = characters(text);
    if present >= length || fill.is_empty() {
        return Ok(text[..offset(text, length)].to_owned());
    }
    if length.saturating_mul(4) > TEXT_BYTES_MAX {
        return Err(too_long());
    }
    let filling: String = fill.chars().cycle().take(length - present).collect();
    Ok(if on_left { filling + text } else { text.to_owned() + &filling })
}
