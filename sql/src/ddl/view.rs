//! CREATE VIEW. The query is kept as text and bound anew wherever the view is used.

use std::sync::Arc;

use basalt_planner::{
    Column, Table, TableKind,
    parse::{ParsedBody, ParsedStatement, Source},
};
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{CreateView, Statement};

use super::{create_table, names, table_definition};
use crate::Session;

pub(super) async fn create(session: &mut Session, create: &CreateView) -> Result<String> {
    let unsupported = [
        (create.materialized, "CREATE MATERIALIZED VIEW"),
        (create.temporary, "CREATE TEMPORARY VIEW"),
        (create.or_replace, "CREATE OR REPLACE VIEW"),
    ];
    if let Some((_, feature)) = unsupported.iter().find(|(present, _)| *present) {
        return Err(SqlError::not_supported(*feature));
    }
    let name = names::qualified(&create.name)?;
    let view = session.catalog_view();
    let schema = match &name.schema {
        Some(schema) => view.schema(schema).ok_or_else(|| {
            SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
        })?,
        None => view.creation_schema()?,
    };
    let text: Arc<str> = create.query.to_string().into();
    let parsed = ParsedStatement {
        body: ParsedBody::Sql(Box::new(Statement::Query(create.query.clone()))),
        source: Source::new(&text),
        text: text.clone(),
    };
    let planned = session.plan_query(&parsed, &[])?;
    if create.columns.len() > planned.fields.len() {
        return Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            "CREATE VIEW specifies more column names than columns",
        ));
    }
    let mut columns = Vec::new();
    for (position, field) in planned.fields.iter().enumerate() {
        let name = create.columns.get(position).map_or_else(|| field.name.clone(), |c| names::fold(&c.name));
        let ty = if field.ty.oid == Oid::UNKNOWN { SqlType::TEXT } else { field.ty };
        columns.push(Column {
            id: position as u32 + 1,
            name,
            ty,
            not_null: false,
            default: None,
            missing_value: None,
            hidden: false,
            identity_always: None,
        });
    }
    table_definition::check_columns(&columns)?;
    let next_column_id = columns.len() as u32 + 1;
    let table = Table {
        id: session.services.catalog.allocate_oid().await?,
        version: 0,
        database: session.database.id,
        schema_id: schema,
        schema: view.schema_name(schema).unwrap_or_default().to_owned(),
        name: name.name,
        kind: TableKind::View { query: text.to_string() },
        columns,
        indexes: Vec::new(),
        checks: Vec::new(),
        next_column_id,
        next_index_id: 1,
        row_estimate: None,
    };
    create_table::store_new(session, table).await?;
    Ok("CREATE VIEW".to_owned())
}

/// Views of the same database whose query reads `table`.
pub(super) fn dependents(session: &Session, table: &Table) -> Result<Vec<Arc<Table>>> {
    let snapshot = session.catalog_snapshot();
    let mut dependents = Vec::new();
    for candidate in snapshot.tables.values() {
        let TableKind::View { query } = &candidate.kind else { continue };
        if candidate.database != table.database || candidate.id == table.id {
            continue;
        }
        let statements = basalt_planner::parse::parse(query)?;
        let reads = statements.iter().any(|statement| {
            session
                .plan_query(statement, &[])
                .is_ok_and(|planned| planned.dependencies.iter().any(|(id, _)| *id == table.id))
        });
        if reads {
            dependents.push(candidate.clone());
        }
    }
    Ok(dependents)
}
