//! Functions and operators of one value for one row.

mod boolean;
mod cast;
mod comparison;
mod datetime_arithmetic;
mod float;
mod integer;
mod numeric;
mod text;

use crate::builder::Builder;

pub use datetime_arithmetic::{divide_interval, multiply_interval};
pub use float::overflow;

pub fn register(builder: &mut Builder) {
    comparison::register(builder);
    boolean::register(builder);
    integer::register(builder);
    float::register(builder);
    numeric::register(builder);
    cast::register(builder);
    datetime_arithmetic::register(builder);
    text::register(builder);
}
