//! `input IN (subquery)` and NOT IN, by a hash set of the subquery's keys.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    common::Result,
    logical_expr::ColumnarValue,
    physical_expr::{
        PhysicalExpr,
        expressions::{Column as ColumnExpr, InListExpr},
    },
};

use super::OnceSubquery;

#[derive(Debug)]
pub struct MembershipExpr {
    /// The key of the left side.
    input: Arc<dyn PhysicalExpr>,
    subquery: Arc<OnceSubquery>,
    negated: bool,
    /// The test over one column of keys; made with the first batch.
    test: OnceLock<Arc<InListExpr>>,
}

impl MembershipExpr {
    pub fn new(input: Arc<dyn PhysicalExpr>, subquery: Arc<OnceSubquery>, negated: bool) -> Self {
        Self { input, subquery, negated, test: OnceLock::new() }
    }

    fn test(&self, list: &ArrayRef) -> Result<Arc<InListExpr>> {
        if let Some(test) = self.test.get() {
            return Ok(test.clone());
        }
        let schema = Schema::new(vec![Field::new("key", list.data_type().clone(), true)]);
        let column = Arc::new(ColumnExpr::new("key", 0));
        let test = InListExpr::try_new_from_array(column, list.clone(), self.negated, &schema)?;
        Ok(self.test.get_or_init(|| Arc::new(test)).clone())
    }
}

impl PartialEq for MembershipExpr {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.subquery, &other.subquery) && self.input.eq(&other.input)
    }
}

impl Eq for MembershipExpr {}

impl Hash for MembershipExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.subquery).hash(state);
        self.input.hash(state);
    }
}

impl fmt::Display for MembershipExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}IN subquery", self.input, if self.negated { "NOT " } else { "" })
    }
}

impl PhysicalExpr for MembershipExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let count = batch.num_rows();
        if count == 0 {
            return Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(Vec::<bool>::new()))));
        }
        let list = self.subquery.keys()?;
        let input = self.input.evaluate(batch)?.into_array(count)?;
        if list.is_empty() {
            // Not even NULL is unknown to be in nothing.
            return Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(vec![self.negated; count]))));
        }
        let test = self.test(list)?;
        let schema = Schema::new(vec![Field::new("key", input.data_type().clone(), true)]);
        test.evaluate(&RecordBatch::try_new(Arc::new(schema), vec![input])?)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self::new(children.swap_remove(0), self.subquery.clone(), self.negated)))
    }

    fn is_volatile_node(&self) -> bool {
        true
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
