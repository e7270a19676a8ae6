//! ALTER TABLE.

use std::sync::Arc;

use basalt_planner::{Table, TableKind, bind::bind_check};
use basalt_types::{Datum, Result, SqlError, SqlState};
use sqlparser::ast::{
    AlterColumnOperation, AlterIndexOperation, AlterTable, AlterTableOperation, ColumnDef, Ident, ObjectName,
    RenameTableNameKind,
};

use super::{
    backfill, create_table, names,
    table_definition::{self as definition, Constraint, KeyConstraint, NewCheck},
};
use crate::{Session, exec::eval, output::NoticeLevel, session::plan_settings};

pub(super) async fn run(session: &mut Session, alter: &AlterTable) -> Result<String> {
    let Some(table) = session.find_table(&alter.name)? else {
        if alter.if_exists {
            session.notice(
                NoticeLevel::Notice,
                SqlState::UNDEFINED_TABLE,
                format!("relation \"{}\" does not exist, skipping", names::display(&alter.name)),
            );
            return Ok("ALTER TABLE".to_owned());
        }
        return Err(SqlError::new(
            SqlState::UNDEFINED_TABLE,
            format!("relation \"{}\" does not exist", names::display(&alter.name)),
        ));
    };
    if table.kind != TableKind::Table {
        return Err(SqlError::not_supported(format!("ALTER of relation \"{}\"", table.name)));
    }
    for operation in &alter.operations {
        let current = session.lock_for_change(&table).await?;
        apply(session, &current, operation).await?;
    }
    Ok("ALTER TABLE".to_owned())
}

async fn apply(session: &mut Session, table: &Arc<Table>, operation: &AlterTableOperation) -> Result<()> {
    match operation {
        AlterTableOperation::AddConstraint { constraint, .. } => match definition::constraint(constraint)? {
            Constraint::Key(key) => add_key(session, table, &key).await,
            Constraint::Check(check) => add_check(session, table, &check).await,
        },
        AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
            add_column(session, table, column_def, *if_not_exists).await
        }
        AlterTableOperation::DropColumn { column_names, if_exists, .. } => {
            for name in column_names {
                let table = current(session, table)?;
                drop_column(session, &table, name, *if_exists)?;
            }
            Ok(())
        }
        AlterTableOperation::DropConstraint { name, if_exists, .. } => {
            drop_constraint(session, table, name, *if_exists).await
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            rename_column(session, table, old_column_name, new_column_name)
        }
        AlterTableOperation::RenameTable { table_name } => {
            let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = table_name;
            rename_table(session, table, name).await
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            alter_column(session, table, column_name, op).await
        }
        // There is one owner, and storage parameters have no effect here.
        AlterTableOperation::OwnerTo { .. } | AlterTableOperation::SetOptionsParens { .. } => Ok(()),
        other => {
            Err(SqlError::not_supported(format!("ALTER TABLE ... {}", leading_words(&other.to_string()))))
        }
    }
}

fn leading_words(text: &str) -> String {
    let words = text.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_uppercase()));
    words.take(3).collect::<Vec<_>>().join(" ")
}

fn current(session: &Session, table: &Arc<Table>) -> Result<Arc<Table>> {
    session
        .catalog_snapshot()
        .tables
        .get(&table.id)
        .cloned()
        .ok_or_else(|| SqlError::internal("table vanished"))
}

fn column_position(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column.name == name && !column.hidden).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

async fn add_key(session: &mut Session, table: &Arc<Table>, key: &KeyConstraint) -> Result<()> {
    let oid = session.services.catalog.allocate_oid().await?;
    let name = create_table::key_name(session, table, key)?;
    session.claim_relation_name(table.schema_id, &name, oid).await?;
    let mut changed = Table::clone(table);
    definition::add_key(&mut changed, key, oid, name)?;
    if !key.primary {
        let position = changed.indexes.len() - 1;
        let changed = session.write_table(changed)?;
        backfill::fill_index(session, table, &changed, position).await?;
        return Ok(());
    }
    // The new key becomes the primary index: the rows move there, and every secondary index points to the new key.
    let old_primary = changed.indexes.remove(1);
    changed.columns.retain(|column| !column.hidden);
    let mut discarded = vec![old_primary.id];
    for index in changed.indexes.iter_mut().skip(1) {
        discarded.push(index.id);
        index.id = changed.next_index_id;
        changed.next_index_id += 1;
    }
    let changed = session.write_table(changed)?;
    for position in 0..changed.indexes.len() {
        backfill::fill_index(session, table, &changed, position).await?;
    }
    for index in discarded {
        session.discard_index(table.id, index)?;
    }
    Ok(())
}

async fn add_check(session: &mut Session, table: &Arc<Table>, check: &NewCheck) -> Result<()> {
    let mut changed = Table::clone(table);
    definition::add_check(session, &mut changed, check)?;
    let name = changed.checks.last().expect("just added").name.clone();
    check_rows(session, table, check, &name).await?;
    session.write_table(changed)?;
    Ok(())
}

/// Fails if a stored row violates the check.
async fn check_rows(session: &Session, table: &Arc<Table>, check: &NewCheck, name: &str) -> Result<()> {
    let context = session.eval_context(Arc::new([]));
    let text = check.expr.to_string();
    let bound = bind_check(&text, table, &*session.catalog_view(), &plan_settings(&context))?;
    let compiled = eval::compile(&bound.expr, &bound.columns)?;
    backfill::for_each_row(session, table, |_, row| {
        if compiled.evaluate(&context, row)? == Datum::Bool(false) {
            return Err(SqlError::new(
                SqlState::CHECK_VIOLATION,
                format!("check constraint \"{name}\" of relation \"{}\" is violated by some row", table.name),
            )
            .with_table(&table.schema, &table.name)
            .with_constraint(name));
        }
        Ok(())
    })
    .await?;
    Ok(())
}

async fn add_column(
    session: &mut Session,
    table: &Arc<Table>,
    column: &ColumnDef,
    if_not_exists: bool,
) -> Result<()> {
    let name = names::fold(&column.name);
    if table.column_named(&name).is_some() {
        let message = format!("column \"{name}\" of relation \"{}\" already exists", table.name);
        if if_not_exists {
            session.notice(NoticeLevel::Notice, SqlState::DUPLICATE_COLUMN, message + ", skipping");
            return Ok(());
        }
        return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
    }
    let mut parts = definition::column(session, column, table.next_column_id)?;
    let context = session.eval_context(Arc::new([]));
    if let Some(text) = &parts.column.default {
        let view = session.catalog_view();
        let settings = plan_settings(&context);
        let bound =
            basalt_planner::bind::bind_column_default(text, &name, parts.column.ty, &*view, &settings)?;
        // Every stored row gets the value the default has now.
        parts.column.missing_value = Some(eval::evaluate_constant(&bound, &context)?);
    }
    let is_null = parts.column.missing_value.as_ref().is_none_or(Datum::is_null);
    if parts.column.not_null && is_null && has_rows(session, table).await? {
        return Err(SqlError::new(
            SqlState::NOT_NULL_VIOLATION,
            format!("column \"{name}\" of relation \"{}\" contains null values", table.name),
        )
        .with_table(&table.schema, &table.name)
        .with_column(&name));
    }
    let mut changed = Table::clone(table);
    changed.next_column_id += 1;
    // The hidden row id stays last, so that positions are attribute numbers.
    let place = changed.columns.iter().position(|column| column.hidden).unwrap_or(changed.columns.len());
    changed.columns.insert(place, parts.column);
    definition::check_columns(&changed.columns)?;
    let mut changed = session.write_table(changed)?;
    for key in &parts.keys {
        add_key(session, &changed, key).await?;
        changed = current(session, &changed)?;
    }
    for check in &parts.checks {
        add_check(session, &changed, check).await?;
        changed = current(session, &changed)?;
    }
    Ok(())
}

async fn has_rows(session: &Session, table: &Arc<Table>) -> Result<bool> {
    let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
    let mut request = basalt_txn::ScanRequest::new(crate::layout::index_span(table.id, table.primary().id));
    request.rows_max = 1;
    request.read = basalt_txn::ReadOptions::LATEST;
    let page = txn.scan(request).await.map_err(crate::error::sql_error)?;
    Ok(match page.batch {
        basalt_kv_api::ScanBatch::Rows(rows) => !rows.is_empty(),
        basalt_kv_api::ScanBatch::Program(_) => false,
    })
}

fn drop_column(session: &mut Session, table: &Arc<Table>, name: &Ident, if_exists: bool) -> Result<()> {
    let name = names::fold(name);
    let position = match column_position(table, &name) {
        Ok(position) => position,
        Err(error) if if_exists => {
            session.notice(NoticeLevel::Notice, error.sqlstate(), format!("{}, skipping", error.message()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let id = table.columns[position].id;
    if table.primary().columns.iter().any(|column| column.column == id) {
        return Err(SqlError::not_supported("DROP COLUMN of a primary key column"));
    }
    let mut changed = Table::clone(table);
    changed.columns.remove(position);
    let uses = |index: &basalt_planner::Index| {
        index.columns.iter().any(|column| column.column == id) || index.stored.contains(&id)
    };
    let (dropped, kept) = changed.indexes.into_iter().partition(uses);
    changed.indexes = kept;
    // As in PostgreSQL, checks over the column go with it.
    let checks = std::mem::take(&mut changed.checks);
    let probe = Arc::new(changed.clone());
    let view = session.catalog_view();
    let context = session.eval_context(Arc::new([]));
    changed.checks = checks
        .into_iter()
        .filter(|check| bind_check(&check.expression, &probe, &*view, &plan_settings(&context)).is_ok())
        .collect();
    session.write_table(changed)?;
    for index in dropped {
        session.release_relation_name(table.schema_id, &index.name)?;
        session.discard_index(table.id, index.id)?;
    }
    Ok(())
}

async fn drop_constraint(
    session: &mut Session,
    table: &Arc<Table>,
    name: &Ident,
    if_exists: bool,
) -> Result<()> {
    let name = names::fold(name);
    let mut changed = Table::clone(table);
    if let Some(position) = changed.checks.iter().position(|check| check.name == name) {
        changed.checks.remove(position);
        session.write_table(changed)?;
        return Ok(());
    }
    if let Some(position) = changed.indexes.iter().position(|index| index.constraint && index.name == name) {
        if changed.indexes[position].primary {
            return Err(SqlError::not_supported("DROP CONSTRAINT of a primary key"));
        }
        let index = changed.indexes.remove(position);
        session.write_table(changed)?;
        session.release_relation_name(table.schema_id, &index.name)?;
        return session.discard_index(table.id, index.id);
    }
    let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name);
    if if_exists {
        session.notice(NoticeLevel::Notice, SqlState::UNDEFINED_OBJECT, message + ", skipping");
        return Ok(());
    }
    Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message))
}

fn rename_column(session: &mut Session, table: &Arc<Table>, old: &Ident, new: &Ident) -> Result<()> {
    if !table.checks.is_empty() {
        return Err(SqlError::not_supported("RENAME COLUMN of a table with CHECK constraints"));
    }
    let position = column_position(table, &names::fold(old)).map_err(|_| {
        SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", names::fold(old)))
    })?;
    let new = names::fold(new);
    if table.column_named(&new).is_some() {
        return Err(SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{new}\" of relation \"{}\" already exists", table.name),
        ));
    }
    let mut changed = Table::clone(table);
    changed.columns[position].name = new;
    session.write_table(changed)?;
    Ok(())
}

async fn rename_table(session: &mut Session, table: &Arc<Table>, name: &ObjectName) -> Result<()> {
    let name = names::last_part(name)?;
    session.claim_relation_name(table.schema_id, &name, table.id).await?;
    session.release_relation_name(table.schema_id, &table.name)?;
    let mut changed = Table::clone(table);
    changed.name = name;
    session.write_table(changed)?;
    Ok(())
}

async fn alter_column(
    session: &mut Session,
    table: &Arc<Table>,
    name: &Ident,
    operation: &AlterColumnOperation,
) -> Result<()> {
    let name = names::fold(name);
    let position = column_position(table, &name)?;
    let mut changed = Table::clone(table);
    match operation {
        AlterColumnOperation::SetNotNull => {
            backfill::for_each_row(session, table, |_, row| {
                if row[position].is_null() {
                    return Err(SqlError::new(
                        SqlState::NOT_NULL_VIOLATION,
                        format!("column \"{name}\" of relation \"{}\" contains null values", table.name),
                    )
                    .with_table(&table.schema, &table.name)
                    .with_column(&name));
                }
                Ok(())
            })
            .await?;
            changed.columns[position].not_null = true;
        }
        AlterColumnOperation::DropNotNull => {
            let id = changed.columns[position].id;
            if table.primary().columns.iter().any(|column| column.column == id) {
                return Err(SqlError::new(
                    SqlState::INVALID_TABLE_DEFINITION,
                    format!("column \"{name}\" is in a primary key"),
                ));
            }
            changed.columns[position].not_null = false;
        }
        AlterColumnOperation::SetDefault { value } => {
            let ty = changed.columns[position].ty;
            changed.columns[position].default = definition::default_text(session, value, ty, &name)?;
        }
        AlterColumnOperation::DropDefault => changed.columns[position].default = None,
        AlterColumnOperation::SetDataType { .. } => {
            return Err(SqlError::not_supported("ALTER COLUMN TYPE"));
        }
        AlterColumnOperation::AddGenerated { .. } => return Err(SqlError::not_supported("IDENTITY column")),
    }
    session.write_table(changed)?;
    Ok(())
}

/// ALTER INDEX … RENAME TO.
pub(super) async fn rename_index(
    session: &mut Session,
    name: &ObjectName,
    operation: &AlterIndexOperation,
) -> Result<String> {
    let AlterIndexOperation::RenameIndex { index_name } = operation;
    let view = session.catalog_view();
    let oid = view.relation_oid(&names::qualified(name)?)?;
    let found = oid.and_then(|oid| view.snapshot.index(oid));
    let Some((table, position)) = found else {
        return Err(SqlError::new(
            SqlState::UNDEFINED_TABLE,
            format!("relation \"{}\" does not exist", names::display(name)),
        ));
    };
    let table = session.lock_for_change(&table.clone()).await?;
    let new = names::last_part(index_name)?;
    session.claim_relation_name(table.schema_id, &new, table.indexes[position].oid).await?;
    session.release_relation_name(table.schema_id, &table.indexes[position].name)?;
    let mut changed = Table::clone(&table);
    changed.indexes[position].name = new;
    session.write_table(changed)?;
    Ok("ALTER INDEX".to_owned())
}
