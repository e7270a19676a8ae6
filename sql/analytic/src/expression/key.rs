//! Keys: columns whose bytes or numbers are equal and ordered exactly as SQL compares the values.
//!
//! 1.0 and 1.00, −0 and 0, `1 mon` and `30 days`, `'a '::char(2)` and `'a'` are equal and yet print differently. Joins,
//! groups and sorts use the key and carry the value beside it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryViewBuilder, Float32Array, Float64Array, RecordBatch,
        StringViewBuilder,
    },
    datatypes::{DataType, Float32Type, Float64Type, Schema},
};
use basalt_types::{SqlType, codec::key::encode_key_column};
use bytes::BytesMut;
use datafusion::{
    common::Result, common::ScalarValue, logical_expr::ColumnarValue, physical_expr::PhysicalExpr,
    physical_expr::expressions::Literal,
};

use crate::{error::to_datafusion, kind::Kind, reader::ColumnReader};

/// The key of `input`, which is `input` itself where values are their own keys.
pub fn key_of(input: Arc<dyn PhysicalExpr>, kind: Kind, sql_type: SqlType) -> Result<Arc<dyn PhysicalExpr>> {
    if !kind.has_key() {
        return Ok(input);
    }
    if let Some(literal) = input.downcast_ref::<Literal>() {
        let keys = key_array(&literal.value().to_array()?, kind, sql_type)?;
        return Ok(Arc::new(Literal::new(ScalarValue::try_from_array(&keys, 0)?)));
    }
    Ok(Arc::new(KeyExpr { input, kind, sql_type }))
}

/// The keys of a column of values.
pub fn key_array(values: &ArrayRef, kind: Kind, sql_type: SqlType) -> Result<ArrayRef> {
    Ok(match kind {
        Kind::Float4 => {
            let values = values.as_primitive::<Float32Type>();
            Arc::new(values.unary::<_, Float32Type>(
                |value| {
                    if value.is_nan() { f32::NAN } else { value + 0.0 }
                },
            )) as Arc<Float32Array>
        }
        Kind::Float8 => {
            let values = values.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(
                |value| {
                    if value.is_nan() { f64::NAN } else { value + 0.0 }
                },
            )) as Arc<Float64Array>
        }
        Kind::BpChar => {
            let values = values.as_string_view();
            let mut keys = StringViewBuilder::with_capacity(values.len());
            for value in values {
                keys.append_option(value.map(|value| value.trim_end_matches(' ')));
            }
            Arc::new(keys.finish())
        }
        _ if kind.has_key() => {
            let reader = ColumnReader::new(values, kind, sql_type).map_err(to_datafusion)?;
            let mut keys = BinaryViewBuilder::with_capacity(values.len());
            let mut scratch = BytesMut::new();
            for row in 0..values.len() {
                if values.is_null(row) {
                    keys.append_null();
                    continue;
                }
                scratch.clear();
                let value = reader.get(row).map_err(to_datafusion)?;
                encode_key_column(&mut scratch, &value, sql_type, false);
                keys.append_value(&scratch);
            }
            Arc::new(keys.finish())
        }
        _ => values.clone(),
    })
}

#[derive(Debug)]
struct KeyExpr {
    input: Arc<dyn PhysicalExpr>,
    kind: Kind,
    sql_type: SqlType,
}

impl PartialEq for KeyExpr {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.kind == other.kind && self.sql_type == other.sql_type
    }
}

impl Eq for KeyExpr {}

impl Hash for KeyExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.kind.hash(state);
        self.sql_type.hash(state);
    }
}

impl fmt::Display for KeyExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key({})", self.input)
    }
}

impl PhysicalExpr for KeyExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.kind.key_type())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        key_array(&values, self.kind, self.sql_type).map(ColumnarValue::Array)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { input: children.swap_remove(0), kind: self.kind, sql_type: self.sql_type }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
