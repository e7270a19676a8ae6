//! The row executor's operators: one file each, all pull-based streams of row batches.

mod accumulate;
mod aggregate;
mod cte;
mod distinct;
mod dml;
mod filter;
mod function_scan;
mod hash_join;
mod join_key;
mod limit;
mod lock_rows;
mod lookup_join;
mod nested_loop;
mod project;
mod project_set;
pub(crate) mod scan;
mod set_operation;
mod sort;
pub(crate) mod spans;
mod values;
mod virtual_scan;
mod window;

use basalt_env::BoxFuture;
use basalt_planner::{Plan, PlanNode};
use basalt_types::Result;

use super::{RowStream, scope::Scope};

pub(crate) type Stream = Box<dyn RowStream>;

/// Opens the operator tree of a plan.
///
/// The futures of the rarer operators are boxed: this one is as large as its largest part, and every operator of every
/// statement pays for moving it.
pub(crate) fn build<'a>(plan: &'a Plan, scope: &'a Scope) -> BoxFuture<'a, Result<Stream>> {
    Box::pin(async move {
        Ok(match &plan.node {
            PlanNode::Values { rows } => values::open(rows, scope).await?,
            PlanNode::Scan(scan) => scan::open(scan, scope).await?,
            PlanNode::VirtualScan { table, columns, filter } => {
                Box::pin(virtual_scan::open(table, columns, filter.as_ref(), scope)).await?
            }
            PlanNode::FunctionScan { call, ordinality } => {
                Box::pin(function_scan::open(call, *ordinality, scope)).await?
            }
            PlanNode::Filter { input, predicate } => filter::open(input, predicate, scope).await?,
            PlanNode::Project { input, exprs } => project::open(input, exprs, scope).await?,
            PlanNode::ProjectSet { input, calls } => Box::pin(project_set::open(input, calls, scope)).await?,
            PlanNode::NestedLoop { kind, left, right, on, lateral } => {
                Box::pin(nested_loop::open(*kind, left, right, on.as_ref(), *lateral, scope)).await?
            }
            PlanNode::HashJoin { kind, left, right, keys, residual } => {
                Box::pin(hash_join::open(*kind, left, right, keys, residual.as_ref(), scope)).await?
            }
            PlanNode::LookupJoin { kind, left, scan, residual } => {
                Box::pin(lookup_join::open(*kind, left, scan, residual.as_ref(), scope)).await?
            }
            PlanNode::Aggregate(aggregate) => Box::pin(aggregate::open(aggregate, scope)).await?,
            PlanNode::Window { input, calls } => Box::pin(window::open(input, calls, scope)).await?,
            PlanNode::Sort { input, keys, top } => {
                Box::pin(sort::open(input, keys, top.as_ref(), scope)).await?
            }
            PlanNode::Limit { input, limit, offset } => {
                limit::open(input, limit.as_ref(), offset.as_ref(), scope).await?
            }
            PlanNode::Distinct { input, on } => Box::pin(distinct::open(input, on, scope)).await?,
            PlanNode::Append { inputs } => Box::pin(set_operation::append(inputs, scope)).await?,
            PlanNode::SetOp { op, all, left, right } => {
                Box::pin(set_operation::open(*op, *all, left, right, scope)).await?
            }
            PlanNode::With { cte, definition, body } => {
                Box::pin(cte::with(*cte, definition, body, scope)).await?
            }
            PlanNode::CteScan { cte } => cte::scan(*cte, scope).await?,
            PlanNode::RecursiveUnion { cte, base, step, all } => {
                Box::pin(cte::recursive(*cte, base, step, *all, scope)).await?
            }
            PlanNode::LockRows { input, locks } => Box::pin(lock_rows::open(input, locks, scope)).await?,
            PlanNode::Insert(insert) => dml::insert(insert, scope).await?,
            PlanNode::Update(update) => dml::update(update, scope).await?,
            PlanNode::Delete(delete) => dml::delete(delete, scope).await?,
        })
    })
}
