//! `to_char`, `to_date` and `to_timestamp`: values in the form of a template.

mod datetime;
mod interval;
mod number;
mod parse;
mod template;

use crate::builder::Builder;

pub fn register(builder: &mut Builder) {
    datetime::register(builder);
    number::register(builder);
    parse::register(builder);
}
