//! INTERSECT and EXCEPT.
//!
//! Right rows are counted per distinct key, then left rows pass one by one: with ALL as often as the counts say, else
//! once. So the row that is shown is always the first left one, as on the row executor.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Field, Schema, SchemaRef},
};
use basalt_planner::plan::SetOp;
use datafusion::{
    common::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::{
        ExecutionPlan,
        aggregates::{
            group_values::{GroupValues, new_group_values},
            order::GroupOrdering,
        },
    },
};
use futures::{StreamExt, stream};

use super::{
    append::rename,
    operator::{Batches, Operation},
};
use crate::{expression::key::key_array, kind::Column};

pub struct SetOperation {
    pub op: SetOp,
    pub all: bool,
    /// Those of both inputs, by position.
    pub columns: Vec<Column>,
    pub schema: SchemaRef,
}

impl Operation for SetOperation {
    fn name(&self) -> &'static str {
        "SetOperationExec"
    }

    fn open(&self, inputs: &[Arc<dyn ExecutionPlan>], _: usize, task: &Arc<TaskContext>) -> Result<Batches> {
        let field =
            |(index, column): (usize, &Column)| Field::new(format!("k{index}"), column.kind.key_type(), true);
        let keys: Vec<Field> = self.columns.iter().enumerate().map(field).collect();
        let state = State {
            op: self.op,
            all: self.all,
            columns: self.columns.clone(),
            schema: self.schema.clone(),
            left: inputs[0].execute(0, task.clone())?,
            right: Some(inputs[1].execute(0, task.clone())?),
            groups: new_group_values(Arc::new(Schema::new(keys)), &GroupOrdering::None)?,
            counts: Vec::new(),
            settled: Vec::new(),
            ids: Vec::new(),
            reservation: MemoryConsumer::new("set operation").register(task.memory_pool()),
        };
        let batches = stream::try_unfold(state, |mut state| async move {
            let batch = state.next().await?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, state)))
        });
        Ok(batches.boxed())
    }
}

struct State {
    op: SetOp,
    all: bool,
    columns: Vec<Column>,
    schema: SchemaRef,
    left: SendableRecordBatchStream,
    /// Taken when it is read.
    right: Option<SendableRecordBatchStream>,
    /// Distinct keys of both sides.
    groups: Box<dyn GroupValues>,
    /// Per key: right rows not used up yet.
    counts: Vec<u64>,
    /// Per key: a left row has passed.
    settled: Vec<bool>,
    /// Keys of the batch in hand.
    ids: Vec<usize>,
    reservation: MemoryReservation,
}

impl State {
    fn intern(&mut self, batch: &RecordBatch) -> Result<()> {
        let pairs = batch.columns().iter().zip(&self.columns);
        let keys = pairs.map(|(array, column)| key_array(array, column.kind, column.ty));
        let keys = keys.collect::<Result<Vec<ArrayRef>>>()?;
        self.groups.intern(&keys, &mut self.ids)?;
        self.counts.resize(self.groups.len(), 0);
        self.settled.resize(self.groups.len(), false);
        self.reservation.try_resize(self.groups.size() + self.counts.capacity() * 9)
    }

    fn passes(&mut self, key: usize) -> bool {
        let there = self.counts[key] > 0;
        if self.all {
            self.counts[key] -= u64::from(there);
            return there == (self.op == SetOp::Intersect);
        }
        there == (self.op == SetOp::Intersect) && !std::mem::replace(&mut self.settled[key], true)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(mut right) = self.right.take() {
            while let Some(batch) = right.next().await {
                self.intern(&batch?)?;
                for &key in &self.ids {
                    self.counts[key] += 1;
                }
            }
        }
        if self.op == SetOp::Intersect && self.counts.is_empty() {
            return Ok(None);
        }
        while let Some(batch) = self.left.next().await {
            let batch = batch?;
            self.intern(&batch)?;
            let ids = std::mem::take(&mut self.ids);
            let mask: BooleanArray = ids.iter().map(|&key| Some(self.passes(key))).collect();
            self.ids = ids;
            let kept = filter_record_batch(&batch, &mask)?;
            if kept.num_rows() > 0 {
                return rename(&kept, &self.schema).map(Some);
            }
        }
        Ok(None)
    }
}
