//! Where a new table, view or sequence goes.

use basalt_planner::{Table, TableKind, catalog::QualifiedName};
use basalt_types::{Result, SqlError, SqlState};

use super::temporary;
use crate::{Session, output::NoticeLevel};

/// An empty descriptor in the schema that the name (or the search path) says.
pub(super) async fn begin(session: &mut Session, name: &QualifiedName, temporary: bool) -> Result<Table> {
    let view = session.catalog_view();
    let names_temporary = name.schema.as_deref() == Some("pg_temp");
    let schema = if temporary || names_temporary {
        if !names_temporary && name.schema.is_some() {
            return Err(SqlError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                "cannot create temporary relation in non-temporary schema",
            ));
        }
        temporary::schema(session).await?
    } else {
        match &name.schema {
            Some(schema) => view.schema(schema).ok_or_else(|| {
                SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
            })?,
            None => view.creation_schema()?,
        }
    };
    let view = session.catalog_view();
    if schema == crate::catalog::PG_CATALOG_SCHEMA || schema == crate::catalog::INFORMATION_SCHEMA {
        return Err(SqlError::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied for schema {}", view.schema_name(schema).unwrap_or_default()),
        ));
    }
    Ok(Table {
        id: session.services.catalog.allocate_oid().await?,
        version: 0,
        database: session.database.id,
        schema_id: schema,
        schema: view.schema_name(schema).unwrap_or_default().to_owned(),
        name: name.name.clone(),
        kind: TableKind::Table,
        columns: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        comments: Default::default(),
        on_commit: Default::default(),
        next_column_id: 1,
        next_index_id: 1,
        row_estimate: None,
    })
}

/// Whether the name is taken: an error, or a notice and `true` after IF NOT EXISTS.
pub(super) fn is_taken(session: &mut Session, table: &Table, if_not_exists: bool) -> Result<bool> {
    if session.catalog_view().snapshot.relation_named(table.schema_id, &table.name).is_none() {
        return Ok(false);
    }
    let message = format!("relation \"{}\" already exists", table.name);
    if if_not_exists {
        session.notice(NoticeLevel::Notice, SqlState::DUPLICATE_TABLE, message + ", skipping");
        return Ok(true);
    }
    Err(SqlError::new(SqlState::DUPLICATE_TABLE, message))
}
