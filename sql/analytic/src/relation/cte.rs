//! Common table expressions: run when first read, kept for every other reader.

use std::{fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::{DataFusionError, Result, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, stream};
use tokio::sync::OnceCell;

use super::append::rename;
use crate::{kind::Column, source::properties::single_partition};

/// The rows of a common table expression, once they are needed.
pub struct CteRows {
    definition: Arc<dyn ExecutionPlan>,
    /// The definition's columns.
    pub columns: Vec<Column>,
    batches: OnceCell<(Vec<RecordBatch>, MemoryReservation)>,
}

impl CteRows {
    pub fn new(definition: Arc<dyn ExecutionPlan>, columns: Vec<Column>) -> Self {
        Self { definition, columns, batches: OnceCell::new() }
    }

    async fn batches(&self, task: &Arc<TaskContext>) -> Result<&[RecordBatch]> {
        let run = || async {
            let reservation = MemoryConsumer::new("cte").register(task.memory_pool());
            let mut stream = self.definition.execute(0, task.clone())?;
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                reservation.try_grow(batch.get_array_memory_size())?;
                batches.push(batch);
            }
            Ok::<_, DataFusionError>((batches, reservation))
        };
        Ok(&self.batches.get_or_try_init(run).await?.0)
    }
}

impl fmt::Debug for CteRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CteRows")
    }
}

#[derive(Debug)]
pub struct CteScanExec {
    rows: Arc<CteRows>,
    properties: Arc<PlanProperties>,
}

impl CteScanExec {
    /// `schema` names the columns anew.
    pub fn new(rows: Arc<CteRows>, schema: SchemaRef) -> Self {
        Self { rows, properties: single_partition(schema) }
    }
}

impl DisplayAs for CteScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CteScanExec")
    }
}

impl ExecutionPlan for CteScanExec {
    fn name(&self) -> &str {
        "CteScanExec"
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
        let schema = self.schema();
        let batches = stream::try_unfold((self.rows.clone(), 0), move |(rows, next)| {
            let (task, schema) = (task.clone(), schema.clone());
            async move {
                let batch = match rows.batches(&task).await?.get(next) {
                    Some(batch) => rename(batch, &schema)?,
                    None => return Ok(None),
                };
                Ok::<_, DataFusionError>(Some((batch, (rows, next + 1))))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
