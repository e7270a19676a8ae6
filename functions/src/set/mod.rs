//! Set-returning functions: rows made one at a time.

mod array;
mod json;
mod pattern;
mod series;

use basalt_types::Datum;

use crate::RowSource;
use crate::builder::Builder;

pub fn register(builder: &mut Builder) {
    series::register(builder);
    array::register(builder);
    pattern::register(builder);
    json::register(builder);
}

/// No rows: what a strict set-returning function gives for a NULL argument.
fn empty() -> RowSource {
    Box::new(std::iter::empty())
}

/// One column of values that are already there.
fn column(values: Vec<Datum>) -> RowSource {
    Box::new(values.into_iter().map(|value| Ok(vec![value])))
}
