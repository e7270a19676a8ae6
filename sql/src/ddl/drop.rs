//! DROP TABLE, DROP VIEW, DROP INDEX.

use std::sync::Arc;

use basalt_planner::{Table, TableKind, catalog::Sequence};
use basalt_types::{Oid, Result, SqlError, SqlState};
use sqlparser::ast::{ObjectName, ObjectType};

use super::{
    alter_constraint, alter_table, foreign_key, names,
    sequence::{owned_by, sequences_in},
    view,
};
use crate::{Session, output::NoticeLevel};

pub(super) async fn run(
    session: &mut Session,
    kind: ObjectType,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<String> {
    // What is dropped together may depend on each other.
    let mut together = Vec::new();
    for name in names {
        together.extend(session.find_table(name)?.map(|table| table.id));
    }
    for name in names {
        match kind {
            ObjectType::Index => drop_index(session, name, if_exists, cascade).await?,
            _ => drop_relation(session, kind, name, if_exists, cascade, &together).await?,
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
    together: &[Oid],
) -> Result<()> {
    let word = match kind {
        ObjectType::View => "view",
        ObjectType::MaterializedView => "materialized view",
        ObjectType::Sequence => "sequence",
        _ => "table",
    };
    let Some(table) = session.find_table(name)? else {
        return missing(session, word, name, if_exists);
    };
    let (own_word, hint) = match &table.kind {
        TableKind::Virtual => {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", table.name),
            ));
        }
        TableKind::Table => ("table", "Use DROP TABLE to remove a table."),
        TableKind::View { .. } => ("view", "Use DROP VIEW to remove a view."),
        TableKind::Materialized { .. } => {
            ("materialized view", "Use DROP MATERIALIZED VIEW to remove a materialized view.")
        }
        TableKind::Sequence(_) => ("sequence", "Use DROP SEQUENCE to remove a sequence."),
    };
    if own_word != word {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a {word}", table.name),
        )
        .with_hint(hint));
    }
    if let TableKind::Sequence(sequence) = &table.kind {
        drop_uses(session, &table, sequence, cascade).await?;
    }
    let referring: Vec<_> = foreign_key::referring(session, &table)
        .into_iter()
        .filter(|(child, _)| child.id != table.id && !together.contains(&child.id))
        .collect();
    let dependents = view::dependents(session, &table)?;
    let dependents: Vec<_> = dependents.into_iter().filter(|view| !together.contains(&view.id)).collect();
    if !(cascade || dependents.is_empty() && referring.is_empty()) {
        let mut detail: Vec<String> = dependents
            .iter()
            .map(|dependent| format!("view {} depends on {word} {}", dependent.name, table.name))
            .collect();
        detail.extend(referring.iter().map(|(child, key)| {
            format!("constraint {} on table {} depends on {word} {}", key.name, child.name, table.name)
        }));
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
    for (child, key) in &referring {
        session.notice(
            NoticeLevel::Notice,
            SqlState::SUCCESSFUL_COMPLETION,
            format!("drop cascades to constraint {} on table {}", key.name, child.name),
        );
    }
    foreign_key::remove(session, referring).await?;
    remove(session, &table).await
}

/// The defaults that take values from a sequence: its own column's keep it, others go with it after CASCADE.
async fn drop_uses(
    session: &mut Session,
    table: &Arc<Table>,
    sequence: &Sequence,
    cascade: bool,
) -> Result<()> {
    let snapshot = session.catalog_snapshot();
    let uses: Vec<(Arc<Table>, u32)> = snapshot
        .tables
        .values()
        .flat_map(|user| user.columns.iter().map(move |column| (user, column)))
        .filter(|(_, column)| {
            column.default.as_deref().is_some_and(|default| sequences_in(default).contains(&table.id))
        })
        .map(|(user, column)| (user.clone(), column.id))
        .collect();
    let error = SqlError::new(
        SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        format!("cannot drop sequence {} because other objects depend on it", table.name),
    );
    for (user, column) in uses {
        let described = user.column(column).ok_or_else(|| SqlError::internal("a column vanished"))?;
        if described.identity_always.is_some() && sequence.owner == Some((user.id, column)) {
            return Err(SqlError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop sequence {} because column {} of table {} requires it",
                    table.name, described.name, user.name
                ),
            )
            .with_hint(format!("You can drop column {} of table {} instead.", described.name, user.name)));
        }
        if !cascade {
            return Err(error
                .with_detail(format!(
                    "default value for column {} of table {} depends on sequence {}",
                    described.name, user.name, table.name
                ))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        let user = session.lock_for_change(&user).await?;
        let mut changed = Table::clone(&user);
        for known in changed.columns.iter_mut().filter(|known| known.id == column) {
            known.default = None;
        }
        session.write_table(changed)?;
    }
    Ok(())
}

/// Removes a table or view with its names and storage.
pub(super) async fn remove(session: &mut Session, table: &Arc<Table>) -> Result<()> {
    if !session.catalog_snapshot().tables.contains_key(&table.id) {
        return Ok(());
    }
    let table = session.lock_for_change(table).await?;
    session.check_nothing_waits("DROP TABLE", &table)?;
    for owned in owned_by(session, table.id, None) {
        Box::pin(remove(session, &owned)).await?;
    }
    session.release_relation_name(table.schema_id, &table.name, table.id).await?;
    for index in &table.indexes {
        if !index.name.is_empty() {
            session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
        }
        session.discard_index(table.id, index.id)?;
    }
    let open = session.open.as_ref().expect("schema changes run in a transaction");
    session.services.catalog.delete(&open.txn, table.id)?;
    session.change_schema(table.id, None)
}

async fn drop_index(session: &mut Session, name: &ObjectName, if_exists: bool, cascade: bool) -> Result<()> {
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
    let Some(position) = table.indexes.iter().position(|index| index.oid == oid) else {
        return missing(session, "index", name, if_exists);
    };
    let what = format!("index {}", table.indexes[position].name);
    alter_constraint::drop_dependents(session, &table, position, &what, cascade).await?;
    let table = alter_table::current(session, &table)?;
    let mut changed = Table::clone(&table);
    let index = changed.indexes.remove(position);
    session.write_table(changed)?;
    session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
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
