//! Functions that ask the session, its catalog or its clock.

mod catalog;
mod clock;
mod identity;
mod size;

use crate::builder::Builder;

pub fn register(builder: &mut Builder) {
    identity::register(builder);
    clock::register(builder);
    catalog::register(builder);
    size::register(builder);
}
