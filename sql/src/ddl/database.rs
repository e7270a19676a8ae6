//! CREATE DATABASE and DROP DATABASE.

use std::sync::Arc;

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::ObjectName;

use super::{drop, names};
use crate::{
    Session,
    catalog::{Database, Descriptor, Schema, store::NameKind},
    output::NoticeLevel,
    session::BlockState,
};

pub(super) async fn create(session: &mut Session, name: &ObjectName) -> Result<String> {
    not_in_block(session, "CREATE DATABASE")?;
    let name = names::last_part(name)?;
    if session.catalog_snapshot().database_named(&name).is_some() {
        return Err(SqlError::new(
            SqlState::DUPLICATE_DATABASE,
            format!("database \"{name}\" already exists"),
        ));
    }
    let services = session.services.clone();
    let catalog = &services.catalog;
    let database = Arc::new(Database { id: catalog.allocate_oid().await?, name });
    let id = catalog.allocate_oid().await?;
    let schema = Arc::new(Schema { id, database: database.id, name: "public".to_owned() });
    let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
    catalog.insert_name(&txn, basalt_types::Oid(0), NameKind::Database, &database.name, database.id).await?;
    catalog.insert_name(&txn, database.id, NameKind::Schema, &schema.name, schema.id).await?;
    for descriptor in [Descriptor::Database(database), Descriptor::Schema(schema)] {
        catalog.write(&txn, &descriptor)?;
        session.change_schema(descriptor.id(), Some(descriptor))?;
    }
    Ok("CREATE DATABASE".to_owned())
}

pub(super) async fn drop(session: &mut Session, names: &[ObjectName], if_exists: bool) -> Result<String> {
    not_in_block(session, "DROP DATABASE")?;
    for name in names {
        let name = names::last_part(name)?;
        let Some(database) = lock(session, &name, if_exists).await? else { continue };
        if !session.close_database(database.id).await? {
            return Err(missing(&name));
        }
        let snapshot = session.catalog_snapshot();
        let tables: Vec<_> =
            snapshot.tables.values().filter(|t| t.database == database.id).cloned().collect();
        for table in &tables {
            drop::remove(session, table).await?;
        }
        let services = session.services.clone();
        let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
        let schemas: Vec<_> =
            snapshot.schemas.values().filter(|s| s.database == database.id).cloned().collect();
        for schema in schemas {
            let (id, name) = (schema.id, &schema.name);
            services.catalog.remove_name(&txn, database.id, NameKind::Schema, name, id).await?;
            services.catalog.delete(&txn, schema.id)?;
            session.change_schema(schema.id, None)?;
        }
        let (id, name) = (database.id, &database.name);
        services.catalog.remove_name(&txn, basalt_types::Oid(0), NameKind::Database, name, id).await?;
        services.catalog.delete(&txn, database.id)?;
        session.change_schema(database.id, None)?;
    }
    Ok("DROP DATABASE".to_owned())
}

/// The database with this name, when nobody is connected to it any more and nobody can be.
async fn lock(session: &mut Session, name: &str, if_exists: bool) -> Result<Option<Arc<Database>>> {
    let mut found = find(session, name, if_exists)?;
    while let Some(database) = found {
        if database.id == session.database.id {
            return Err(SqlError::new(SqlState::OBJECT_IN_USE, "cannot drop the currently open database"));
        }
        session.lock_database(&database).await?;
        // Somebody else may have been faster, whose changes are known now: it may be gone, or another one with its name.
        found = find(session, name, if_exists)?;
        if found.as_ref().is_some_and(|found| found.id == database.id) {
            break;
        }
    }
    Ok(found)
}

/// The database; `None`, with a notice, where it need not be there.
fn find(session: &mut Session, name: &str, if_exists: bool) -> Result<Option<Arc<Database>>> {
    match session.catalog_snapshot().database_named(name).cloned() {
        Some(database) => Ok(Some(database)),
        None if if_exists => {
            let message = format!("database \"{name}\" does not exist, skipping");
            session.notice(NoticeLevel::Notice, SqlState::SUCCESSFUL_COMPLETION, message);
            Ok(None)
        }
        None => Err(missing(name)),
    }
}

fn missing(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
}

fn not_in_block(session: &Session, command: &str) -> Result<()> {
    if session.block == BlockState::Block {
        return Err(SqlError::new(
            SqlState::ACTIVE_SQL_TRANSACTION,
            format!("{command} cannot run inside a transaction block"),
        ));
    }
    Ok(())
}
