//! AND and OR, from left to right.
//!
//! An argument that can fail is evaluated only on the rows that the arguments before it leave undecided, as the row
//! executor does: `x <> 0 AND 1 / x > y` fails for no row.

use std::{fmt, hash::Hash, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{and_kleene, or_kleene},
    datatypes::{DataType, Schema},
};
use datafusion::{common::Result, logical_expr::ColumnarValue, physical_expr::PhysicalExpr};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LogicExpr {
    is_and: bool,
    args: Vec<Arc<dyn PhysicalExpr>>,
    fallible: Vec<bool>,
}

impl LogicExpr {
    /// `args` has at least one element; `fallible` says of each whether it can raise an error.
    pub fn new(is_and: bool, args: Vec<Arc<dyn PhysicalExpr>>, fallible: Vec<bool>) -> Self {
        Self { is_and, args, fallible }
    }

    /// Rows whose outcome the next arguments can still change.
    fn undecided(&self, so_far: &BooleanArray) -> BooleanArray {
        let decided = !self.is_and;
        (0..so_far.len()).map(|row| Some(so_far.is_null(row) || so_far.value(row) != decided)).collect()
    }
}

impl fmt::Display for LogicExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_and { " AND " } else { " OR " };
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        write!(f, "({})", args.join(word))
    }
}

impl PhysicalExpr for LogicExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut so_far: Option<BooleanArray> = None;
        for (arg, &fallible) in self.args.iter().zip(&self.fallible) {
            let value = match &so_far {
                Some(so_far) if fallible => arg.evaluate_selection(batch, &self.undecided(so_far))?,
                _ => arg.evaluate(batch)?,
            };
            let value = value.into_array(batch.num_rows())?;
            let value = value.as_boolean();
            so_far = Some(match so_far {
                None => value.clone(),
                Some(so_far) if self.is_and => and_kleene(&so_far, value)?,
                Some(so_far) => or_kleene(&so_far, value)?,
            });
        }
        let value = so_far.ok_or_else(|| crate::error::internal("AND without arguments"))?;
        Ok(ColumnarValue::Array(Arc::new(value)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.args.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { is_and: self.is_and, args: children, fallible: self.fallible.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
