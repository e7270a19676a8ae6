//! Patterns: LIKE, SIMILAR TO and regular expressions.

mod like;
mod regexp;
pub mod regular_expression;
mod similar;
mod translate;

use crate::builder::Builder;

pub use regexp::{matches, split};

pub fn register(builder: &mut Builder) {
    like::register(builder);
    similar::register(builder);
    regexp::register(builder);
}
