//! ALTER TABLE.

use std::sync::Arc;

use basalt_planner::{Table, TableKind};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{
    AlterIndexOperation, AlterTable, AlterTableOperation, DropBehavior, ObjectName, RenameTableNameKind,
};

use super::{
    alter_column, alter_constraint, names, relation,
    table_definition::{self as definition, Constraint},
};
use crate::{Session, output::NoticeLevel};

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
        let renames = matches!(
            operation,
            AlterTableOperation::RenameTable { .. }
                | AlterTableOperation::RenameColumn { .. }
                | AlterTableOperation::RenameConstraint { .. }
        );
        if !renames {
            session.check_nothing_waits("ALTER TABLE", &current)?;
        }
        apply(session, &current, operation).await?;
    }
    Ok("ALTER TABLE".to_owned())
}

async fn apply(session: &mut Session, table: &Arc<Table>, operation: &AlterTableOperation) -> Result<()> {
    match operation {
        AlterTableOperation::AddConstraint { constraint, not_valid } => {
            match definition::constraint(constraint)? {
                Constraint::Key(key) if *not_valid => {
                    let kind = if key.primary { "PRIMARY KEY" } else { "UNIQUE" };
                    Err(SqlError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("{kind} constraints cannot be marked NOT VALID"),
                    ))
                }
                Constraint::Key(key) => alter_constraint::add_key(session, table, &key).await,
                Constraint::Check(mut check) => {
                    check.validate = !not_valid;
                    alter_constraint::add_check(session, table, &check).await
                }
                Constraint::Foreign(mut key) => {
                    key.validate = !not_valid;
                    alter_constraint::add_foreign_key(session, table, &key).await
                }
            }
        }
        AlterTableOperation::ValidateConstraint { name } => {
            alter_constraint::validate(session, table, name).await
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            alter_constraint::rename(session, table, old_name, new_name).await
        }
        AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
            alter_column::add(session, table, column_def, *if_not_exists).await
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
            for name in column_names {
                let table = current(session, table)?;
                alter_column::drop_column(session, &table, name, *if_exists, cascade).await?;
            }
            Ok(())
        }
        AlterTableOperation::DropConstraint { name, if_exists, drop_behavior } => {
            let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
            alter_constraint::drop(session, table, name, *if_exists, cascade).await
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            alter_column::rename(session, table, old_column_name, new_column_name)
        }
        AlterTableOperation::RenameTable { table_name } => {
            let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = table_name;
            relation::rename(session, table, &names::last_part(name)?).await
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            alter_column::alter(session, table, column_name, op).await
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

pub(super) fn current(session: &Session, table: &Arc<Table>) -> Result<Arc<Table>> {
    session
        .catalog_snapshot()
        .tables
        .get(&table.id)
        .cloned()
        .ok_or_else(|| SqlError::internal("table vanished"))
}

pub(super) fn column_position(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column.name == name && !column.hidden).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
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
    let (table, old) = (table.clone(), table.indexes[position].name.clone());
    relation::rename_index(session, &table, &old, &names::last_part(index_name)?).await?;
    Ok("ALTER INDEX".to_owned())
}
