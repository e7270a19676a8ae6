//! A subtree that runs on the row executor, as a source of batches.

use std::{fmt, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use basalt_planner::Plan;
use basalt_sql::exec::{self, ExecContext, RowStream};
use basalt_types::{Row, SqlError};
use datafusion::{
    common::{DataFusionError, Result, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::stream;

use super::properties::single_partition;
use crate::{
    builder::ColumnBuilder,
    error::to_datafusion,
    kind::{Column, schema_of},
};

pub struct RowLeafExec {
    plan: Arc<Plan>,
    columns: Arc<[Column]>,
    context: ExecContext,
    properties: Arc<PlanProperties>,
}

impl RowLeafExec {
    pub fn new(plan: Arc<Plan>, columns: Vec<Column>, context: ExecContext) -> Self {
        let properties = single_partition(schema_of(&columns));
        Self { plan, columns: columns.into(), context, properties }
    }
}

impl fmt::Debug for RowLeafExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowLeafExec({} columns)", self.columns.len())
    }
}

impl DisplayAs for RowLeafExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ExecutionPlan for RowLeafExec {
    fn name(&self) -> &str {
        "RowLeafExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let source = Source {
            plan: self.plan.clone(),
            context: self.context.clone(),
            columns: self.columns.clone(),
            schema: self.schema(),
            rows_wanted: task.session_config().batch_size(),
            stream: None,
        };
        let batches = stream::try_unfold(source, |mut source| async move {
            let batch = source.next().await.map_err(to_datafusion)?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, source)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

struct Source {
    plan: Arc<Plan>,
    context: ExecContext,
    columns: Arc<[Column]>,
    schema: SchemaRef,
    rows_wanted: usize,
    stream: Option<Box<dyn RowStream>>,
}

impl Source {
    async fn next(&mut self) -> basalt_types::Result<Option<RecordBatch>> {
        if self.stream.is_none() {
            self.stream = Some(exec::open(&self.plan, self.context.clone()).await?);
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|column| ColumnBuilder::new(column.kind, self.rows_wanted)).collect();
        let mut count = 0;
        while count < self.rows_wanted {
            let Some(rows) = stream.next_batch().await? else { break };
            count += rows.len();
            append_rows(&mut builders, &rows)?;
        }
        if count == 0 {
            return Ok(None);
        }
        batch_of(&self.schema, &mut builders, count).map(Some)
    }
}

pub fn append_rows(builders: &mut [ColumnBuilder], rows: &[Row]) -> basalt_types::Result<()> {
    for row in rows {
        for (builder, value) in builders.iter_mut().zip(row) {
            builder.append(value)?;
        }
    }
    Ok(())
}

/// A batch of `count` rows, which has columns or not.
pub fn batch_of(
    schema: &SchemaRef,
    builders: &mut [ColumnBuilder],
    count: usize,
) -> basalt_types::Result<RecordBatch> {
    let columns: Vec<ArrayRef> = builders.iter_mut().map(ColumnBuilder::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| SqlError::internal(format!("malformed batch: {error}")))
}
