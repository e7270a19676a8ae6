//! Strings split into rows.

use std::sync::Arc;

use basalt_types::{Datum, Result};

use crate::builder::Builder;
use crate::scalar::{regexp_matches, regexp_split, split_fields};
use crate::set::{column, empty};
use crate::{Call, RowSource};

pub fn register(builder: &mut Builder) {
    builder.set("regexp_matches(text,text)", matches);
    builder.set("regexp_matches(text,text,text)", matches);
    builder.set("regexp_split_to_table(text,text)", split);
    builder.set("regexp_split_to_table(text,text,text)", split);
    builder.set("string_to_table(text,text)", fields);
    builder.set("string_to_table(text,text,text)", fields);
}

/// (text, pattern, flags); `None` with a NULL argument.
fn arguments(args: &[Datum]) -> Option<(&str, &str, &str)> {
    match args {
        [Datum::Text(text), Datum::Text(pattern)] => Some((text, pattern, "")),
        [Datum::Text(text), Datum::Text(pattern), Datum::Text(flags)] => Some((text, pattern, flags)),
        _ => None,
    }
}

fn matches(call: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let Some((text, pattern, flags)) = arguments(args) else { return Ok(empty()) };
    let found = regexp_matches(call.context, text, pattern, flags)?;
    Ok(column(found.into_iter().map(|groups| Datum::Array(Arc::new(groups))).collect()))
}

fn split(call: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let Some((text, pattern, flags)) = arguments(args) else { return Ok(empty()) };
    let parts = regexp_split(call.context, "regexp_split_to_table", text, pattern, flags)?;
    Ok(column(parts.into_iter().map(Datum::text).collect()))
}

fn fields(call: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let text_at = |index: usize| match args.get(index) {
        Some(Datum::Text(text)) => Some(&**text),
        _ => None,
    };
    let Some(text) = text_at(0) else { return Ok(empty()) };
    split_fields(call.context, text, text_at(1), text_at(2)).map(column)
}
