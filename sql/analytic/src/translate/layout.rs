//! Columns in the order that a plan node promises.

use std::sync::Arc;

use datafusion::{
    physical_expr::{PhysicalExpr, expressions::Column as ColumnExpr},
    physical_plan::{ExecutionPlan, projection::ProjectionExec},
};

use super::Failure;
use crate::{
    expression::Refusal,
    kind::{Column, column_name},
};

/// Gives `wanted` from an operator that gives `produced`.
pub fn arrange(
    plan: Arc<dyn ExecutionPlan>,
    produced: &[Column],
    wanted: &[Column],
) -> Result<Arc<dyn ExecutionPlan>, Failure> {
    let same = produced.len() == wanted.len() && produced.iter().zip(wanted).all(|(a, b)| a.id == b.id);
    if same {
        return Ok(plan);
    }
    let mut positions = Vec::with_capacity(wanted.len());
    for column in wanted {
        let position = produced.iter().position(|other| other.id == column.id && other.kind == column.kind);
        positions.push(position.ok_or_else(|| Refusal("a column that no input gives".to_owned()))?);
    }
    pick(plan, &positions, wanted)
}

/// Gives the operator's columns at `positions` under the names of `wanted`.
pub fn pick(
    plan: Arc<dyn ExecutionPlan>,
    positions: &[usize],
    wanted: &[Column],
) -> Result<Arc<dyn ExecutionPlan>, Failure> {
    let schema = plan.schema();
    let exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = positions
        .iter()
        .zip(wanted)
        .map(|(&position, column)| {
            let expr = Arc::new(ColumnExpr::new(schema.field(position).name(), position));
            (expr as Arc<dyn PhysicalExpr>, column_name(column.id))
        })
        .collect();
    Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
}
