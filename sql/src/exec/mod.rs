//! Execution of plans.
//!
//! The row executor runs every plan; DataFusion runs those with large joins, aggregates, sorts and windows.
//! Both produce batches of rows through [`RowStream`].

use std::sync::Arc;

use basalt_env::{BoxFuture, Env};
use basalt_functions::EvalContext;
use basalt_planner::{Expr, Plan, Table};
use basalt_txn::Txn;
use basalt_types::{Result, Row};

use crate::{Cancel, exec::memory::MemoryBudget, row_ids::RowIds};

pub mod eval;
pub(crate) mod key;
pub mod memory;
pub(crate) mod operators;
pub mod scope;
pub mod write;

pub use operators::spans::Place;

/// Opens a plan on the row executor.
pub async fn open(plan: &Arc<Plan>, context: ExecContext) -> Result<Box<dyn RowStream>> {
    operators::build(plan, &scope::Scope::new(context)).await
}

/// Where a scan looks whose access refers to no row: for executors that read indexes by themselves.
pub async fn places(scan: &basalt_planner::plan::Scan, context: &ExecContext) -> Result<Vec<Place>> {
    let codec = crate::layout::EntryCodec::new(&scan.table, scan.index);
    let scope = scope::Scope::new(context.clone());
    operators::spans::places(&scan.table, scan.index, &codec, &scan.access, &scope, &[], &[]).await
}

/// Rows per batch that operators aim at.
pub const BATCH_ROWS: usize = 256;

/// What a running statement shares between its operators. Cheap to clone: every operator has one.
#[derive(Clone)]
pub struct ExecContext(Arc<ExecShared>);

impl ExecContext {
    pub fn new(shared: ExecShared) -> Self {
        Self(Arc::new(shared))
    }
}

impl std::ops::Deref for ExecContext {
    type Target = ExecShared;

    fn deref(&self) -> &ExecShared {
        &self.0
    }
}

/// See [`ExecContext`].
pub struct ExecShared {
    pub env: Env,
    pub txn: Txn,
    pub eval: Arc<EvalContext>,
    pub cancel: Arc<dyn Cancel>,
    pub tables: Arc<dyn VirtualTables>,
    pub row_ids: Arc<RowIds>,
    pub memory: MemoryBudget,
}

/// Makes the rows of virtual tables (pg_catalog, information_schema) for the executors.
pub trait VirtualTables: Send + Sync {
    /// All rows of a virtual table, every column. `filter` is a hint: rows that fail it may be left out.
    fn rows<'a>(&'a self, table: &'a Table, filter: Option<&'a Expr>) -> BoxFuture<'a, Result<Vec<Row>>>;
}

/// A pull-based stream of rows. `None` ends it; batches may have any size ≥ 1.
/// Dropping it stops the work. The owner checks cancellation between batches.
pub trait RowStream: Send {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>>;
    /// Tells, before the first batch, that no more than so many rows will be used.
    fn expect_at_most(&mut self, _rows: u64) {}
    /// Rows inserted, updated or deleted by a DML root, once the stream has ended.
    fn affected(&self) -> u64 {
        0
    }
}

/// The vectorised executor, supplied from above.
pub trait Vectorized: Send + Sync {
    /// Why the plan can't run vectorised, if it can't.
    fn refuses(&self, plan: &Plan) -> Option<String>;
    fn open<'a>(
        &'a self,
        plan: &'a Arc<Plan>,
        context: ExecContext,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream>>>;
}

/// Rows that are all there already.
pub struct RowsStream {
    rows: Option<Vec<Row>>,
}

impl RowsStream {
    pub fn new(rows: Vec<Row>) -> Self {
        Self { rows: (!rows.is_empty()).then_some(rows) }
    }
}

impl RowStream for RowsStream {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(std::future::ready(Ok(self.rows.take())))
    }
}
