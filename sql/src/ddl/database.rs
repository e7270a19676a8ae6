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
        let snapshot = session.catalog_snapshot();
        let Some(database) = snapshot.database_named(&name).cloned() else {
            let message = format!("database \"{name}\" does not exist");
            if if_exists {
                session.notice(NoticeLevel::Notice, SqlState::SUCCESSFUL_COMPLETION, message + ", skipping");
                continue;
            }
            return Err(SqlError::new(SqlState::INVALID_CATALOG_NAME, message));
        };
        if database.id == session.database.id {
            return Err(SqlError::new(SqlState::OBJECT_IN_USE, "cannot drop the currently open database"));
        }
        let others = session.services.activity.lock().values().filter(|a| a.database == database.id).count();
        if others > 0 {
            return Err(SqlError::new(
                SqlState::OBJECT_IN_USE,
                format!("database \"{name}\" is being accessed by other users"),
            )
            .with_detail(format!("There are {others} other sessions using the database.")));
        }
        if !session.close_database(database.id).await? {
            // Somebody else was faster.
            return Err(SqlError::new(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{name}\" does not exist"),
            ));
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

fn not_in_block(session: &Session, command: &str) -> Result<()> {
    if session.block == BlockState::Block {
        return Err(SqlError::new(
            SqlState::ACTIVE_SQL_TRANSACTION,
            format!("{command} cannot run inside a transaction block"),
        ));
    }
    Ok(())
}
