//! Scans of pg_catalog and information_schema.

use basalt_planner::{ColumnId, Expr, Table};
use basalt_types::{Datum, Result, SqlType};

use super::Stream;
use crate::exec::{RowsStream, eval::evaluator::RowEvaluator, scope::Scope};

pub(super) async fn open(
    table: &Table,
    columns: &[(ColumnId, usize)],
    filter: Option<&Expr>,
    scope: &Scope,
) -> Result<Stream> {
    let layout: Vec<(ColumnId, SqlType)> =
        columns.iter().map(|(id, position)| (*id, table.columns[*position].ty)).collect();
    let mut filter_evaluator =
        filter.map(|filter| RowEvaluator::new([filter], &layout, scope)).transpose()?;
    let mut out = Vec::new();
    for full in scope.context.tables.rows(table, filter).await? {
        let row: Vec<Datum> = columns.iter().map(|(_, position)| full[*position].clone()).collect();
        if let Some(evaluator) = &mut filter_evaluator {
            evaluator.next_row();
            if evaluator.evaluate(0, scope, &row).await? != Datum::Bool(true) {
                continue;
            }
        }
        out.push(row);
    }
    Ok(Box::new(RowsStream::new(out)))
}
