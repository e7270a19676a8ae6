//! DROP TABLE, DROP VIEW, DROP INDEX.

use std::sync::Arc;

use basalt_planner::{Table, TableKind};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{ObjectName, ObjectType};

use super::{names, view};
use crate::{Session, output::NoticeLevel};

pub(super) async fn run(
    session: &mut Session,
    kind: ObjectType,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<String> {
    for name in names {
        match kind {
            ObjectType::Index => drop_index(session, name, if_exists).await?,
            _ => drop_relation(session, kind, name, if_exists, cascade).await?,
        }
    }
    Ok(format!("DROP {kind}"))
}

async fn drop_relation(
    session: &mut Session,
    kind: ObjectType,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let word = if kind == ObjectType::View { "view" } else { "table" };
    let Some(table) = session.find_table(name)? else {
        return missing(session, word, name, if_exists);
    };
    let is_view = matches!(table.kind, TableKind::View { .. });
    if matches!(table.kind, TableKind::Virtual) {
        return Err(SqlError::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied: \"{}\" is a system catalog", table.name),
        ));
    }
    if is_view != (kind == ObjectType::View) {
        let hint =
            if is_view { "Use DROP VIEW to remove a view." } else { "Use DROP TABLE to remove a table." };
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a {word}", table.name),
        )
        .with_hint(hint));
    }
    let dependents = view::dependents(session, &table)?;
    if !dependents.is_empty() && !cascade {
        let detail: Vec<String> = dependents
            .iter()
            .map(|dependent| format!("view {} depends on {word} {}", dependent.name, table.name))
            .collect();
        return Err(SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop {word} {} because other objects depend on it", table.name),
        )
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for dependent in dependents {
        session.notice(
            NoticeLevel::Notice,
            SqlState::SUCCESSFUL_COMPLETION,
            format!("drop cascades to view {}", dependent.name),
        );
        remove(session, &dependent).await?;
    }
    remove(session, &table).await
}

/// Removes a table or view with its names and storage.
pub(super) async fn remove(session: &mut Session, table: &Arc<Table>) -> Result<()> {
    if !session.catalog_snapshot().tables.contains_key(&table.id) {
        return Ok(());
    }
    let table = session.lock_for_change(table).await?;
    session.release_relation_name(table.schema_id, &table.name)?;
    for index in &table.indexes {
        if !index.name.is_empty() {
            session.release_relation_name(table.schema_id, &index.name)?;
        }
        session.discard_index(table.id, index.id)?;
    }
    let open = session.open.as_ref().expect("schema changes run in a transaction");
    session.services.catalog.delete(&open.txn, table.id)?;
    session.change_schema(table.id, None)
}

async fn drop_index(session: &mut Session, name: &ObjectName, if_exists: bool) -> Result<()> {
    let view = session.catalog_view();
    let oid = view.relation_oid(&names::qualified(name)?)?;
    let Some(oid) = oid else {
        return missing(session, "index", name, if_exists);
    };
    let Some((table, position)) = view.snapshot.index(oid) else {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not an index", names::display(name)),
        ));
    };
    let index = &table.indexes[position];
    if index.constraint {
        return Err(SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!(
                "cannot drop index {} because constraint {} on table {} requires it",
                index.name, index.name, table.name
            ),
        )
        .with_hint(format!("You can drop constraint {} on table {} instead.", index.name, table.name)));
    }
    let table = session.lock_for_change(&table.clone()).await?;
    let mut changed = Table::clone(&table);
    let Some(position) = changed.indexes.iter().position(|index| index.oid == oid) else {
        return missing(session, "index", name, if_exists);
    };
    let index = changed.indexes.remove(position);
    session.write_table(changed)?;
    session.release_relation_name(table.schema_id, &index.name)?;
    session.discard_index(table.id, index.id)
}

pub(super) fn missing(session: &mut Session, word: &str, name: &ObjectName, if_exists: bool) -> Result<()> {
    let name = names::display(name);
    let sqlstate = if word == "index" { SqlState::UNDEFINED_OBJECT } else { SqlState::UNDEFINED_TABLE };
    if if_exists {
        session.notice(
            NoticeLevel::Notice,
            SqlState::SUCCESSFUL_COMPLETION,
            format!("{word} \"{name}\" does not exist, skipping"),
        );
        return Ok(());
    }
    Err(SqlError::new(sqlstate, format!("{word} \"{name}\" does not exist")))
}
