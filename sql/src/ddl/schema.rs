//! CREATE SCHEMA and DROP SCHEMA.

use std::sync::Arc;

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{ObjectName, SchemaName};

use super::{drop, foreign_key, names};
use crate::{
    Session,
    catalog::{Descriptor, Schema, store::NameKind},
    output::NoticeLevel,
};

pub(super) async fn create(session: &mut Session, name: &SchemaName, if_not_exists: bool) -> Result<String> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => names::last_part(name)?,
        SchemaName::UnnamedAuthorization(role) => names::fold(role),
    };
    if name.starts_with("pg_") {
        return Err(SqlError::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    if session.catalog_view().schema(&name).is_some() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            session.notice(NoticeLevel::Notice, SqlState::DUPLICATE_SCHEMA, message + ", skipping");
            return Ok("CREATE SCHEMA".to_owned());
        }
        return Err(SqlError::new(SqlState::DUPLICATE_SCHEMA, message));
    }
    let services = session.services.clone();
    let id = services.catalog.allocate_oid().await?;
    let schema = Arc::new(Schema { id, database: session.database.id, name });
    session.hold_database().await?;
    let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
    services.catalog.insert_name(&txn, schema.database, NameKind::Schema, &schema.name, id).await?;
    let descriptor = Descriptor::Schema(schema);
    services.catalog.write(&txn, &descriptor)?;
    session.change_schema(id, Some(descriptor))?;
    session.forget_view();
    Ok("CREATE SCHEMA".to_owned())
}

pub(super) async fn drop(
    session: &mut Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<String> {
    for name in names {
        let name = names::last_part(name)?;
        let view = session.catalog_view();
        let known = view.snapshot.schema_named(session.database.id, &name).cloned();
        let known = match known {
            Some(schema) if session.close_schema(schema.id).await? => Some(schema),
            _ => None,
        };
        let Some(schema) = known else {
            let message = format!("schema \"{name}\" does not exist");
            if if_exists {
                session.notice(NoticeLevel::Notice, SqlState::SUCCESSFUL_COMPLETION, message + ", skipping");
                continue;
            }
            return Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, message));
        };
        // With what others have made until now.
        let tables: Vec<_> = session.catalog_snapshot().tables_in_schema(schema.id).cloned().collect();
        if !tables.is_empty() && !cascade {
            let detail: Vec<String> = tables
                .iter()
                .map(|table| format!("table {name}.{} depends on schema {name}", table.name))
                .collect();
            return Err(SqlError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop schema {name} because other objects depend on it"),
            )
            .with_detail(detail.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        for table in &tables {
            let referring = foreign_key::referring(session, table);
            let outside = referring.into_iter().filter(|(child, _)| child.schema_id != schema.id);
            foreign_key::remove(session, outside.collect()).await?;
            drop::remove(session, table).await?;
        }
        let services = session.services.clone();
        let txn = session.open.as_ref().expect("schema changes run in a transaction").txn.clone();
        let catalog = &services.catalog;
        catalog.remove_name(&txn, schema.database, NameKind::Schema, &schema.name, schema.id).await?;
        catalog.delete(&txn, schema.id)?;
        session.change_schema(schema.id, None)?;
        session.forget_view();
    }
    Ok("DROP SCHEMA".to_owned())
}
