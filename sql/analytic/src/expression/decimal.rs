//! Arithmetic and comparison of numeric, column at a time.
//!
//! Values keep their stored form, which is short enough to lie inside the view for all but giant numbers; a value is
//! read, computed and written without a [`basalt_types::Datum`], with the scales and errors of `Numeric` itself.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray, BooleanBuilder, RecordBatch},
    datatypes::{DataType, Schema},
};
use basalt_types::{Numeric, Result as SqlResult};
use bytes::BytesMut;
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{ColumnarValue, Operator},
    physical_expr::PhysicalExpr,
};

use super::native::is_comparison;
use crate::error::{internal, to_datafusion};

/// `left operator right`, both numeric.
#[derive(Debug, Eq)]
pub struct NumericOperation {
    pub operator: Operator,
    pub left: Arc<dyn PhysicalExpr>,
    pub right: Arc<dyn PhysicalExpr>,
}

impl PartialEq for NumericOperation {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Hash for NumericOperation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

/// One side: a column, or one value for all rows.
enum Side {
    Column(BinaryViewArray),
    Constant(Option<Numeric>),
}

impl Side {
    fn new(value: ColumnarValue) -> Result<Self> {
        match value {
            ColumnarValue::Array(array) => array
                .as_binary_view_opt()
                .map(|array| Self::Column(array.clone()))
                .ok_or_else(|| internal("a numeric column has another form")),
            ColumnarValue::Scalar(ScalarValue::BinaryView(bytes)) => {
                let value = bytes.as_deref().map(Numeric::load).transpose().map_err(to_datafusion)?;
                Ok(Self::Constant(value))
            }
            ColumnarValue::Scalar(_) => Err(internal("a numeric constant has another form")),
        }
    }

    fn get(&self, row: usize) -> SqlResult<Option<Numeric>> {
        match self {
            Self::Column(column) if column.is_null(row) => Ok(None),
            Self::Column(column) => Numeric::load(column.value(row)).map(Some),
            Self::Constant(value) => Ok(value.clone()),
        }
    }
}

impl NumericOperation {
    fn compute(&self, left: &Numeric, right: &Numeric) -> SqlResult<Numeric> {
        match self.operator {
            Operator::Plus => left.add(right),
            Operator::Minus => left.sub(right),
            Operator::Multiply => left.mul(right),
            _ => left.div(right),
        }
    }

    fn holds(&self, order: Ordering) -> bool {
        match self.operator {
            Operator::Eq => order.is_eq(),
            Operator::NotEq => order.is_ne(),
            Operator::Lt => order.is_lt(),
            Operator::LtEq => order.is_le(),
            Operator::Gt => order.is_gt(),
            _ => order.is_ge(),
        }
    }

    fn compare_columns(&self, left: &Side, right: &Side, count: usize) -> SqlResult<BooleanArray> {
        let mut values = BooleanBuilder::with_capacity(count);
        for row in 0..count {
            match (left.get(row)?, right.get(row)?) {
                (Some(left), Some(right)) => values.append_value(self.holds(left.compare(&right))),
                _ => values.append_null(),
            }
        }
        Ok(values.finish())
    }

    fn compute_columns(&self, left: &Side, right: &Side, count: usize) -> SqlResult<BinaryViewArray> {
        let mut values = BinaryViewBuilder::with_capacity(count);
        let mut scratch = BytesMut::with_capacity(32);
        for row in 0..count {
            match (left.get(row)?, right.get(row)?) {
                (Some(left), Some(right)) => {
                    scratch.clear();
                    self.compute(&left, &right)?.store(&mut scratch);
                    values.append_value(&scratch);
                }
                _ => values.append_null(),
            }
        }
        Ok(values.finish())
    }
}

impl fmt::Display for NumericOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, self.operator, self.right)
    }
}

impl PhysicalExpr for NumericOperation {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(if is_comparison(self.operator) { DataType::Boolean } else { DataType::BinaryView })
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = Side::new(self.left.evaluate(batch)?)?;
        let right = Side::new(self.right.evaluate(batch)?)?;
        let count = batch.num_rows();
        Ok(ColumnarValue::Array(if is_comparison(self.operator) {
            Arc::new(self.compare_columns(&left, &right, count).map_err(to_datafusion)?)
        } else {
            Arc::new(self.compute_columns(&left, &right, count).map_err(to_datafusion)?)
        }))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let right = children.swap_remove(1);
        let left = children.swap_remove(0);
        Ok(Arc::new(Self { operator: self.operator, left, right }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
