//! Filling an index from the rows that a table already has.
//!
//! The table is locked exclusively, so that nothing changes meanwhile, and the entries are written in the same
//! transaction as the descriptor: a crash leaves neither.

use std::sync::Arc;

use basalt_kv_api::ScanBatch;
use basalt_planner::Table;
use basalt_txn::{ReadOptions, ScanRequest, Txn};
use basalt_types::{Datum, Result, Row, SqlError, SqlState};

use super::row_count::count_entries;
use crate::{
    Session,
    error::sql_error,
    layout::{EntryCodec, index_span},
};

/// Rows read at a time.
const PAGE_ROWS: u64 = 2_000;

/// Calls `each` for every stored row of `table` (all columns, in table order) by its primary index.
pub(crate) async fn for_each_row(
    session: &Session,
    table: &Arc<Table>,
    mut each: impl FnMut(&Txn, &mut Row) -> Result<()>,
) -> Result<u64> {
    let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
    let codec = EntryCodec::new(table, 0);
    let wanted: Vec<usize> = (0..table.columns.len()).collect();
    let mut span = Some(index_span(table.id, table.primary().id));
    let mut row = Row::new();
    let mut rows = 0;
    while let Some(next) = span {
        let mut request = ScanRequest::new(next);
        request.rows_max = PAGE_ROWS;
        request.read = ReadOptions::LATEST;
        let page = txn.scan(request).await.map_err(sql_error)?;
        if let ScanBatch::Rows(entries) = page.batch {
            for (key, value) in entries {
                codec.decode_into(&key, &value, &wanted, &mut row)?;
                each(&txn, &mut row)?;
                rows += 1;
            }
        }
        txn.flush_if_needed().await.map_err(sql_error)?;
        session.cancel.check()?;
        span = page.resume;
    }
    Ok(rows)
}

/// Writes the entries of `target.indexes[index]` for every row stored under `source`, whose columns are the same by id.
/// Checks NOT NULL and uniqueness.
pub(crate) async fn fill_index(
    session: &Session,
    source: &Arc<Table>,
    target: &Arc<Table>,
    index: usize,
) -> Result<u64> {
    let codec = EntryCodec::new(target, index);
    let descriptor = &target.indexes[index];
    let positions: Vec<Option<usize>> =
        target.columns.iter().map(|column| source.position(column.id)).collect();
    let key_positions: Vec<usize> = codec.key_positions().collect();
    let mut entries: u64 = 0;
    let mut converted = Row::new();
    let rows = for_each_row(session, source, |txn, row| {
        converted.clear();
        for (column, position) in target.columns.iter().zip(&positions) {
            converted.push(match position {
                Some(position) => row[*position].clone(),
                None => column.missing_value.clone().unwrap_or(Datum::Null),
            });
        }
        if descriptor.primary {
            check_not_null(target, &key_positions, &converted)?;
        }
        let entry = codec.encode(&converted)?;
        txn.put(entry.key, entry.value).map_err(sql_error)?;
        entries += 1;
        Ok(())
    })
    .await?;
    if descriptor.unique {
        check_count(session, target, index, entries).await?;
    }
    Ok(rows)
}

fn check_not_null(table: &Table, positions: &[usize], row: &Row) -> Result<()> {
    match positions.iter().find(|&&position| row[position].is_null()) {
        Some(&position) => {
            let column = &table.columns[position].name;
            Err(SqlError::new(
                SqlState::NOT_NULL_VIOLATION,
                format!("column \"{column}\" of relation \"{}\" contains null values", table.name),
            )
            .with_table(&table.schema, &table.name)
            .with_column(column))
        }
        None => Ok(()),
    }
}

/// Two rows with one key have written one entry: fewer entries than rows means duplicates.
async fn check_count(session: &Session, table: &Arc<Table>, index: usize, expected: u64) -> Result<()> {
    let descriptor = &table.indexes[index];
    let found = count_entries(session, index_span(table.id, descriptor.id)).await?;
    if found == expected {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::UNIQUE_VIOLATION,
        format!("could not create unique index \"{}\"", descriptor.name),
    )
    .with_detail("Some keys are duplicated.")
    .with_table(&table.schema, &table.name)
    .with_constraint(&descriptor.name))
}
