//! Functions and operators of one value for one row.

mod array;
mod boolean;
mod cast;
mod comparison;
mod datetime;
mod datetime_arithmetic;
mod float;
mod format;
mod hash;
mod integer;
pub mod json;
mod libm;
mod numeric;
mod overlaps;
mod pattern;
mod session;
mod support;
mod text;

use crate::builder::Builder;

pub use array::dimension_of;
pub use cast::date_to_timestamp;
pub use datetime_arithmetic::{add_interval, add_zoned};
pub use float::overflow;
pub use pattern::{matches as regexp_matches, split as regexp_split};
pub use text::split_fields;

pub fn register(builder: &mut Builder) {
    comparison::register(builder);
    boolean::register(builder);
    integer::register(builder);
    float::register(builder);
    numeric::register(builder);
    cast::register(builder);
    datetime_arithmetic::register(builder);
    datetime::register(builder);
    format::register(builder);
    overlaps::register(builder);
    text::register(builder);
    pattern::register(builder);
    array::register(builder);
    json::register(builder);
    support::register(builder);
    session::register(builder);
}
