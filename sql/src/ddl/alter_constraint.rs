//! Constraints of ALTER TABLE.

use std::sync::Arc;

use basalt_planner::{Table, bind::bind_check, catalog::Check};
use basalt_types::{Datum, Result, SqlError, SqlState};
use sqlparser::ast::Ident;

use super::{
    alter_table::current,
    backfill, create_table,
    foreign_key::{self, NewForeignKey},
    names, rewrite,
    table_definition::{self as definition, KeyConstraint, NewCheck},
};
use crate::{Session, exec::eval, output::NoticeLevel, session::plan_settings};

pub(super) async fn add_key(session: &mut Session, table: &Arc<Table>, key: &KeyConstraint) -> Result<()> {
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
    if table.indexes.iter().any(|index| index.primary) {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
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

pub(super) async fn add_check(session: &mut Session, table: &Arc<Table>, check: &NewCheck) -> Result<()> {
    let mut changed = Table::clone(table);
    definition::add_check(session, &mut changed, check)?;
    if check.validate {
        check_rows(session, table, changed.checks.last().expect("just added")).await?;
    }
    session.write_table(changed)?;
    Ok(())
}

/// Fails if a stored row violates the check.
async fn check_rows(session: &Session, table: &Arc<Table>, check: &Check) -> Result<()> {
    let name = &check.name;
    let context = session.eval_context(Arc::new([]));
    let bound = bind_check(&check.expression, table, &*session.catalog_view(), &plan_settings(&context))?;
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

pub(super) async fn add_foreign_key(
    session: &mut Session,
    table: &Arc<Table>,
    new: &NewForeignKey,
) -> Result<()> {
    let mut changed = Table::clone(table);
    foreign_key::add(session, &mut changed, new).await?;
    let key = changed.foreign_keys.last().expect("just added").clone();
    let changed = session.write_table(changed)?;
    if new.validate {
        foreign_key::check_rows(session, &changed, &key).await?;
    }
    if key.referenced != table.id {
        create_table::tell_referenced(session, &changed).await?;
    }
    Ok(())
}

/// VALIDATE CONSTRAINT, of one that was added NOT VALID.
pub(super) async fn validate(session: &mut Session, table: &Arc<Table>, name: &Ident) -> Result<()> {
    let name = names::fold(name);
    let mut changed = Table::clone(table);
    if let Some(key) = changed.foreign_keys.iter_mut().find(|key| key.name == name) {
        if std::mem::replace(&mut key.validated, true) {
            return Ok(());
        }
        foreign_key::check_rows(session, table, key).await?;
    } else if let Some(check) = changed.checks.iter_mut().find(|check| check.name == name) {
        if std::mem::replace(&mut check.validated, true) {
            return Ok(());
        }
        check_rows(session, table, check).await?;
    } else if table.indexes.iter().any(|index| index.constraint && index.name == name) {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!(
                "constraint \"{name}\" of relation \"{}\" is not a foreign key or check constraint",
                table.name
            ),
        ));
    } else {
        return Err(missing(table, &name));
    }
    session.write_table(changed)?;
    Ok(())
}

fn missing(table: &Table, name: &str) -> SqlError {
    SqlError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name),
    )
}

pub(super) async fn rename(
    session: &mut Session,
    table: &Arc<Table>,
    old: &Ident,
    new: &Ident,
) -> Result<()> {
    let (old, new) = (names::fold(old), names::fold(new));
    if table.indexes.iter().any(|index| index.constraint && index.name == old) {
        return super::relation::rename_index(session, table, &old, &new).await;
    }
    let mut changed = Table::clone(table);
    let taken = table.checks.iter().any(|check| check.name == new)
        || table.foreign_keys.iter().any(|key| key.name == new);
    if taken {
        return Err(SqlError::new(
            SqlState::DUPLICATE_OBJECT,
            format!("constraint \"{new}\" for relation \"{}\" already exists", table.name),
        ));
    }
    let check = changed.checks.iter_mut().find(|check| check.name == old).map(|check| &mut check.name);
    let key = changed.foreign_keys.iter_mut().find(|key| key.name == old).map(|key| &mut key.name);
    let Some(name) = check.or(key) else {
        return Err(SqlError::new(
            SqlState::UNDEFINED_OBJECT,
            format!("constraint \"{old}\" for table \"{}\" does not exist", table.name),
        ));
    };
    *name = new;
    session.write_table(changed)?;
    Ok(())
}

pub(super) async fn drop(
    session: &mut Session,
    table: &Arc<Table>,
    name: &Ident,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let name = names::fold(name);
    let mut changed = Table::clone(table);
    if let Some(position) = changed.checks.iter().position(|check| check.name == name) {
        changed.checks.remove(position);
        session.write_table(changed)?;
        return Ok(());
    }
    if let Some(position) = changed.foreign_keys.iter().position(|key| key.name == name) {
        changed.foreign_keys.remove(position);
        session.write_table(changed)?;
        return Ok(());
    }
    if let Some(position) = changed.indexes.iter().position(|index| index.constraint && index.name == name) {
        let what = format!("constraint {name} on table {}", table.name);
        drop_dependents(session, table, position, &what, cascade).await?;
        let table = current(session, table)?;
        return drop_key(session, &table, position).await;
    }
    if if_exists {
        let message = missing(table, &name).message().to_owned() + ", skipping";
        session.notice(NoticeLevel::Notice, SqlState::UNDEFINED_OBJECT, message);
        return Ok(());
    }
    Err(missing(table, &name))
}

/// Foreign keys need the unique index behind the columns that they refer to; `what` is about to be dropped.
pub(super) async fn drop_dependents(
    session: &mut Session,
    table: &Arc<Table>,
    position: usize,
    what: &str,
    cascade: bool,
) -> Result<()> {
    let dependents: Vec<_> = foreign_key::referring(session, table)
        .into_iter()
        .filter(|(_, key)| table.unique_index(&key.referenced_columns) == Some(position))
        .collect();
    if dependents.is_empty() {
        return Ok(());
    }
    let index = &table.indexes[position].name;
    if !cascade {
        let detail: Vec<String> = dependents
            .iter()
            .map(|(child, key)| {
                format!("constraint {} on table {} depends on index {index}", key.name, child.name)
            })
            .collect();
        return Err(SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop {what} because other objects depend on it"),
        )
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for (child, key) in &dependents {
        session.notice(
            NoticeLevel::Notice,
            SqlState::SUCCESSFUL_COMPLETION,
            format!("drop cascades to constraint {} on table {}", key.name, child.name),
        );
    }
    foreign_key::remove(session, dependents).await
}

/// Removes the index of a key. A table without its primary key gets the hidden one.
async fn drop_key(session: &mut Session, table: &Arc<Table>, position: usize) -> Result<()> {
    let mut changed = Table::clone(table);
    let index = changed.indexes.remove(position);
    if !index.primary {
        session.write_table(changed)?;
        session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
        return session.discard_index(table.id, index.id);
    }
    definition::add_row_id(&mut changed);
    session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
    rewrite::rewrite(session, table, changed, &[], &[]).await?;
    Ok(())
}
