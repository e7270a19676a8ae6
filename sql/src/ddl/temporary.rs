//! Temporary tables: ordinary ones in a schema of the session, which goes with it.
//!
//! The schema is stored like any other, so that temporary tables take part in transactions. Its name tells whose it is: the
//! client's session, and the node's session before it where there are several nodes. A node that ends without dropping them
//! leaves that to the others, who find that its session is over, or to its next start.
//!
//! Other nodes are not told of what happens in such a schema: nobody there can use it.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::NodeId;
use basalt_planner::{Table, catalog::OnCommit};
use basalt_txn::TxnConfig;
use basalt_types::{Oid, Result};

use super::drop;
use crate::{
    Session,
    catalog::{Descriptor, Schema, store::NameKind},
    cluster::{
        Member,
        rows::{Identity, Rows},
    },
    error::sql_error,
    services::SqlServices,
};

/// What the names of the schemas begin with.
pub(crate) const PREFIX: &str = "pg_temp_";

/// The name of a session's schema.
pub(crate) fn schema_name(session: &Session) -> String {
    let client = session.id;
    match session.services.cluster.as_ref().and_then(Member::session) {
        Some(member) => format!("{PREFIX}{}_{:x}_{client}", member.node.0, member.incarnation),
        None => format!("{PREFIX}{client}"),
    }
}

/// The node's session that a schema belongs to, if it says so.
fn member_of(name: &str) -> Option<Identity> {
    let mut parts = name.strip_prefix(PREFIX)?.split('_');
    let node = NodeId(parts.next()?.parse().ok()?);
    let incarnation = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().map(|_| Identity { node, incarnation })
}

/// The session's schema, made when it is first needed.
pub(super) async fn schema(session: &mut Session) -> Result<Oid> {
    let name = schema_name(session);
    let database = session.database.id;
    session.has_temporary = true;
    if let Some(schema) = session.catalog_snapshot().schema_named(database, &name) {
        return Ok(schema.id);
    }
    let services = session.services.clone();
    let id = services.catalog.allocate_oid().await?;
    let open = session.open.as_ref().expect("schema changes run in a transaction");
    services.catalog.insert_name(&open.txn, database, NameKind::Schema, &name, id).await?;
    let schema = Descriptor::Schema(Arc::new(Schema { id, database, name }));
    services.catalog.write(&open.txn, &schema)?;
    session.change_schema(id, Some(schema))?;
    session.forget_view();
    Ok(id)
}

impl Session {
    /// Does what ON COMMIT says, as the last part of the transaction.
    pub(crate) async fn temporary_tables_at_commit(&mut self) -> Result<()> {
        if !self.has_temporary {
            return Ok(());
        }
        let snapshot = self.catalog_snapshot();
        let Some(schema) = snapshot.schema_named(self.database.id, &schema_name(self)) else {
            return Ok(());
        };
        let tables: Vec<Arc<Table>> = snapshot
            .tables_in_schema(schema.id)
            .filter(|table| table.on_commit != OnCommit::Preserve)
            .cloned()
            .collect();
        for table in tables {
            match table.on_commit {
                OnCommit::Drop => drop::remove(self, &table).await?,
                _ => super::truncate::empty(self, &table).await?,
            }
        }
        Ok(())
    }
}

/// Drops the temporary tables of clients whose node is not there any more. At the start, and when another node is gone.
pub(crate) async fn clear_dead(services: &SqlServices) -> Result<()> {
    let snapshot = services.catalog.current();
    let own = services.cluster.as_ref().and_then(Member::session);
    let names = snapshot.schemas.values().map(|schema| schema.name.as_str());
    let names: Vec<&str> = names.filter(|name| name.starts_with(PREFIX)).collect();
    if !names.iter().any(|name| own.is_none() || member_of(name) != own) {
        return Ok(());
    }
    let living = match own {
        Some(_) => {
            let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
            let known = Rows::read(&txn).await;
            txn.rollback().await;
            known.map_err(sql_error)?.sessions
        }
        None => BTreeMap::default(),
    };
    for name in names {
        // The row of a session is there before any schema of its clients.
        if member_of(name).is_none_or(|member| !living.contains_key(&member)) {
            clear(services, name).await?;
        }
    }
    Ok(())
}

/// Drops the temporary tables of one schema.
pub(crate) async fn clear(services: &SqlServices, name: &str) -> Result<()> {
    let snapshot = services.catalog.current();
    let schemas: Vec<Arc<Schema>> =
        snapshot.schemas.values().filter(|known| known.name == name).cloned().collect();
    for schema in schemas {
        let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
        let remove_name = |parent, kind, name, id| services.catalog.remove_name(&txn, parent, kind, name, id);
        let mut changes = Vec::new();
        for table in snapshot.tables_in_schema(schema.id) {
            remove_name(schema.id, NameKind::Relation, &table.name, table.id).await?;
            for index in &table.indexes {
                if !index.name.is_empty() {
                    remove_name(schema.id, NameKind::Relation, &index.name, index.oid).await?;
                }
                services.catalog.discard_index(&txn, table.id, index.id)?;
            }
            services.catalog.delete(&txn, table.id)?;
            changes.push((table.id, None));
        }
        remove_name(schema.database, NameKind::Schema, &schema.name, schema.id).await?;
        services.catalog.delete(&txn, schema.id)?;
        changes.push((schema.id, None));
        let commit = txn.commit().await.map_err(sql_error)?;
        services.catalog.publish(&changes, commit);
    }
    Ok(())
}
