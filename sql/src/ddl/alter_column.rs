//! Columns of ALTER TABLE.

use std::sync::Arc;

use basalt_planner::{
    Column, Expr, Table,
    bind::{bind_check, bind_conversion, bind_type},
};
use basalt_types::{Datum, Result, SqlError, SqlState};
use sqlparser::ast::{self, AlterColumnOperation, ColumnDef, DataType, GeneratedAs, Ident};

use super::{
    alter_constraint,
    alter_table::{column_position, current},
    backfill, create_table, foreign_key, names, rewrite,
    sequence::{self, OwnedSequence},
    table_definition as definition, view,
};
use crate::{Session, exec::eval, output::NoticeLevel, session::plan_settings};

pub(super) async fn add(
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
    if parts.sequence.is_some() || has_volatile_default(session, &parts.column)? {
        return add_computed(session, table, parts).await;
    }
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
    changed.columns.insert(place, parts.column.clone());
    definition::check_columns(&changed.columns)?;
    let mut changed = session.write_table(changed)?;
    add_constraints(session, &mut changed, &parts).await
}

async fn add_constraints(
    session: &mut Session,
    changed: &mut Arc<Table>,
    parts: &definition::ColumnParts,
) -> Result<()> {
    for key in &parts.keys {
        alter_constraint::add_key(session, changed, key).await?;
        *changed = current(session, changed)?;
    }
    for check in &parts.checks {
        alter_constraint::add_check(session, changed, check).await?;
        *changed = current(session, changed)?;
    }
    for key in &parts.foreign_keys {
        alter_constraint::add_foreign_key(session, changed, key).await?;
        *changed = current(session, changed)?;
    }
    Ok(())
}

fn bound_default(session: &Session, column: &Column) -> Result<Option<Expr>> {
    let Some(text) = &column.default else { return Ok(None) };
    let context = session.eval_context(Arc::new([]));
    let view = session.catalog_view();
    let settings = plan_settings(&context);
    basalt_planner::bind::bind_column_default(text, &column.name, column.ty, &*view, &settings).map(Some)
}

/// Whether every row needs a value of its own.
fn has_volatile_default(session: &Session, column: &Column) -> Result<bool> {
    Ok(bound_default(session, column)?.is_some_and(|expr| basalt_planner::is_volatile(&expr)))
}

/// Adds a column whose default every row computes anew: the table is written again.
async fn add_computed(
    session: &mut Session,
    table: &Arc<Table>,
    parts: definition::ColumnParts,
) -> Result<()> {
    let mut changed = Table::clone(table);
    changed.next_column_id += 1;
    let place = changed.columns.iter().position(|column| column.hidden).unwrap_or(changed.columns.len());
    changed.columns.insert(place, parts.column.clone());
    definition::check_columns(&changed.columns)?;
    if let Some(owned) = &parts.sequence {
        let relation = sequence::attach(session, &mut changed, place, owned).await?;
        create_table::store_new(session, relation).await?;
    }
    let default = bound_default(session, &changed.columns[place])?
        .ok_or_else(|| SqlError::internal("a computed column without a default"))?;
    let mut changed = rewrite::rewrite(session, table, changed, &[(place, default)], &[]).await?;
    add_constraints(session, &mut changed, &parts).await
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

pub(super) async fn drop_column(
    session: &mut Session,
    table: &Arc<Table>,
    name: &Ident,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
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
    let referring: Vec<_> = foreign_key::referring(session, table)
        .into_iter()
        .filter(|(child, key)| child.id != table.id && key.referenced_columns.contains(&id))
        .collect();
    let views = view::dependents_of_column(session, table, &name)?;
    if !(cascade || referring.is_empty() && views.is_empty()) {
        let mut detail: Vec<String> = views
            .iter()
            .map(|view| format!("view {} depends on column {name} of table {}", view.name, table.name))
            .collect();
        detail.extend(referring.iter().map(|(child, key)| {
            format!(
                "constraint {} on table {} depends on column {name} of table {}",
                key.name, child.name, table.name
            )
        }));
        return Err(SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop column {name} of table {} because other objects depend on it", table.name),
        )
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for view in views {
        super::drop::remove(session, &view).await?;
    }
    foreign_key::remove(session, referring).await?;
    let newest = current(session, table)?;
    let mut changed = Table::clone(&newest);
    changed.columns.remove(position);
    changed.comments.remove(&id);
    changed.foreign_keys.retain(|key| {
        !(key.columns.contains(&id) || key.referenced == table.id && key.referenced_columns.contains(&id))
    });
    let uses = |index: &basalt_planner::Index| {
        index.columns.iter().any(|column| column.column == id) || index.stored.contains(&id)
    };
    let loses_key = uses(table.primary());
    let (dropped, kept): (Vec<_>, Vec<_>) = changed.indexes.into_iter().partition(uses);
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
    for owned in sequence::owned_by(session, table.id, Some(id)) {
        super::drop::remove(session, &owned).await?;
    }
    for index in &dropped {
        session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
    }
    if loses_key {
        definition::add_row_id(&mut changed);
        rewrite::rewrite(session, table, changed, &[], &[]).await?;
        return Ok(());
    }
    session.write_table(changed)?;
    for index in dropped {
        session.discard_index(table.id, index.id)?;
    }
    Ok(())
}

pub(super) fn rename(session: &mut Session, table: &Arc<Table>, old: &Ident, new: &Ident) -> Result<()> {
    let position = column_position(table, &names::fold(old)).map_err(|_| {
        SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", names::fold(old)))
    })?;
    let (old, new) = (names::fold(old), names::fold(new));
    if table.column_named(&new).is_some() {
        return Err(SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{new}\" of relation \"{}\" already exists", table.name),
        ));
    }
    let mut changed = Table::clone(table);
    changed.columns[position].name.clone_from(&new);
    for check in &mut changed.checks {
        check.expression = basalt_planner::parse::rename_column(&check.expression, &table.name, &old, &new)?;
    }
    session.write_table(changed)?;
    Ok(())
}

pub(super) async fn alter(
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
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            return set_type(session, table, position, data_type, using.as_ref()).await;
        }
        AlterColumnOperation::AddGenerated { generated_as, sequence_options } => {
            let column = &changed.columns[position];
            if column.identity_always.is_some() || column.default.is_some() {
                let what = if column.identity_always.is_some() {
                    "is already an identity column"
                } else {
                    "already has a default value"
                };
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("column \"{name}\" of relation \"{}\" {what}", table.name),
                ));
            }
            if !column.not_null {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!(
                        "column \"{name}\" of relation \"{}\" must be declared NOT NULL before identity can be added",
                        table.name
                    ),
                ));
            }
            let options = sequence::identity_options(sequence_options.as_deref().unwrap_or_default())?;
            let owned = OwnedSequence { options };
            let relation = sequence::attach(session, &mut changed, position, &owned).await?;
            changed.columns[position].identity_always =
                Some(!matches!(generated_as, Some(GeneratedAs::ByDefault)));
            create_table::store_new(session, relation).await?;
        }
    }
    session.write_table(changed)?;
    Ok(())
}

/// ALTER COLUMN … TYPE. A change that keeps every stored value as it is changes the descriptor only.
async fn set_type(
    session: &mut Session,
    table: &Arc<Table>,
    position: usize,
    data_type: &DataType,
    using: Option<&ast::Expr>,
) -> Result<()> {
    let column = &table.columns[position];
    let target = bind_type(data_type)?;
    let views = view::dependents_of_column(session, table, &column.name)?;
    if let Some(view) = views.first() {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot alter type of a column used by a view or rule",
        )
        .with_detail(format!("rule _RETURN on view {} depends on column \"{}\"", view.name, column.name)));
    }
    let context = session.eval_context(Arc::new([]));
    let view = session.catalog_view();
    let text = match using {
        Some(expr) => expr.to_string(),
        None => format!("\"{}\"", column.name.replace('"', "\"\"")),
    };
    let settings = plan_settings(&context);
    let bound = bind_conversion(&text, table, &column.name, target, using.is_some(), &*view, &settings)?;
    let mut changed = Table::clone(table);
    changed.columns[position].ty = target;
    if let Some(default) = &column.default
        && column.identity_always.is_none()
    {
        basalt_planner::bind::bind_column_default(default, &column.name, target, &*view, &settings).map_err(
            |_| {
                SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "default for column \"{}\" cannot be cast automatically to type {}",
                        column.name,
                        basalt_types::format_type(target)
                    ),
                )
            },
        )?;
    }
    for index in &changed.indexes {
        if index.columns.iter().any(|part| part.column == column.id) {
            definition::check_indexable(&changed.columns[position])?;
        }
    }
    let probe = Arc::new(changed.clone());
    for check in &changed.checks {
        bind_check(&check.expression, &probe, &*view, &settings)?;
    }
    let changed =
        rewrite::rewrite(session, table, changed, &[(position, bound.expr)], &bound.columns).await?;
    for key in changed.foreign_keys.clone() {
        if key.validated && key.columns.contains(&changed.columns[position].id) {
            foreign_key::check_rows(session, &changed, &key).await?;
        }
    }
    Ok(())
}
