//! ANALYZE (and VACUUM, which has nothing to clean here: old versions are collected by the store).

use std::sync::Arc;

use basalt_planner::{Catalog, Table, catalog::QualifiedName};
use basalt_types::{Result, SqlError, SqlState};

use super::row_count::count_entries;
use crate::{Session, layout::index_span, locks::TableLockMode};

/// Counts the rows of the tables named (of all tables when none is) and publishes the estimates.
pub(crate) async fn run(session: &mut Session, tables: &[QualifiedName], analyze: bool) -> Result<()> {
    let view = session.catalog_view();
    let mut targets: Vec<Arc<Table>> = Vec::new();
    for name in tables {
        let table = view.table(name)?.ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
        })?;
        targets.push(table);
    }
    if tables.is_empty() {
        let here = view.snapshot.tables.values().filter(|table| table.database == session.database.id);
        targets.extend(here.cloned());
    }
    if !analyze {
        return Ok(());
    }
    let implicit = session.open.is_none();
    session.ensure_transaction()?;
    for table in targets.iter().filter(|table| table.kind.is_stored()) {
        session.lock_table(table.id, TableLockMode::Shared).await?;
        let Some(table) = session.catalog_snapshot().tables.get(&table.id).cloned() else { continue };
        let rows = count_entries(session, index_span(table.id, table.primary().id)).await?;
        session.services.catalog.set_row_estimate(table.id, rows as f64);
        session.services.keep_row_estimate(table.id);
    }
    if implicit {
        session.commit_transaction().await?;
    }
    Ok(())
}
