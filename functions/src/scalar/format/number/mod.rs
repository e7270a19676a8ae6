//! `to_char` and `to_number`: numbers in the form of a template.
//!
//! A template is walked once, item by item, beside the digits of the number; what an item writes depends on where the
//! number's first digit stands, so that signs and blanks of fill mode come out as in PostgreSQL.

mod digits;
mod print;
mod read;
mod template;

use basalt_types::Numeric;

use crate::builder::{Builder, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "to_char(int4,text)" => |a: i32, template: &str| print::integer(i64::from(a), template),
        "to_char(int8,text)" => |a: i64, template: &str| print::integer(a, template),
        "to_char(numeric,text)" => |a: &Numeric, template: &str| print::numeric(a, template),
        "to_char(float4,text)" => |a: f32, template: &str| print::float(f64::from(a), 6, template),
        "to_char(float8,text)" => |a: f64, template: &str| print::float(a, 15, template),
        "to_number" => read::number,
    });
}
