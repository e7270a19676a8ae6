//! Text and binary input and output of every type, byte for byte PostgreSQL's.

mod array;
mod binary_in;
mod binary_out;
mod bytea;
mod float;
mod json;
mod length;
mod record;
mod settings;
mod text_in;
mod text_out;

#[cfg(test)]
mod tests;

pub use binary_in::{binary_in, text_from_utf8};
pub use binary_out::binary_out;
pub use bytea::{format_bytea, parse_bytea};
pub use float::{format_float4, format_float8, parse_float4, parse_float8};
pub use json::validate_json;
pub(crate) use length::round_micros;
pub use length::{LengthRule, TEXT_BYTES_MAX, apply_typmod};
pub use record::natural_type;
pub use settings::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, IoSettings};
pub use text_in::{parse_bool, parse_int2, parse_int4, parse_int8, parse_oid, parse_uuid, text_in};
pub use text_out::{format_uuid, text_out, to_text};
