//! One [`ExecutionPlan`] for all operators of our own: what differs is how a stream is opened.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::stream::BoxStream;

/// Batches of one partition.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// What an operator does.
pub trait Operation: Send + Sync {
    fn name(&self) -> &'static str;
    fn open(
        &self,
        inputs: &[Arc<dyn ExecutionPlan>],
        partition: usize,
        task: &Arc<TaskContext>,
    ) -> Result<Batches>;
}

pub struct OperatorExec {
    operation: Arc<dyn Operation>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl OperatorExec {
    /// The node of a plan that does `operation`.
    pub fn plan(
        operation: impl Operation + 'static,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        properties: Arc<PlanProperties>,
    ) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { operation: Arc::new(operation), inputs, properties })
    }
}

impl fmt::Debug for OperatorExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation.name())
    }
}

impl DisplayAs for OperatorExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ExecutionPlan for OperatorExec {
    fn name(&self) -> &str {
        self.operation.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (operation, properties) = (self.operation.clone(), self.properties.clone());
        Ok(Arc::new(Self { operation, inputs, properties }))
    }

    fn with_new_children(
        self: Arc<Self>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (operation, properties) = (self.operation.clone(), self.properties.clone());
        Ok(Arc::new(Self { operation, inputs, properties }))
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.operation.open(&self.inputs, partition, &task)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
