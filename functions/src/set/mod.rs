//! Set-returning functions.

use crate::builder::Builder;

pub fn register(_builder: &mut Builder) {}
