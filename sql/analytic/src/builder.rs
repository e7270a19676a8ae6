//! From values to Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, StringViewBuilder, UInt8Builder, UInt32Builder,
};
use basalt_types::{Datum, Result, SqlError, codec::store_value};
use bytes::BytesMut;

use crate::kind::Kind;

/// Builds one column of a kind.
pub struct ColumnBuilder {
    kind: Kind,
    values: Values,
    scratch: BytesMut,
}

enum Values {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    UInt8(UInt8Builder),
    UInt32(UInt32Builder),
    Text(StringViewBuilder),
    Binary(BinaryViewBuilder),
}

impl ColumnBuilder {
    pub fn new(kind: Kind, capacity: usize) -> Self {
        let values = match kind {
            Kind::Bool => Values::Bool(BooleanBuilder::with_capacity(capacity)),
            Kind::Int2 => Values::Int16(Int16Builder::with_capacity(capacity)),
            Kind::Int4 | Kind::Date => Values::Int32(Int32Builder::with_capacity(capacity)),
            Kind::Int8 | Kind::Time | Kind::Timestamp | Kind::TimestampTz => {
                Values::Int64(Int64Builder::with_capacity(capacity))
            }
            Kind::Float4 => Values::Float32(Float32Builder::with_capacity(capacity)),
            Kind::Float8 => Values::Float64(Float64Builder::with_capacity(capacity)),
            Kind::Char => Values::UInt8(UInt8Builder::with_capacity(capacity)),
            Kind::Oid => Values::UInt32(UInt32Builder::with_capacity(capacity)),
            Kind::Text | Kind::BpChar => Values::Text(StringViewBuilder::with_capacity(capacity)),
            Kind::Bytea | Kind::Uuid | Kind::Numeric | Kind::Interval | Kind::Stored => {
                Values::Binary(BinaryViewBuilder::with_capacity(capacity))
            }
        };
        Self { kind, values, scratch: BytesMut::new() }
    }

    pub fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(builder) => builder.append_null(),
            Values::Int16(builder) => builder.append_null(),
            Values::Int32(builder) => builder.append_null(),
            Values::Int64(builder) => builder.append_null(),
            Values::Float32(builder) => builder.append_null(),
            Values::Float64(builder) => builder.append_null(),
            Values::UInt8(builder) => builder.append_null(),
            Values::UInt32(builder) => builder.append_null(),
            Values::Text(builder) => builder.append_null(),
            Values::Binary(builder) => builder.append_null(),
        }
    }

    pub fn append(&mut self, value: &Datum) -> Result<()> {
        match (&mut self.values, value) {
            (_, Datum::Null) => self.append_null(),
            (Values::Bool(builder), Datum::Bool(value)) => builder.append_value(*value),
            (Values::Int16(builder), Datum::Int2(value)) => builder.append_value(*value),
            (Values::Int32(builder), Datum::Int4(value) | Datum::Date(value)) => builder.append_value(*value),
            (
                Values::Int64(builder),
                Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value),
            ) => builder.append_value(*value),
            (Values::Float32(builder), Datum::Float4(value)) => builder.append_value(*value),
            (Values::Float64(builder), Datum::Float8(value)) => builder.append_value(*value),
            (Values::UInt8(builder), Datum::Char(value)) => builder.append_value(*value),
            (Values::UInt32(builder), Datum::Oid(value)) => builder.append_value(value.0),
            (Values::Text(builder), Datum::Text(value)) => builder.append_value(value),
            (Values::Binary(builder), value) => {
                self.scratch.clear();
                store_value(&mut self.scratch, value);
                builder.append_value(&self.scratch);
            }
            (_, value) => {
                return Err(SqlError::internal(format!("a column of kind {:?} met {value:?}", self.kind)));
            }
        }
        Ok(())
    }

    /// Appends the bytes of a stored value.
    pub fn append_stored(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.values {
            Values::Bool(builder) => match bytes {
                [value @ 0..=1] => builder.append_value(*value == 1),
                _ => return Err(malformed()),
            },
            Values::Int16(builder) => builder.append_value(i16::from_le_bytes(fixed(bytes)?)),
            Values::Int32(builder) => builder.append_value(i32::from_le_bytes(fixed(bytes)?)),
            Values::Int64(builder) => builder.append_value(i64::from_le_bytes(fixed(bytes)?)),
            Values::Float32(builder) => builder.append_value(f32::from_le_bytes(fixed(bytes)?)),
            Values::Float64(builder) => builder.append_value(f64::from_le_bytes(fixed(bytes)?)),
            Values::UInt8(builder) => builder.append_value(u8::from_le_bytes(fixed(bytes)?)),
            Values::UInt32(builder) => builder.append_value(u32::from_le_bytes(fixed(bytes)?)),
            Values::Text(builder) => {
                builder.append_value(std::str::from_utf8(bytes).map_err(|_| malformed())?);
            }
            Values::Binary(builder) => builder.append_value(bytes),
        }
        Ok(())
    }

    /// The column; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Bool(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::Float32(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::UInt8(builder) => Arc::new(builder.finish()),
            Values::UInt32(builder) => Arc::new(builder.finish()),
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Binary(builder) => Arc::new(builder.finish()),
        }
    }
}

fn malformed() -> SqlError {
    SqlError::new(basalt_types::SqlState::DATA_CORRUPTED, "malformed value in a stored row")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed())
}
