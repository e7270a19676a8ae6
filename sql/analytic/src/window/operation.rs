//! Batches in the order of the window's keys become batches with the calls' results.

use std::{collections::VecDeque, sync::Arc};

use arrow::{
    array::RecordBatch,
    compute::{concat_batches, partition},
};
use datafusion::{
    common::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, stream};

use super::partitions::WindowShape;
use crate::relation::operator::{Batches, Operation};

pub struct Window {
    pub shape: Arc<WindowShape>,
}

impl Operation for Window {
    fn name(&self) -> &'static str {
        "WindowExec"
    }

    fn open(&self, inputs: &[Arc<dyn ExecutionPlan>], _: usize, task: &Arc<TaskContext>) -> Result<Batches> {
        let state = State {
            shape: self.shape.clone(),
            input: Some(inputs[0].execute(0, task.clone())?),
            pending: Vec::new(),
            ready: VecDeque::new(),
            batch_rows: task.session_config().batch_size(),
            reservation: MemoryConsumer::new("window").register(task.memory_pool()),
        };
        let batches = stream::try_unfold(state, |mut state| async move {
            let batch = state.next().await?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, state)))
        });
        Ok(batches.boxed())
    }
}

struct State {
    shape: Arc<WindowShape>,
    /// `None` when it has ended.
    input: Option<SendableRecordBatchStream>,
    /// Rows of the last partition, which may go on.
    pending: Vec<RecordBatch>,
    ready: VecDeque<RecordBatch>,
    batch_rows: usize,
    reservation: MemoryReservation,
}

impl State {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let Some(input) = &mut self.input else { return Ok(None) };
            match input.next().await {
                Some(batch) => self.take(batch?)?,
                None => {
                    self.input = None;
                    let last = std::mem::take(&mut self.pending);
                    self.compute(last)?;
                }
            }
        }
    }

    fn take(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.reservation.try_grow(batch.get_array_memory_size())?;
        let Some(cut) = self.last_boundary(&batch)? else {
            self.pending.push(batch);
            return Ok(());
        };
        let mut whole = std::mem::take(&mut self.pending);
        if cut > 0 {
            whole.push(batch.slice(0, cut));
        }
        self.pending.push(batch.slice(cut, batch.num_rows() - cut));
        self.compute(whole)
    }

    /// Where the last partition of the batch begins, unless it began before.
    fn last_boundary(&self, batch: &RecordBatch) -> Result<Option<usize>> {
        let keys = &self.shape.partition_by;
        if keys.is_empty() {
            return Ok(None);
        }
        let keys_of = |batch: &RecordBatch| batch.project(keys);
        let own = keys_of(batch)?;
        if let Some(last) = partition(own.columns())?.ranges().last().filter(|range| range.start > 0) {
            return Ok(Some(last.start));
        }
        let Some(before) = self.pending.last() else { return Ok(None) };
        let before = keys_of(&before.slice(before.num_rows() - 1, 1))?;
        let both = concat_batches(&before.schema(), [&before, &own.slice(0, 1)])?;
        Ok((partition(both.columns())?.len() > 1).then_some(0))
    }

    /// Computes whole partitions.
    fn compute(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        let Some(first) = batches.first() else { return Ok(()) };
        let rows = concat_batches(&first.schema(), &batches)?;
        drop(batches);
        let taken = rows.get_array_memory_size() + rows.num_rows() * self.shape.row_bytes();
        self.reservation.try_grow(taken)?;
        let done = self.shape.compute(&rows)?;
        let mut from = 0;
        while from < done.num_rows() {
            let length = self.batch_rows.min(done.num_rows() - from);
            self.ready.push_back(done.slice(from, length));
            from += length;
        }
        let pending: usize = self.pending.iter().map(RecordBatch::get_array_memory_size).sum();
        self.reservation.try_resize(pending + done.get_array_memory_size())
    }
}
