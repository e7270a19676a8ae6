//! Functions of arrays.

mod bounds;
mod element;
mod membership;
mod slice;
mod text;

use crate::builder::Builder;

pub use bounds::dimension_of;

pub fn register(builder: &mut Builder) {
    bounds::register(builder);
    element::register(builder);
    membership::register(builder);
    slice::register(builder);
    text::register(builder);
}
