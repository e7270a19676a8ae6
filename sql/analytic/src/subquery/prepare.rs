//! Passes batches on; before the first row, runs the subqueries that the operator above reads.

use std::sync::Arc;

use datafusion::{
    common::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, stream};

use super::OnceSubquery;
use crate::relation::operator::{Batches, Operation};

pub struct Prepare {
    pub subqueries: Arc<[Arc<OnceSubquery>]>,
}

impl Operation for Prepare {
    fn name(&self) -> &'static str {
        "PrepareExec"
    }

    fn open(
        &self,
        inputs: &[Arc<dyn ExecutionPlan>],
        partition: usize,
        task: &Arc<TaskContext>,
    ) -> Result<Batches> {
        let input = inputs[0].execute(partition, task.clone())?;
        let state = (input, self.subqueries.clone(), task.clone(), false);
        let batches = stream::try_unfold(state, |(mut input, subqueries, task, mut filled)| async move {
            let Some(batch) = input.next().await.transpose()? else { return Ok(None) };
            if !filled && batch.num_rows() > 0 {
                for subquery in subqueries.iter() {
                    subquery.fill(&task).await?;
                }
                filled = true;
            }
            Ok::<_, DataFusionError>(Some((batch, (input, subqueries, task, filled))))
        });
        Ok(batches.boxed())
    }
}
