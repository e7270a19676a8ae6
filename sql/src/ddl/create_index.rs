//! CREATE INDEX.

use std::sync::Arc;

use basalt_planner::{Index, IndexColumn, IndexState, Table};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::CreateIndex;

use super::{backfill, names, table_definition as definition};
use crate::{Session, jobs::PendingJob, output::NoticeLevel};

pub(super) async fn run(session: &mut Session, create: &CreateIndex) -> Result<String> {
    if create.predicate.is_some() {
        return Err(SqlError::not_supported("partial index"));
    }
    if create.nulls_distinct == Some(false) {
        return Err(SqlError::not_supported("NULLS NOT DISTINCT"));
    }
    if let Some(using) = &create.using
        && !using.to_string().eq_ignore_ascii_case("btree")
    {
        return Err(SqlError::not_supported(format!(
            "index access method \"{}\"",
            using.to_string().to_lowercase()
        )));
    }
    let table = session.table_named(&create.table_name)?;
    if !table.kind.is_stored() {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("cannot create index on relation \"{}\"", table.name),
        ));
    }
    if create.concurrently {
        return start_job(session, create, &table).await;
    }
    let source = session.lock_for_change(&table).await?;
    session.check_nothing_waits("CREATE INDEX", &source)?;
    let index = define(session, create, &source).await?;
    let Some(index) = index else { return Ok("CREATE INDEX".to_owned()) };
    session.claim_relation_name(source.schema_id, &index.name, index.oid).await?;
    let mut changed = Table::clone(&source);
    changed.next_index_id += 1;
    changed.indexes.push(index);
    let position = changed.indexes.len() - 1;
    let changed = session.write_table(changed)?;
    backfill::fill_index(session, &source, &changed, position).await?;
    Ok("CREATE INDEX".to_owned())
}

/// Leaves the work to a job, which the statement waits for when this transaction has committed.
async fn start_job(session: &mut Session, create: &CreateIndex, table: &Arc<Table>) -> Result<String> {
    if let Some(index) = define(session, create, table).await? {
        let description = create.to_string();
        session.begun_job = Some(PendingJob::start(session, table.id, index, description).await?);
    }
    Ok("CREATE INDEX".to_owned())
}

/// `None` when it is there already and IF NOT EXISTS was given.
async fn define(session: &mut Session, create: &CreateIndex, table: &Arc<Table>) -> Result<Option<Index>> {
    let mut columns = Vec::new();
    let mut column_names = Vec::new();
    for part in &create.columns {
        if part
            .column
            .options
            .nulls_first
            .is_some_and(|first| first != (part.column.options.asc == Some(false)))
        {
            return Err(SqlError::not_supported("index with NULLS FIRST or NULLS LAST"));
        }
        let name = definition::plain_column(part)?;
        let column = find_column(table, &name)?;
        definition::check_indexable(column)?;
        columns.push(IndexColumn { column: column.id, descending: part.column.options.asc == Some(false) });
        column_names.push(name);
    }
    let mut stored = Vec::new();
    for ident in &create.include {
        stored.push(find_column(table, &names::fold(ident))?.id);
    }
    let view = session.catalog_view();
    let is_taken = |name: &str| view.snapshot.relation_named(table.schema_id, name).is_some();
    let name = match &create.name {
        Some(name) => names::last_part(name)?,
        None => {
            let columns: Vec<&str> = column_names.iter().map(String::as_str).collect();
            names::automatic(&table.name, &columns, "idx", is_taken)
        }
    };
    if create.name.is_some() && is_taken(&name) {
        if create.if_not_exists {
            session.notice(
                NoticeLevel::Notice,
                SqlState::DUPLICATE_TABLE,
                format!("relation \"{name}\" already exists, skipping"),
            );
            return Ok(None);
        }
        return Err(SqlError::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
    }
    let oid = session.services.catalog.allocate_oid().await?;
    Ok(Some(Index {
        id: table.next_index_id,
        oid,
        name,
        unique: create.unique,
        primary: false,
        constraint: false,
        columns,
        stored,
        state: IndexState::Public,
    }))
}

fn find_column<'a>(table: &'a Table, name: &str) -> Result<&'a basalt_planner::Column> {
    table
        .column_named(name)
        .filter(|column| !column.hidden)
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))
}
