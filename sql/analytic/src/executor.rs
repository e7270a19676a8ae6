//! The vectorised executor.

use std::{path::PathBuf, sync::Arc};

use basalt_env::BoxFuture;
use basalt_planner::{Plan, PlanNode, inputs};
use basalt_sql::exec::{self, ExecContext, RowStream, Vectorized};
use basalt_types::{Result, SqlError};
use datafusion::execution::{
    TaskContext,
    config::SessionConfig,
    disk_manager::{DiskManagerBuilder, DiskManagerMode},
    runtime_env::RuntimeEnvBuilder,
};

use crate::{
    error::from_datafusion,
    kind::columns_of,
    memory::BudgetPool,
    relation::gather::gathered,
    stream::BatchRows,
    translate::{Failure, PlanBuilder},
};

/// Most bytes that a sort sets aside for merging.
const SPILL_RESERVATION_MAX: usize = 10 << 20;

/// Settings of the executor.
#[derive(Clone, Debug)]
pub struct AnalyticOptions {
    /// Rows per batch.
    pub batch_rows: usize,
    /// In how many partitions a large scan, and what can run on its parts, is divided.
    pub partitions: usize,
    /// A table of fewer rows is scanned as one.
    pub partition_rows_min: f64,
    /// Where sorts and aggregates that outgrow their memory spill; without it they fail with `53200`.
    pub spill_directory: Option<PathBuf>,
}

impl Default for AnalyticOptions {
    fn default() -> Self {
        Self { batch_rows: 8_192, partitions: 1, partition_rows_min: 50_000.0, spill_directory: None }
    }
}

/// Runs plans on DataFusion's operators.
#[derive(Clone, Debug, Default)]
pub struct AnalyticExecutor {
    options: AnalyticOptions,
}

impl AnalyticExecutor {
    pub fn new(options: AnalyticOptions) -> Self {
        Self { options }
    }

    fn task(&self, context: &ExecContext) -> Result<Arc<TaskContext>> {
        let mode = match &self.options.spill_directory {
            Some(directory) => DiskManagerMode::Directories(vec![directory.clone()]),
            None => DiskManagerMode::Disabled,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(BudgetPool::new(context.memory.clone())))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(|error| from_datafusion(&error))?;
        let mut config =
            SessionConfig::new().with_batch_size(self.options.batch_rows).with_target_partitions(1);
        // What each partition of a sort sets aside for merging what it spilled; nothing where nothing spills.
        let share = context.memory.max() / (8 * self.options.partitions.max(1));
        let aside = if self.options.spill_directory.is_some() { share.min(SPILL_RESERVATION_MAX) } else { 0 };
        config = config.with_sort_spill_reservation_bytes(aside);
        Ok(Arc::new(TaskContext::default().with_session_config(config).with_runtime(runtime)))
    }
}

impl Vectorized for AnalyticExecutor {
    fn refuses(&self, plan: &Plan) -> Option<String> {
        if let Some(why) = must_run_on_rows(plan) {
            return Some(why.to_owned());
        }
        if columns_of(&plan.columns).is_err() {
            return Some("a column type without a vectorised form".to_owned());
        }
        (!gains(plan)).then(|| "nothing of it would run vectorised".to_owned())
    }

    fn describe<'a>(
        &'a self,
        plan: &'a Arc<Plan>,
        context: ExecContext,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            // Without partitions no data is looked at.
            let options = AnalyticOptions { partitions: 1, ..self.options.clone() };
            let mut builder = PlanBuilder::new(context, &options);
            match builder.node(plan).await {
                Ok(_) => Ok(Some(builder.on_rows)),
                Err(Failure::Refused(_)) => Ok(None),
                Err(Failure::Error(error)) => Err(error),
            }
        })
    }

    fn open<'a>(
        &'a self,
        plan: &'a Arc<Plan>,
        context: ExecContext,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream>>> {
        Box::pin(async move {
            let mut builder = PlanBuilder::new(context.clone(), &self.options);
            let root = match builder.node(plan).await {
                Ok(root) => root,
                Err(Failure::Refused(_)) => return exec::open(plan, context).await,
                Err(Failure::Error(error)) => return Err(error),
            };
            let columns = columns_of(&plan.columns)
                .map_err(|ty| SqlError::internal(format!("type {} has no column form", ty.oid)))?;
            let task = self.task(&context)?;
            let root = gathered(root, &context.env);
            let batches = root.execute(0, task).map_err(|error| from_datafusion(&error))?;
            Ok(Box::new(BatchRows::new(batches, columns)) as Box<dyn RowStream>)
        })
    }
}

/// Parts that only the row executor may run.
fn must_run_on_rows(plan: &Plan) -> Option<&'static str> {
    let own = match &plan.node {
        PlanNode::Insert(_) | PlanNode::Update(_) | PlanNode::Delete(_) => Some("it changes data"),
        PlanNode::LockRows { .. } => Some("it locks rows"),
        PlanNode::Scan(scan) if scan.lock.is_some() => Some("it locks rows"),
        node if exec::calls_waiting_function(node) => Some("it calls a function that may wait"),
        _ => None,
    };
    own.or_else(|| inputs(&plan.node).into_iter().find_map(must_run_on_rows))
}

/// Whether an operator that is worth it is reached without passing one that runs on the row executor.
fn gains(plan: &Plan) -> bool {
    match &plan.node {
        PlanNode::Scan(_)
        | PlanNode::HashJoin { .. }
        | PlanNode::Sort { .. }
        | PlanNode::Window { .. }
        | PlanNode::SetOp { .. } => true,
        PlanNode::Aggregate(aggregate) => aggregate.grouping_sets.is_none() && aggregate.groupings.is_empty(),
        PlanNode::Distinct { on, .. } => on.is_empty(),
        PlanNode::NestedLoop { lateral, .. } => !lateral,
        PlanNode::Filter { .. }
        | PlanNode::Project { .. }
        | PlanNode::Limit { .. }
        | PlanNode::Append { .. }
        | PlanNode::With { .. } => inputs(&plan.node).into_iter().any(gains),
        _ => false,
    }
}
