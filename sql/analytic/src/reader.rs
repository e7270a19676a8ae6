//! From Arrow columns to values.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringViewArray, UInt8Array, UInt32Array,
};
use arrow::datatypes::{Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt32Type};
use basalt_types::{Datum, Oid, Result, Row, SqlError, SqlType, codec::load_value};
use bytes::Bytes;

use crate::kind::{Column, Kind};

/// A column whose values are read one by one.
pub struct ColumnReader<'a> {
    kind: Kind,
    sql_type: SqlType,
    values: Values<'a>,
}

enum Values<'a> {
    Bool(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    UInt8(&'a UInt8Array),
    UInt32(&'a UInt32Array),
    Text(&'a StringViewArray),
    Binary(&'a BinaryViewArray),
}

impl<'a> ColumnReader<'a> {
    pub fn new(array: &'a ArrayRef, kind: Kind, sql_type: SqlType) -> Result<Self> {
        if *array.data_type() != kind.data_type() {
            return Err(SqlError::internal(format!("a column of kind {kind:?} is {}", array.data_type())));
        }
        let values = match kind {
            Kind::Bool => Values::Bool(array.as_boolean()),
            Kind::Int2 => Values::Int16(array.as_primitive::<Int16Type>()),
            Kind::Int4 | Kind::Date => Values::Int32(array.as_primitive::<Int32Type>()),
            Kind::Int8 | Kind::Time | Kind::Timestamp | Kind::TimestampTz => {
                Values::Int64(array.as_primitive::<Int64Type>())
            }
            Kind::Float4 => Values::Float32(array.as_primitive::<Float32Type>()),
            Kind::Float8 => Values::Float64(array.as_primitive::<Float64Type>()),
            Kind::Char => Values::UInt8(array.as_primitive::<UInt8Type>()),
            Kind::Oid => Values::UInt32(array.as_primitive::<UInt32Type>()),
            Kind::Text | Kind::BpChar => Values::Text(array.as_string_view()),
            Kind::Bytea | Kind::Uuid | Kind::Numeric | Kind::Interval | Kind::Stored => {
                Values::Binary(array.as_binary_view())
            }
        };
        Ok(Self { kind, sql_type, values })
    }

    pub fn get(&self, row: usize) -> Result<Datum> {
        if self.is_null(row) {
            return Ok(Datum::Null);
        }
        Ok(match &self.values {
            Values::Bool(values) => Datum::Bool(values.value(row)),
            Values::Int16(values) => Datum::Int2(values.value(row)),
            Values::Int32(values) if self.kind == Kind::Date => Datum::Date(values.value(row)),
            Values::Int32(values) => Datum::Int4(values.value(row)),
            Values::Int64(values) => {
                let value = values.value(row);
                match self.kind {
                    Kind::Time => Datum::Time(value),
                    Kind::Timestamp => Datum::Timestamp(value),
                    Kind::TimestampTz => Datum::TimestampTz(value),
                    _ => Datum::Int8(value),
                }
            }
            Values::Float32(values) => Datum::Float4(values.value(row)),
            Values::Float64(values) => Datum::Float8(values.value(row)),
            Values::UInt8(values) => Datum::Char(values.value(row)),
            Values::UInt32(values) => Datum::Oid(Oid(values.value(row))),
            Values::Text(values) => Datum::text(values.value(row)),
            Values::Binary(values) => {
                let bytes = values.value(row);
                match self.kind {
                    Kind::Numeric => Datum::Numeric(basalt_types::Numeric::load(bytes)?),
                    _ => load_value(&Bytes::copy_from_slice(bytes), self.sql_type)?,
                }
            }
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Bool(values) => values.is_null(row),
            Values::Int16(values) => values.is_null(row),
            Values::Int32(values) => values.is_null(row),
            Values::Int64(values) => values.is_null(row),
            Values::Float32(values) => values.is_null(row),
            Values::Float64(values) => values.is_null(row),
            Values::UInt8(values) => values.is_null(row),
            Values::UInt32(values) => values.is_null(row),
            Values::Text(values) => values.is_null(row),
            Values::Binary(values) => values.is_null(row),
        }
    }
}

/// Readers of the columns of a batch.
pub fn readers<'a>(batch: &'a RecordBatch, columns: &[Column]) -> Result<Vec<ColumnReader<'a>>> {
    let pairs = batch.columns().iter().zip(columns);
    pairs.map(|(array, column)| ColumnReader::new(array, column.kind, column.ty)).collect()
}

/// Rows `from..to` of a batch.
pub fn rows(batch: &RecordBatch, columns: &[Column], from: usize, to: usize) -> Result<Vec<Row>> {
    let readers = readers(batch, columns)?;
    let mut rows = Vec::with_capacity(to - from);
    for row in from..to {
        rows.push(readers.iter().map(|reader| reader.get(row)).collect::<Result<Row>>()?);
    }
    Ok(rows)
}
