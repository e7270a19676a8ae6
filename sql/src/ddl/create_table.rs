//! CREATE TABLE, and CREATE TABLE AS.

use std::sync::Arc;

use basalt_planner::{Column, Table, TableKind, parse::ParsedStatement};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, CreateTable, Statement};

use super::{
    names,
    table_definition::{self as definition, Constraint, KeyConstraint, NewCheck},
};
use crate::{Session, error::sql_error, layout::EntryCodec, output::NoticeLevel};

pub(super) async fn run(
    session: &mut Session,
    create: &CreateTable,
    params: &Arc<[Datum]>,
) -> Result<String> {
    refuse_unsupported(create)?;
    let name = names::qualified(&create.name)?;
    let view = session.catalog_view();
    let schema = match &name.schema {
        Some(schema) => view.schema(schema).ok_or_else(|| {
            SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
        })?,
        None => view.creation_schema()?,
    };
    if schema == crate::catalog::PG_CATALOG_SCHEMA || schema == crate::catalog::INFORMATION_SCHEMA {
        return Err(SqlError::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied for schema {}", view.schema_name(schema).unwrap_or_default()),
        ));
    }
    if view.snapshot.relation_named(schema, &name.name).is_some() {
        if create.if_not_exists {
            session.notice(
                NoticeLevel::Notice,
                SqlState::DUPLICATE_TABLE,
                format!("relation \"{}\" already exists, skipping", name.name),
            );
            return Ok("CREATE TABLE".to_owned());
        }
        return Err(SqlError::new(
            SqlState::DUPLICATE_TABLE,
            format!("relation \"{}\" already exists", name.name),
        ));
    }
    let mut table = Table {
        id: session.services.catalog.allocate_oid().await?,
        version: 0,
        database: session.database.id,
        schema_id: schema,
        schema: view.schema_name(schema).unwrap_or_default().to_owned(),
        name: name.name,
        kind: TableKind::Table,
        columns: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        next_column_id: 1,
        next_index_id: 1,
        row_estimate: None,
    };
    if let Some(query) = &create.query {
        return create_as(session, table, create, query, params).await;
    }
    let (keys, checks) = define_columns(session, create, &mut table)?;
    add_keys(session, &mut table, &keys).await?;
    for check in &checks {
        definition::add_check(session, &mut table, check)?;
    }
    store_new(session, table).await?;
    Ok("CREATE TABLE".to_owned())
}

fn refuse_unsupported(create: &CreateTable) -> Result<()> {
    let unsupported = [
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
        (create.like.is_some(), "CREATE TABLE LIKE"),
        (create.inherits.is_some(), "table inheritance"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "table partitioning"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
    ];
    match unsupported.iter().find(|(present, _)| *present) {
        Some((_, feature)) => Err(SqlError::not_supported(*feature)),
        None => Ok(()),
    }
}

fn define_columns(
    session: &Session,
    create: &CreateTable,
    table: &mut Table,
) -> Result<(Vec<KeyConstraint>, Vec<NewCheck>)> {
    let mut keys = Vec::new();
    let mut checks = Vec::new();
    for column in &create.columns {
        let parts = definition::column(session, column, table.next_column_id)?;
        table.next_column_id += 1;
        table.columns.push(parts.column);
        keys.extend(parts.keys);
        checks.extend(parts.checks);
    }
    definition::check_columns(&table.columns)?;
    for constraint in &create.constraints {
        match definition::constraint(constraint)? {
            Constraint::Key(key) => keys.push(key),
            Constraint::Check(check) => checks.push(*check),
        }
    }
    Ok((keys, checks))
}

/// Names and adds the keys, and the hidden row id when there is no primary key.
pub(super) async fn add_keys(session: &Session, table: &mut Table, keys: &[KeyConstraint]) -> Result<()> {
    for key in keys {
        let oid = session.services.catalog.allocate_oid().await?;
        let name = key_name(session, table, key)?;
        definition::add_key(table, key, oid, name)?;
    }
    if !table.indexes.iter().any(|index| index.primary) {
        definition::add_row_id(table);
    }
    Ok(())
}

/// The constraint's own name, or PostgreSQL's automatic one.
pub(super) fn key_name(session: &Session, table: &Table, key: &KeyConstraint) -> Result<String> {
    let view = session.catalog_view();
    let is_taken = |name: &str| {
        name == table.name
            || table.indexes.iter().any(|index| index.name == name)
            || view.snapshot.relation_named(table.schema_id, name).is_some()
    };
    if let Some(name) = &key.name {
        if is_taken(name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_TABLE,
                format!("relation \"{name}\" already exists"),
            ));
        }
        return Ok(name.clone());
    }
    let columns: Vec<&str> = key.columns.iter().map(String::as_str).collect();
    Ok(if key.primary {
        names::automatic(&table.name, &[], "pkey", is_taken)
    } else {
        names::automatic(&table.name, &columns, "key", is_taken)
    })
}

/// Claims the names of a new table and its indexes, and writes it.
pub(super) async fn store_new(session: &mut Session, table: Table) -> Result<Arc<Table>> {
    let schema = table.schema_id;
    session.claim_relation_name(schema, &table.name, table.id).await?;
    let indexes: Vec<(String, Oid)> = table
        .indexes
        .iter()
        .filter(|index| !index.name.is_empty())
        .map(|index| (index.name.clone(), index.oid))
        .collect();
    for (name, oid) in indexes {
        session.claim_relation_name(schema, &name, oid).await?;
    }
    session.write_table(table)
}

async fn create_as(
    session: &mut Session,
    mut table: Table,
    create: &CreateTable,
    query: &ast::Query,
    params: &Arc<[Datum]>,
) -> Result<String> {
    let text: Arc<str> = query.to_string().into();
    let parsed = ParsedStatement {
        body: basalt_planner::parse::ParsedBody::Sql(Box::new(Statement::Query(Box::new(query.clone())))),
        source: basalt_planner::parse::Source::new(&text),
        text,
    };
    let planned = session.plan_query(&parsed, &[])?;
    for (position, field) in planned.fields.iter().enumerate() {
        let name = match create.columns.get(position) {
            Some(column) => names::fold(&column.name),
            None => field.name.clone(),
        };
        let ty = if field.ty.oid == Oid::UNKNOWN { SqlType::TEXT } else { field.ty };
        table.columns.push(Column {
            id: table.next_column_id,
            name,
            ty,
            not_null: false,
            default: None,
            missing_value: None,
            hidden: false,
            identity_always: None,
        });
        table.next_column_id += 1;
    }
    if create.columns.len() > planned.fields.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    definition::check_columns(&table.columns)?;
    definition::add_row_id(&mut table);
    let table = store_new(session, table).await?;
    let mut stream = session.start(&parsed, &[], &planned, params).await?;
    let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
    let codec = EntryCodec::new(&table, 0);
    let mut rows = 0_u64;
    while let Some(batch) = stream.next_batch().await? {
        for mut row in batch {
            row.push(Datum::Int8(session.services.row_ids.next()));
            let entry = codec.encode(&row)?;
            txn.put(entry.key, entry.value).map_err(sql_error)?;
            rows += 1;
        }
        txn.flush_if_needed().await.map_err(sql_error)?;
        session.cancel.check()?;
    }
    drop(stream);
    let open = session.open.as_mut().expect("schema changes run in a transaction");
    open.row_deltas.push((table.id, i64::try_from(rows).unwrap_or(i64::MAX)));
    Ok(format!("SELECT {rows}"))
}
