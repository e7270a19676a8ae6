//! CREATE TABLE, and CREATE TABLE AS.

use std::sync::Arc;

use basalt_planner::{Column, Planned, Table, catalog::OnCommit, parse::ParsedStatement};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, CreateTable, Statement};

use super::{
    foreign_key::{self, NewForeignKey},
    like, names, new_relation,
    sequence::{self, OwnedSequence},
    table_definition::{self as definition, Constraint, KeyConstraint, NewCheck},
};
use crate::{Session, exec::write::TableWriter};

pub(super) async fn run(
    session: &mut Session,
    create: &CreateTable,
    params: &Arc<[Datum]>,
) -> Result<String> {
    refuse_unsupported(create)?;
    let name = names::qualified(&create.name)?;
    let mut table = new_relation::begin(session, &name, create.temporary).await?;
    table.on_commit = match &create.on_commit {
        None | Some(ast::OnCommit::PreserveRows) => OnCommit::Preserve,
        Some(ast::OnCommit::DeleteRows) => OnCommit::DeleteRows,
        Some(ast::OnCommit::Drop) => OnCommit::Drop,
    };
    if table.on_commit != OnCommit::Preserve && !create.temporary {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            "ON COMMIT can only be used on temporary tables",
        ));
    }
    if new_relation::is_taken(session, &table, create.if_not_exists)? {
        return Ok(if create.query.is_some() { "CREATE TABLE AS" } else { "CREATE TABLE" }.to_owned());
    }
    if let Some(query) = &create.query {
        return create_as(session, table, create, query, params).await;
    }
    let defined = define_columns(session, create, &mut table)?;
    add_keys(session, &mut table, &defined.keys).await?;
    for check in &defined.checks {
        definition::add_check(session, &mut table, check)?;
    }
    let mut sequences = Vec::with_capacity(defined.sequences.len());
    for (column, owned) in &defined.sequences {
        let position = table.position(*column).ok_or_else(|| SqlError::internal("a column vanished"))?;
        sequences.push(sequence::attach(session, &mut table, position, owned).await?);
    }
    for new in &defined.foreign_keys {
        foreign_key::add(session, &mut table, new).await?;
    }
    let table = store_new(session, table).await?;
    for sequence in sequences {
        store_new(session, sequence).await?;
    }
    tell_referenced(session, &table).await?;
    Ok("CREATE TABLE".to_owned())
}

/// Gives the tables that a new foreign key refers to a new version: plans that change them must now look here.
pub(super) async fn tell_referenced(session: &mut Session, table: &Arc<Table>) -> Result<()> {
    let mut told = vec![table.id];
    for key in &table.foreign_keys {
        if told.contains(&key.referenced) {
            continue;
        }
        told.push(key.referenced);
        let Some(referenced) = session.catalog_snapshot().tables.get(&key.referenced).cloned() else {
            continue;
        };
        let referenced = session.lock_for_change(&referenced).await?;
        session.write_table(Table::clone(&referenced))?;
    }
    Ok(())
}

/// What the definition of a table has besides its columns.
#[derive(Default)]
struct Defined {
    keys: Vec<KeyConstraint>,
    checks: Vec<NewCheck>,
    foreign_keys: Vec<NewForeignKey>,
    /// By column id.
    sequences: Vec<(u32, OwnedSequence)>,
}

fn refuse_unsupported(create: &CreateTable) -> Result<()> {
    let unsupported = [
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

fn define_columns(session: &Session, create: &CreateTable, table: &mut Table) -> Result<Defined> {
    let mut defined = Defined::default();
    for column in &create.columns {
        if let Some(like) = like::clause(column) {
            let source = session.table_named(&like.table)?;
            like::copy(session, &source, &like, table, &mut defined.keys, &mut defined.checks)?;
            continue;
        }
        let parts = definition::column(session, column, table.next_column_id)?;
        table.next_column_id += 1;
        defined.sequences.extend(parts.sequence.map(|owned| (parts.column.id, owned)));
        table.columns.push(parts.column);
        defined.keys.extend(parts.keys);
        defined.checks.extend(parts.checks);
        defined.foreign_keys.extend(parts.foreign_keys);
    }
    definition::check_columns(&table.columns)?;
    for constraint in &create.constraints {
        match definition::constraint(constraint)? {
            Constraint::Key(key) => defined.keys.push(key),
            Constraint::Check(check) => defined.checks.push(*check),
            Constraint::Foreign(key) => defined.foreign_keys.push(*key),
        }
    }
    Ok(defined)
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
    session.hold_schema(schema, &table.schema).await?;
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
        as_of: None,
        concurrently: false,
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
    let with_data = !has_no_data(create);
    let table = store_new(session, table).await?;
    if !with_data {
        return Ok("CREATE TABLE AS".to_owned());
    }
    let rows = fill(session, &table, &parsed, &planned, params).await?;
    Ok(format!("SELECT {rows}"))
}

/// WITH NO DATA, as the rewriter puts it.
fn has_no_data(create: &CreateTable) -> bool {
    let options = match &create.table_options {
        ast::CreateTableOptions::With(options) | ast::CreateTableOptions::Plain(options) => options,
        _ => return false,
    };
    options.iter().any(|option| match option {
        ast::SqlOption::KeyValue { key, .. } => key.value == basalt_planner::parse::NO_DATA,
        ast::SqlOption::Ident(key) => key.value == basalt_planner::parse::NO_DATA,
        _ => false,
    })
}

/// Writes the rows of a query into a new table without a key of its own.
pub(super) async fn fill(
    session: &mut Session,
    table: &Arc<Table>,
    parsed: &ParsedStatement,
    planned: &Arc<Planned>,
    params: &Arc<[Datum]>,
) -> Result<u64> {
    let mut stream = session.start(parsed, planned, params).await?;
    let context = session.exec_context(params.clone())?;
    let mut writer = TableWriter::new(table, Vec::new(), context)?;
    let mut rows = 0_u64;
    while let Some(batch) = stream.next_batch().await? {
        let full = batch.into_iter().map(|mut row| {
            row.push(Datum::Null);
            row
        });
        rows += writer.insert(full.collect()).await?;
        session.cancel.check()?;
    }
    drop(stream);
    let open = session.open.as_mut().expect("schema changes run in a transaction");
    open.row_deltas.push((table.id, i64::try_from(rows).unwrap_or(i64::MAX)));
    Ok(rows)
}
