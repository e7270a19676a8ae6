//! Materialized views: a table that holds the rows of a query as of its last refresh.

use std::sync::Arc;

use basalt_planner::{
    Catalog, Table, TableKind,
    catalog::QualifiedName,
    parse::{ParsedBody, ParsedStatement, Source},
};
use basalt_types::{Datum, Result, SqlError, SqlState};
use sqlparser::ast::{CreateView, Statement};

use super::{create_table, names, new_relation, table_definition, view};
use crate::Session;

pub(super) async fn create(
    session: &mut Session,
    create: &CreateView,
    params: &Arc<[Datum]>,
) -> Result<String> {
    let with_data = !view::has_option(create, view::NO_DATA);
    let mut table = new_relation::begin(session, &names::qualified(&create.name)?, false).await?;
    if new_relation::is_taken(session, &table, create.if_not_exists)? {
        return Ok("CREATE MATERIALIZED VIEW".to_owned());
    }
    let (parsed, planned) = view::plan(session, &create.query)?;
    table.columns = view::columns(session, create, &planned)?;
    table.next_column_id = table.columns.len() as u32 + 1;
    table.kind = TableKind::Materialized { query: parsed.text.to_string(), populated: with_data };
    table_definition::add_row_id(&mut table);
    let table = create_table::store_new(session, table).await?;
    if !with_data {
        return Ok("CREATE MATERIALIZED VIEW".to_owned());
    }
    let rows = create_table::fill(session, &table, &parsed, &planned, params).await?;
    Ok(format!("SELECT {rows}"))
}

pub(super) async fn refresh(session: &mut Session, name: &QualifiedName, with_data: bool) -> Result<String> {
    let tag = "REFRESH MATERIALIZED VIEW".to_owned();
    let found = session.catalog_view().table(name)?.ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    })?;
    if !matches!(found.kind, TableKind::Materialized { .. }) {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a materialized view", found.name),
        ));
    }
    let table = session.lock_for_change(&found).await?;
    let TableKind::Materialized { query, .. } = &table.kind else {
        return Err(SqlError::internal("a materialized view became something else"));
    };
    let query = query.clone();
    let mut changed = Table::clone(&table);
    changed.kind = TableKind::Materialized { query: query.clone(), populated: with_data };
    let mut discarded = Vec::new();
    for index in &mut changed.indexes {
        discarded.push(index.id);
        index.id = changed.next_index_id;
        changed.next_index_id += 1;
    }
    let changed = session.write_table(changed)?;
    for index in discarded {
        session.discard_index(table.id, index)?;
    }
    if with_data {
        let statement = basalt_planner::parse::parse(&query)?.into_iter().next();
        let statement = statement.ok_or_else(|| SqlError::internal("a view without a query"))?;
        let ParsedBody::Sql(body) = statement.body else {
            return Err(SqlError::internal("a view's text is not a query"));
        };
        let Statement::Query(body) = *body else {
            return Err(SqlError::internal("a view's text is not a query"));
        };
        let text: Arc<str> = query.into();
        let parsed = ParsedStatement {
            body: ParsedBody::Sql(Box::new(Statement::Query(body))),
            source: Source::new(&text),
            text,
            as_of: None,
            concurrently: false,
        };
        let planned = session.plan_query(&parsed, &[])?;
        let params: Arc<[Datum]> = Arc::new([]);
        create_table::fill(session, &changed, &parsed, &planned, &params).await?;
    }
    Ok(tag)
}
