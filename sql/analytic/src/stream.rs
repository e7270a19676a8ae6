//! Batches as the rows that a session sends.

use std::future::poll_fn;

use arrow::array::RecordBatch;
use basalt_env::{BoxFuture, keep_busy};
use basalt_sql::exec::RowStream;
use basalt_types::{Result, Row};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::{error::from_datafusion, kind::Column, reader};

/// Rows made at a time: datums take more memory than columns.
const ROWS_MAX: usize = 1_024;

pub struct BatchRows {
    batches: SendableRecordBatchStream,
    columns: Vec<Column>,
    /// A batch in hand and its next row.
    current: Option<(RecordBatch, usize)>,
}

impl BatchRows {
    pub fn new(batches: SendableRecordBatchStream, columns: Vec<Column>) -> Self {
        Self { batches, columns, current: None }
    }
}

impl RowStream for BatchRows {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            loop {
                if let Some((batch, from)) = &mut self.current {
                    let to = (*from + ROWS_MAX).min(batch.num_rows());
                    if *from < to {
                        let rows = reader::rows(batch, &self.columns, *from, to)?;
                        *from = to;
                        return Ok(Some(rows));
                    }
                }
                // Operators work on many rows between two places where they wait.
                let next = poll_fn(|context| keep_busy(|| self.batches.poll_next_unpin(context)));
                self.current = match next.await {
                    Some(batch) => Some((batch.map_err(|error| from_datafusion(&error))?, 0)),
                    None => return Ok(None),
                };
            }
        })
    }
}
