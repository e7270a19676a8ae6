//! Expressions that the row executor's evaluator computes, one row at a time: every function of the registry with
//! exactly its semantics.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use basalt_functions::EvalContext;
use basalt_sql::exec::eval::Compiled;
use basalt_types::Datum;
use datafusion::{common::Result, logical_expr::ColumnarValue, physical_expr::PhysicalExpr};

use crate::{
    builder::ColumnBuilder,
    error::to_datafusion,
    kind::{Column, Kind},
    reader::ColumnReader,
};

/// What does not depend on where the arguments are found.
struct Program {
    compiled: Compiled,
    /// The argument columns, in the order of the compiled expression's positions.
    columns: Vec<Column>,
    kind: Kind,
    eval: Arc<EvalContext>,
}

pub struct RowwiseExpr {
    program: Arc<Program>,
    args: Vec<Arc<dyn PhysicalExpr>>,
}

impl RowwiseExpr {
    /// `args[i]` gives the column that `compiled` knows at position `i`.
    pub fn new(
        compiled: Compiled,
        columns: Vec<Column>,
        args: Vec<Arc<dyn PhysicalExpr>>,
        kind: Kind,
        eval: Arc<EvalContext>,
    ) -> Self {
        Self { program: Arc::new(Program { compiled, columns, kind, eval }), args }
    }
}

impl fmt::Debug for RowwiseExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowwiseExpr({:?})", self.program.compiled)
    }
}

impl fmt::Display for RowwiseExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        write!(f, "rowwise({})", args.join(", "))
    }
}

impl PartialEq for RowwiseExpr {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program) && self.args == other.args
    }
}

impl Eq for RowwiseExpr {}

impl Hash for RowwiseExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.program).hash(state);
        self.args.hash(state);
    }
}

impl PhysicalExpr for RowwiseExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.program.kind.data_type())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let program = &*self.program;
        let count = batch.num_rows();
        let arrays =
            self.args.iter().map(|arg| arg.evaluate(batch)?.into_array(count)).collect::<Result<Vec<_>>>()?;
        let readers = arrays
            .iter()
            .zip(&program.columns)
            .map(|(array, column)| ColumnReader::new(array, column.kind, column.ty))
            .collect::<basalt_types::Result<Vec<_>>>()
            .map_err(to_datafusion)?;
        let mut builder = ColumnBuilder::new(program.kind, count);
        let mut values = vec![Datum::Null; readers.len()];
        for row in 0..count {
            for (slot, reader) in values.iter_mut().zip(&readers) {
                *slot = reader.get(row).map_err(to_datafusion)?;
            }
            let value = program.compiled.evaluate(&program.eval, &values).map_err(to_datafusion)?;
            builder.append(&value).map_err(to_datafusion)?;
        }
        Ok(ColumnarValue::Array(builder.finish()))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.args.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { program: self.program.clone(), args: children }))
    }

    fn is_volatile_node(&self) -> bool {
        true
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
