//! Writing a table anew because its rows change shape (another column type, values for a new column, another key).
//!
//! The rows go to fresh indexes in the transaction of the schema change; the old ones are removed after the commit.

use std::sync::Arc;

use basalt_kv_api::ScanBatch;
use basalt_planner::{ColumnId, Expr, Table};
use basalt_txn::{ReadOptions, ScanRequest};
use basalt_types::{Datum, Result, Row, SqlType};

use crate::{
    Session,
    error::sql_error,
    exec::{eval::evaluator::RowEvaluator, scope::Scope, write::TableWriter},
    layout::{EntryCodec, index_span},
};

/// Rows read at a time.
const PAGE_ROWS: u64 = 1_000;

/// Stores `target`, whose columns are those of `source` by id except that `values` gives some of them, by position in
/// `target`, over the columns of `source` (`ids`, one each).
pub(super) async fn rewrite(
    session: &mut Session,
    source: &Arc<Table>,
    mut target: Table,
    values: &[(usize, Expr)],
    ids: &[ColumnId],
) -> Result<Arc<Table>> {
    let discarded: Vec<u32> = source.indexes.iter().map(|index| index.id).collect();
    for index in &mut target.indexes {
        index.id = target.next_index_id;
        target.next_index_id += 1;
    }
    for column in &mut target.columns {
        column.missing_value = None;
    }
    let target = session.write_table(target)?;
    copy_rows(session, source, &target, values, ids).await?;
    for index in discarded {
        session.discard_index(target.id, index)?;
    }
    Ok(target)
}

async fn copy_rows(
    session: &Session,
    source: &Arc<Table>,
    target: &Arc<Table>,
    values: &[(usize, Expr)],
    ids: &[ColumnId],
) -> Result<()> {
    let context = session.exec_context(Arc::new([]))?;
    let scope = Scope::new(context.clone());
    let layout: Vec<(ColumnId, SqlType)> =
        ids.iter().zip(&source.columns).map(|(id, column)| (*id, column.ty)).collect();
    let mut evaluator = RowEvaluator::new(values.iter().map(|(_, expr)| expr), &layout, &scope)?;
    let mut checks = session.bound_checks(target, &context.eval)?;
    checks.retain(|(name, _)| target.checks.iter().any(|check| check.name == *name && check.validated));
    let mut writer = TableWriter::new(target, checks, context.clone())?;
    let places: Vec<Option<usize>> = target.columns.iter().map(|column| source.position(column.id)).collect();
    let codec = EntryCodec::new(source, 0);
    let wanted: Vec<usize> = (0..source.columns.len()).collect();
    let mut span = Some(index_span(source.id, source.primary().id));
    let mut row = Row::new();
    while let Some(next) = span {
        let mut request = ScanRequest::new(next);
        request.rows_max = PAGE_ROWS;
        request.read = ReadOptions::LATEST;
        let page = context.txn.scan(request).await.map_err(sql_error)?;
        let mut rows = Vec::new();
        if let ScanBatch::Rows(entries) = page.batch {
            for (key, value) in entries {
                codec.decode_into(&key, &value, &wanted, &mut row)?;
                let mut computed = Vec::with_capacity(values.len());
                evaluator.evaluate_all(&scope, &row, &mut computed).await?;
                let mut new: Row = places
                    .iter()
                    .map(|place| place.map_or(Datum::Null, |position| row[position].clone()))
                    .collect();
                for ((position, _), value) in values.iter().zip(computed) {
                    new[*position] = value;
                }
                rows.push(new);
            }
        }
        writer.insert(rows).await?;
        context.cancel.check()?;
        span = page.resume;
    }
    writer.finish().await
}
