//! Changes that any kind of relation may undergo: another name, another schema, another owner.

use std::sync::Arc;

use basalt_planner::{
    Table, TableKind,
    catalog::QualifiedName,
    parse::{RelationChange, RelationKind},
};
use basalt_types::{Result, SqlError, SqlState};

use super::{names, sequence};
use crate::{Session, output::NoticeLevel};

pub(super) async fn alter(
    session: &mut Session,
    kind: RelationKind,
    name: &QualifiedName,
    if_exists: bool,
    change: &RelationChange,
) -> Result<String> {
    let tag = match kind {
        RelationKind::Table => "ALTER TABLE",
        RelationKind::View => "ALTER VIEW",
        RelationKind::MaterializedView => "ALTER MATERIALIZED VIEW",
        RelationKind::Sequence => "ALTER SEQUENCE",
        RelationKind::Index => "ALTER INDEX",
    };
    let view = session.catalog_view();
    let found = view.relation_oid(name)?;
    let Some(id) = found else {
        let message = format!("relation \"{name}\" does not exist");
        if if_exists {
            session.notice(NoticeLevel::Notice, SqlState::UNDEFINED_TABLE, message + ", skipping");
            return Ok(tag.to_owned());
        }
        return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
    };
    if let Some((table, position)) = view.snapshot.index(id) {
        let table = table.clone();
        let index = table.indexes[position].name.clone();
        alter_index(session, &table, &index, change).await?;
        return Ok(tag.to_owned());
    }
    let table =
        view.table_by_id(id).cloned().ok_or_else(|| SqlError::internal("a relation without a table"))?;
    check_kind(kind, &table)?;
    match change {
        RelationChange::OwnerTo => {}
        RelationChange::RenameTo(new) => rename(session, &table, &names::truncate(new.clone())).await?,
        RelationChange::SetSchema(schema) => set_schema(session, &table, schema).await?,
    }
    Ok(tag.to_owned())
}

/// ALTER TABLE takes any kind; the others only their own.
fn check_kind(kind: RelationKind, table: &Table) -> Result<()> {
    let (fits, word) = match kind {
        RelationKind::Table => (true, "table"),
        RelationKind::View => (matches!(table.kind, TableKind::View { .. }), "view"),
        RelationKind::MaterializedView => {
            (matches!(table.kind, TableKind::Materialized { .. }), "materialized view")
        }
        RelationKind::Sequence => (matches!(table.kind, TableKind::Sequence(_)), "sequence"),
        RelationKind::Index => (false, "index"),
    };
    if table.kind == TableKind::Virtual {
        return Err(SqlError::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied: \"{}\" is a system catalog", table.name),
        ));
    }
    if fits {
        return Ok(());
    }
    let article = if word == "index" { "an" } else { "a" };
    Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not {article} {word}", table.name)))
}

pub(super) async fn rename(session: &mut Session, table: &Arc<Table>, name: &str) -> Result<()> {
    let table = session.lock_for_change(table).await?;
    session.claim_relation_name(table.schema_id, name, table.id).await?;
    session.release_relation_name(table.schema_id, &table.name, table.id).await?;
    let mut changed = Table::clone(&table);
    changed.name = name.to_owned();
    session.write_table(changed)?;
    Ok(())
}

async fn alter_index(
    session: &mut Session,
    table: &Arc<Table>,
    index: &str,
    change: &RelationChange,
) -> Result<()> {
    let new = match change {
        RelationChange::OwnerTo => return Ok(()),
        RelationChange::SetSchema(_) => {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot change schema of index \"{index}\""),
            )
            .with_hint("Change the schema of the table instead."));
        }
        RelationChange::RenameTo(new) => names::truncate(new.clone()),
    };
    rename_index(session, table, index, &new).await
}

pub(super) async fn rename_index(
    session: &mut Session,
    table: &Arc<Table>,
    index: &str,
    new: &str,
) -> Result<()> {
    let table = session.lock_for_change(table).await?;
    let position = table.indexes.iter().position(|known| known.name == index);
    let position = position.ok_or_else(|| SqlError::internal("the index vanished"))?;
    session.claim_relation_name(table.schema_id, new, table.indexes[position].oid).await?;
    session.release_relation_name(table.schema_id, index, table.indexes[position].oid).await?;
    let mut changed = Table::clone(&table);
    changed.indexes[position].name = new.to_owned();
    session.write_table(changed)?;
    Ok(())
}

/// Moves a relation with its indexes and the sequences that belong to it.
async fn set_schema(session: &mut Session, table: &Arc<Table>, schema: &str) -> Result<()> {
    let view = session.catalog_view();
    let target = view.schema(schema).ok_or_else(|| {
        SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
    })?;
    if target == table.schema_id {
        return Ok(());
    }
    if target == crate::catalog::PG_CATALOG_SCHEMA || target == crate::catalog::INFORMATION_SCHEMA {
        return Err(SqlError::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied for schema {schema}"),
        ));
    }
    let mut moved = vec![table.clone()];
    moved.extend(sequence::owned_by(session, table.id, None));
    for table in moved {
        let table = session.lock_for_change(&table).await?;
        session.hold_schema(target, schema).await?;
        session.claim_relation_name(target, &table.name, table.id).await?;
        session.release_relation_name(table.schema_id, &table.name, table.id).await?;
        for index in table.indexes.iter().filter(|index| !index.name.is_empty()) {
            session.claim_relation_name(target, &index.name, index.oid).await?;
            session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
        }
        let mut changed = Table::clone(&table);
        changed.schema_id = target;
        changed.schema = schema.to_owned();
        session.write_table(changed)?;
    }
    Ok(())
}
