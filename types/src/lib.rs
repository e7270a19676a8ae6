//! PostgreSQL's types: values, text and binary input and output, row and index-key codecs, SQLSTATE and errors.

pub mod datum;
pub mod error;
pub mod interval;
pub mod numeric;
pub mod sql_type;
pub mod sqlstate;

pub use datum::{Array, Datum, Row};
pub use error::{Result, SqlError};
pub use interval::Interval;
pub use numeric::Numeric;
pub use sql_type::{Category, Oid, SqlType, TypeInfo};
pub use sqlstate::SqlState;
