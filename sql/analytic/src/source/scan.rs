//! Scans of stored tables by an index that holds every wanted column.
//!
//! Pages are read through the transaction, which merges its own buffered writes; decoding runs beside the data.

use std::{collections::VecDeque, fmt, sync::Arc};

use arrow::array::RecordBatch;
use basalt_base::Span;
use basalt_kv_api::{ScanBatch, ScanProgram};
use basalt_planner::plan::Scan;
use basalt_sql::{
    error::sql_error,
    exec::{ExecContext, Place},
    layout::EntryCodec,
};
use basalt_txn::ScanRequest;
use basalt_types::{Result as SqlResult, SqlError};
use bytes::BytesMut;
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

use super::{
    program::{DecodeProgram, WantedColumn},
    properties::partitioned,
};
use crate::{
    error::to_datafusion,
    kind::{Column, schema_of},
};

/// Bytes of decoded columns per page.
const PAGE_BYTES_MAX: u64 = 4 << 20;

pub struct ScanExec {
    table: String,
    /// By partition.
    spans: Vec<Vec<Span>>,
    reverse: bool,
    program: Arc<DecodeProgram>,
    context: ExecContext,
    properties: Arc<PlanProperties>,
}

impl ScanExec {
    /// `columns` are those of `scan`, in order; `spans` those of its access, by partition.
    pub fn new(
        scan: &Scan,
        columns: &[Column],
        spans: Vec<Vec<Span>>,
        context: &ExecContext,
        batch_rows: usize,
    ) -> Self {
        let schema = schema_of(columns);
        let wanted = scan
            .columns
            .iter()
            .zip(columns)
            .map(|((_, position), column)| WantedColumn {
                position: *position,
                id: scan.table.columns[*position].id,
                kind: column.kind,
            })
            .collect();
        let program = DecodeProgram {
            codec: EntryCodec::new(&scan.table, scan.index),
            wanted,
            schema: schema.clone(),
            rows_max: batch_rows,
        };
        let partitions = spans.len();
        Self {
            table: scan.alias.to_string(),
            spans,
            reverse: scan.reverse,
            program: Arc::new(program),
            context: context.clone(),
            properties: partitioned(schema, partitions),
        }
    }
}

/// Where a scan looks, in its order.
pub fn spans_of(scan: &Scan, places: Vec<Place>) -> Vec<Span> {
    let mut spans: Vec<Span> = places.into_iter().map(span_of).collect();
    if scan.reverse {
        spans.reverse();
    }
    spans
}

fn span_of(place: Place) -> Span {
    match place {
        Place::Range(span) => span,
        Place::Point(key) => {
            let mut end = BytesMut::from(&key[..]);
            end.extend_from_slice(&[0]);
            Span::new(key, end.freeze())
        }
    }
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec({}, {} partitions)", self.table, self.spans.len())
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
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

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pages = Pages {
            spans: self.spans.get(partition).into_iter().flatten().cloned().collect(),
            reverse: self.reverse,
            program: self.program.clone(),
            context: self.context.clone(),
        };
        let batches = stream::try_unfold(pages, |mut pages| async move {
            let batch = pages.next().await.map_err(to_datafusion)?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, pages)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

struct Pages {
    spans: VecDeque<Span>,
    reverse: bool,
    program: Arc<DecodeProgram>,
    context: ExecContext,
}

impl Pages {
    async fn next(&mut self) -> SqlResult<Option<RecordBatch>> {
        while let Some(span) = self.spans.pop_front() {
            self.context.checkpoint().await?;
            let mut request = ScanRequest::new(span);
            request.reverse = self.reverse;
            request.bytes_max = PAGE_BYTES_MAX;
            request.program = Some(self.program.clone() as Arc<dyn ScanProgram>);
            let page = self.context.txn.scan(request).await.map_err(sql_error)?;
            if let Some(resume) = page.resume {
                self.spans.push_front(resume);
            }
            let ScanBatch::Program(output) = page.batch else {
                return Err(SqlError::internal("a scan with a program returned rows"));
            };
            let batch = output
                .downcast::<RecordBatch>()
                .map_err(|_| SqlError::internal("a scan's program returned something else than a batch"))?;
            if batch.num_rows() > 0 {
                return Ok(Some(*batch));
            }
        }
        Ok(None)
    }
}
