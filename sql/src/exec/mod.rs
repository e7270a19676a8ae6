//! Execution of plans.
//!
//! The row executor runs every plan; DataFusion runs those with large joins, aggregates, sorts and windows.
//! Both produce batches of rows through [`RowStream`].

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use basalt_env::{BoxFuture, Env};
use basalt_functions::EvalContext;
use basalt_planner::{Expr, Plan, Table};
use basalt_txn::Txn;
use basalt_types::{Datum, Result, Row};

use parking_lot::Mutex;

use crate::{
    Cancel, Signal,
    exec::{
        changes::Changes,
        deferred::Deferred,
        memory::MemoryBudget,
        referential::{Checks, Reference},
    },
    row_ids::RowIds,
};

pub mod changes;
pub mod deferred;
pub mod eval;
pub(crate) mod key;
pub mod memory;
pub(crate) mod operators;
pub mod referential;
pub mod scope;
pub mod window;
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

/// Checkpoints that a statement passes before others get their turn: some milliseconds of work.
const CHECKPOINTS_PER_TURN: u32 = 32;

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
    /// Checkpoints passed.
    pub passed: AtomicU32,
    pub tables: Arc<dyn VirtualTables>,
    pub row_ids: Arc<RowIds>,
    pub memory: MemoryBudget,
    pub changes: Changes,
    /// Checks of foreign keys that wait for the end of the transaction.
    pub deferred: Arc<Mutex<Deferred>>,
}

impl ExecContext {
    /// To be called about once per batch: ends a cancelled statement, and lets others run once this one has worked for
    /// a while. A statement that never waited would keep its thread, and could be neither cancelled nor timed out.
    pub async fn checkpoint(&self) -> Result<()> {
        self.cancel.check()?;
        if self.passed.fetch_add(1, Ordering::Relaxed) % CHECKPOINTS_PER_TURN == CHECKPOINTS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// What executors ask of the session: rows of virtual tables (pg_catalog, information_schema) and of sequences.
pub trait VirtualTables: Send + Sync {
    /// All rows of a virtual table, every column. `filter` is a hint: rows that fail it may be left out.
    fn rows<'a>(&'a self, table: &'a Table, filter: Option<&'a Expr>) -> BoxFuture<'a, Result<Vec<Row>>>;
    /// The table's own foreign keys.
    fn references(&self, table: &Arc<Table>) -> Result<Vec<Arc<Reference>>>;
    /// Foreign keys that refer to the table.
    fn referring(&self, table: &Arc<Table>) -> Result<Vec<Arc<Reference>>>;
    /// The table's CHECK constraints.
    fn checks(&self, table: &Arc<Table>, context: &ExecContext) -> Result<Checks>;
    /// Defaults of columns by position, for SET DEFAULT.
    fn defaults(&self, table: &Arc<Table>, positions: &[usize], context: &ExecContext) -> Result<Row>;
    /// Calls a function that may wait. No argument is NULL.
    fn call<'a>(&'a self, function: WaitingFunction, args: &'a [Datum]) -> BoxFuture<'a, Result<Datum>>;
}

/// Whether the plan's own node (not its inputs) calls a function that may wait.
pub fn calls_waiting_function(node: &basalt_planner::PlanNode) -> bool {
    let is_call =
        |expr: &Expr| matches!(expr, Expr::Call(call) if WaitingFunction::of(call.function.name).is_some());
    let mut found = false;
    basalt_planner::exprs(node, &mut |expr| {
        found = found || basalt_planner::any_expr(expr, &mut |part| is_call(part));
    });
    found
}

/// A function that may wait: for the store, which has the sequences, or for other nodes, which have other sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFunction {
    Sequence(SequenceOperation),
    Signal(Signal),
}

/// A function that reads or changes a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceOperation {
    Next,
    Set,
    LastValue,
}

impl WaitingFunction {
    /// By `pg_proc` name.
    pub fn of(function: &str) -> Option<Self> {
        match function {
            "nextval" => Some(Self::Sequence(SequenceOperation::Next)),
            "setval" => Some(Self::Sequence(SequenceOperation::Set)),
            "pg_sequence_last_value" => Some(Self::Sequence(SequenceOperation::LastValue)),
            "pg_cancel_backend" => Some(Self::Signal(Signal::Cancel)),
            "pg_terminate_backend" => Some(Self::Signal(Signal::Terminate)),
            _ => None,
        }
    }
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
    /// What [`Self::open`] would do, for EXPLAIN: `None` when it would hand the plan to the row executor after all, else
    /// why parts of it go there.
    fn describe<'a>(
        &'a self,
        plan: &'a Arc<Plan>,
        context: ExecContext,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>>>;
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
