//! The partitions of an operator as one stream, each run by a task of its own.
//!
//! Partitions come out one after the other, so what was in order stays in order, and the first value of a group is the
//! same however many partitions there are. Their tasks run at once; each may be [`AHEAD`] batches ahead of its reader.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::RecordBatch;
use basalt_env::Env;
use datafusion::{
    common::{DataFusionError, Result},
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::{ExecutionPlan, ExecutionPlanProperties},
};
use futures::{StreamExt, stream};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::operator::{Batches, Operation, OperatorExec};
use crate::{error::internal, source::properties::single_partition};

/// Batches that a task may have ready before they are asked for.
const AHEAD: usize = 4;

enum Message {
    Batch(RecordBatch, #[expect(dead_code, reason = "held as long as the batch waits")] MemoryReservation),
    Failed(DataFusionError),
    /// The partition has ended; a task that dies does not say so.
    Done,
}

struct Gather {
    env: Env,
}

/// One partition with the rows of all of the input's, in their order.
pub fn gathered(input: Arc<dyn ExecutionPlan>, env: &Env) -> Arc<dyn ExecutionPlan> {
    if input.output_partitioning().partition_count() == 1 {
        return input;
    }
    let properties = single_partition(input.schema());
    OperatorExec::plan(Gather { env: env.clone() }, vec![input], properties)
}

impl Operation for Gather {
    fn name(&self) -> &'static str {
        "GatherExec"
    }

    fn open(&self, inputs: &[Arc<dyn ExecutionPlan>], _: usize, task: &Arc<TaskContext>) -> Result<Batches> {
        let input = &inputs[0];
        let partitions = input.output_partitioning().partition_count();
        let mut receivers = VecDeque::with_capacity(partitions);
        for partition in 0..partitions {
            let (sender, receiver) = channel(AHEAD);
            receivers.push_back(receiver);
            let run = run(input.clone(), partition, task.clone(), sender);
            self.env.spawner.spawn("sql partition", Box::pin(run));
        }
        let batches =
            stream::try_unfold(receivers, |mut receivers: VecDeque<Receiver<Message>>| async move {
                while let Some(receiver) = receivers.front_mut() {
                    match receiver.recv().await {
                        Some(Message::Batch(batch, _)) => return Ok(Some((batch, receivers))),
                        Some(Message::Done) => drop(receivers.pop_front()),
                        Some(Message::Failed(error)) => return Err(error),
                        None => return Err(internal("a partition of a query ended early")),
                    }
                }
                Ok(None)
            });
        Ok(batches.boxed())
    }
}

async fn run(
    input: Arc<dyn ExecutionPlan>,
    partition: usize,
    task: Arc<TaskContext>,
    sender: Sender<Message>,
) {
    let reservation = MemoryConsumer::new("partition").register(task.memory_pool());
    let work = async {
        let mut batches = input.execute(partition, task.clone())?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let held = reservation.new_empty();
            held.try_grow(batch.get_array_memory_size())?;
            if sender.send(Message::Batch(batch, held)).await.is_err() {
                // Nobody reads any more.
                return Ok(());
            }
        }
        Ok(())
    };
    let last = match work.await {
        Ok(()) => Message::Done,
        Err(error) => Message::Failed(error),
    };
    sender.send(last).await.unwrap_or_default();
}
