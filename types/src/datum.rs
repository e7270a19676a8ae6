//! One SQL value.

use std::sync::Arc;

use bytes::Bytes;

use crate::json::Json;
use crate::{Interval, Numeric, Oid, Result, SqlError, SqlState};

/// A value, NULL included. The variant does not always determine the SQL type:
/// text, varchar, char(n), name and json all are [`Datum::Text`]; oid and the reg* types all are [`Datum::Oid`].
/// Expressions carry the [`crate::SqlType`] beside the value.
///
/// `PartialEq` is structural (for tests and caches). SQL comparison is [`Datum::compare`].
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Datum {
    #[default]
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Numeric),
    /// text, varchar, bpchar (blank-padded), name, json, cstring, unknown.
    Text(Arc<str>),
    Bytea(Bytes),
    /// `"char"`.
    Char(u8),
    /// oid, regclass, regtype, regproc, xid.
    Oid(Oid),
    /// Days since 2000-01-01; `i32::MAX`/`i32::MIN` are ±infinity.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 2000-01-01 00:00; `i64::MAX`/`i64::MIN` are ±infinity.
    Timestamp(i64),
    /// Microseconds since 2000-01-01 00:00 UTC; `i64::MAX`/`i64::MIN` are ±infinity.
    TimestampTz(i64),
    Interval(Interval),
    Uuid([u8; 16]),
    Jsonb(Arc<Json>),
    Array(Arc<Array>),
    Record(Arc<[Datum]>),
}

/// An array of any number of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub element_type: Oid,
    /// (length, lower bound) per dimension; empty for the empty array.
    pub dimensions: Vec<(usize, i32)>,
    /// Row-major.
    pub elements: Vec<Datum>,
}

impl Array {
    /// A one-dimensional array with lower bound 1 (no dimensions when `elements` is empty).
    pub fn from_elements(element_type: Oid, elements: Vec<Datum>) -> Self {
        let dimensions = if elements.is_empty() { vec![] } else { vec![(elements.len(), 1)] };
        Self { element_type, dimensions, elements }
    }

    /// Refuses dimensions whose end no subscript could name.
    pub fn check_bounds(dimensions: &[(usize, i32)]) -> Result<()> {
        for (length, lower) in dimensions {
            if *length as i64 + i64::from(*lower) > i64::from(i32::MAX) {
                return Err(SqlError::new(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    format!("array lower bound is too large: {lower}"),
                ));
            }
        }
        Ok(())
    }
}

/// A row of values.
pub type Row = Vec<Datum>;

impl Datum {
    pub fn text(value: impl Into<Arc<str>>) -> Self {
        Self::Text(value.into())
    }

    pub fn jsonb(value: Json) -> Self {
        Self::Jsonb(Arc::new(value))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}
