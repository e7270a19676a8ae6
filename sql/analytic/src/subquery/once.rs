//! The cell that holds a subquery's result, and its value as an expression.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::concat,
    datatypes::{DataType, Schema},
};
use basalt_planner::expr::SubqueryKind;
use basalt_types::{Array, Datum, Oid, Result as SqlResult, SqlError, SqlState, SqlType};
use datafusion::{
    common::{Result, ScalarValue},
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
    physical_plan::ExecutionPlan,
};
use futures::StreamExt;
use tokio::sync::OnceCell;

use crate::{
    builder::ColumnBuilder,
    error::{from_datafusion, internal, to_datafusion},
    kind::{Column, Kind},
    reader,
};

/// What becomes of the rows.
pub enum Wanted {
    /// The value of a scalar, EXISTS or ARRAY subquery.
    Value { kind: SubqueryKind, ty: SqlType },
    /// The keys of IN, by this expression over the subquery's columns.
    Keys(Arc<dyn PhysicalExpr>),
}

enum Outcome {
    Value(ScalarValue),
    Keys(ArrayRef, #[allow(dead_code, reason = "held as long as the keys are")] MemoryReservation),
}

pub struct OnceSubquery {
    plan: Arc<dyn ExecutionPlan>,
    columns: Vec<Column>,
    wanted: Wanted,
    outcome: OnceCell<SqlResult<Outcome>>,
}

impl fmt::Debug for OnceSubquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceSubquery")
    }
}

impl OnceSubquery {
    pub fn new(plan: Arc<dyn ExecutionPlan>, columns: Vec<Column>, wanted: Wanted) -> Self {
        Self { plan, columns, wanted, outcome: OnceCell::new() }
    }

    /// Runs the subquery unless it has run. Only errors of its values are kept for later.
    pub async fn fill(&self, task: &Arc<TaskContext>) -> Result<()> {
        let run = || async {
            match self.run(task).await {
                Err(error) if !belongs_to_value(&error) => Err(to_datafusion(error)),
                outcome => Ok(outcome),
            }
        };
        self.outcome.get_or_try_init(run).await.map(|_| ())
    }

    async fn run(&self, task: &Arc<TaskContext>) -> SqlResult<Outcome> {
        let lift = |error| from_datafusion(&error);
        let mut stream = self.plan.execute(0, task.clone()).map_err(lift)?;
        let (kind, ty) = match &self.wanted {
            Wanted::Value { kind, ty } => (kind, *ty),
            Wanted::Keys(key) => {
                let reservation = MemoryConsumer::new("subquery").register(task.memory_pool());
                let mut parts = Vec::new();
                while let Some(batch) = stream.next().await {
                    let batch = batch.map_err(lift)?;
                    let part = key.evaluate(&batch).and_then(|keys| keys.into_array(batch.num_rows()));
                    let part = part.map_err(lift)?;
                    reservation.try_grow(part.get_array_memory_size()).map_err(lift)?;
                    parts.push(part);
                }
                if parts.is_empty() {
                    let ty = key.data_type(&self.plan.schema()).map_err(lift)?;
                    parts.push(arrow::array::new_empty_array(&ty));
                }
                let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(|part| &**part).collect();
                let keys = concat(&parts).map_err(|error| SqlError::internal(error.to_string()))?;
                return Ok(Outcome::Keys(keys, reservation));
            }
        };
        let mut values = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch: RecordBatch = batch.map_err(lift)?;
            if batch.num_rows() == 0 {
                continue;
            }
            if matches!(kind, SubqueryKind::Exists) {
                return scalar(&Datum::Bool(true), ty);
            }
            let rows = reader::rows(&batch, &self.columns, 0, batch.num_rows())?;
            values.extend(rows.into_iter().filter_map(|row| row.into_iter().next()));
            if matches!(kind, SubqueryKind::Scalar) && values.len() > 1 {
                return Err(SqlError::new(
                    SqlState::CARDINALITY_VIOLATION,
                    "more than one row returned by a subquery used as an expression",
                ));
            }
        }
        let value = match kind {
            SubqueryKind::Exists => Datum::Bool(false),
            SubqueryKind::Array => {
                let element = ty.info().map_or(Oid::UNKNOWN, |info| info.element);
                Datum::Array(Arc::new(Array::from_elements(element, values)))
            }
            _ => values.pop().unwrap_or(Datum::Null),
        };
        scalar(&value, ty)
    }

    fn outcome(&self) -> Result<&Outcome> {
        match self.outcome.get() {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(error)) => Err(to_datafusion(error.clone())),
            None => Err(internal("a subquery's value is asked for before it has run")),
        }
    }

    fn value(&self) -> Result<&ScalarValue> {
        match self.outcome()? {
            Outcome::Value(value) => Ok(value),
            Outcome::Keys(..) => Err(internal("a subquery of IN has no value")),
        }
    }

    /// The keys of IN.
    pub fn keys(&self) -> Result<&ArrayRef> {
        match self.outcome()? {
            Outcome::Keys(keys, _) => Ok(keys),
            Outcome::Value(_) => Err(internal("a subquery outside IN has no keys")),
        }
    }
}

/// Errors that a value raises (division by zero, two rows), as opposed to cancellation, conflicts and lack of memory.
fn belongs_to_value(error: &SqlError) -> bool {
    ["21", "22"].iter().any(|class| error.sqlstate().to_string().starts_with(class))
}

fn scalar(value: &Datum, ty: SqlType) -> SqlResult<Outcome> {
    let kind = Kind::of(ty).ok_or_else(|| SqlError::internal("a subquery's type has no column form"))?;
    let mut builder = ColumnBuilder::new(kind, 1);
    builder.append(value)?;
    let scalar = ScalarValue::try_from_array(&builder.finish(), 0);
    scalar.map(Outcome::Value).map_err(|error| from_datafusion(&error))
}

/// A subquery's value.
#[derive(Debug)]
pub struct OnceExpr {
    pub subquery: Arc<OnceSubquery>,
    pub kind: Kind,
}

impl PartialEq for OnceExpr {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.subquery, &other.subquery)
    }
}

impl Eq for OnceExpr {}

impl Hash for OnceExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.subquery).hash(state);
    }
}

impl fmt::Display for OnceExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("subquery")
    }
}

impl PhysicalExpr for OnceExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.kind.data_type())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        // Nobody asks for the value of no row: an error of the subquery then stays unseen.
        if batch.num_rows() == 0 {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.kind.data_type())));
        }
        Ok(ColumnarValue::Scalar(self.subquery.value()?.clone()))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn is_volatile_node(&self) -> bool {
        true
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
