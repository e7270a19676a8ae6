//! PostgreSQL's types: values, text and binary input and output, row and index-key codecs, SQLSTATE and errors.

pub mod codec;
pub mod compare;
pub mod datetime;
pub mod datum;
pub mod error;
pub mod interval;
pub mod io;
pub mod json;
pub mod numeric;
pub mod record_shape;
pub mod sql_type;
pub mod sqlstate;
pub mod type_name;

pub use compare::{HashedDatum, compare_bpchar};
pub use datetime::TimeZone;
pub use datum::{Array, Datum, Row};
pub use error::{Result, SqlError};
pub use interval::Interval;
pub use io::{
    IoSettings, LengthRule, TEXT_BYTES_MAX, apply_typmod, binary_in, binary_out, text_from_utf8, text_in,
    text_out, to_text,
};
pub use numeric::Numeric;
pub use sql_type::{Category, Oid, SqlType, TypeInfo};
pub use sqlstate::SqlState;
pub use type_name::format_type;
