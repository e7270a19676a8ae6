//! Schemas and databases while something is made in them, or while they are dropped.
//!
//! Nothing may be left in a schema that is gone. Who makes something holds the schema, shared, until its transaction has
//! ended; who drops it takes it for itself, and looks then for what is in it: all of that is committed. Of several nodes the
//! other one's things may not be known here yet, so the stored names tell, and the catalog is read again if one is unknown.

use basalt_base::Timestamp;
use basalt_kv_api::LockStrength;
use basalt_types::{Oid, Result, SqlError, SqlState};

use crate::{Session, catalog::store::NameKind, error::sql_error};

impl Session {
    /// Before something is made in a schema. After the locks on tables, the first of which may begin the transaction anew.
    pub(crate) async fn hold_schema(&self, schema: Oid, name: &str) -> Result<()> {
        if self.lock_parent(schema, LockStrength::Shared).await? {
            return Ok(());
        }
        Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")))
    }

    /// Before something is made in the session's database.
    pub(crate) async fn hold_database(&self) -> Result<()> {
        if self.lock_parent(self.database.id, LockStrength::Shared).await? {
            return Ok(());
        }
        let message = format!("database \"{}\" does not exist", self.database.name);
        Err(SqlError::new(SqlState::INVALID_CATALOG_NAME, message))
    }

    /// Before a schema is dropped: nobody makes anything in it any more, and the catalog has all that is in it. False when
    /// it is gone.
    pub(crate) async fn close_schema(&mut self, schema: Oid) -> Result<bool> {
        self.close_parent(schema, NameKind::Relation).await
    }

    /// The same for a database, with its schemas.
    pub(crate) async fn close_database(&mut self, database: Oid) -> Result<bool> {
        if !self.close_parent(database, NameKind::Schema).await? {
            return Ok(false);
        }
        let snapshot = self.catalog_snapshot();
        for schema in snapshot.schemas.values().filter(|schema| schema.database == database) {
            self.close_schema(schema.id).await?;
        }
        Ok(true)
    }

    async fn close_parent(&mut self, parent: Oid, kind: NameKind) -> Result<bool> {
        if !self.lock_parent(parent, LockStrength::Exclusive).await? {
            return Ok(false);
        }
        let services = self.services.clone();
        let open = self.open.as_mut().expect("schema changes run in a transaction");
        // What was committed before the lock was granted must be seen, and the lock kept.
        open.used = true;
        open.txn.catch_up(Timestamp::ZERO).await.map_err(sql_error)?;
        let txn = open.txn.clone();
        let named = services.catalog.named_in(&txn, parent, kind).await?;
        let snapshot = self.catalog_snapshot();
        // There, not elsewhere: it may have been moved.
        let is_known = |id: &Oid| {
            let table = snapshot.tables.get(id).or_else(|| snapshot.index(*id).map(|(table, _)| table));
            let schema = snapshot.schemas.get(id).map(|schema| schema.database);
            table.map(|table| table.schema_id).or(schema) == Some(parent)
        };
        if !named.iter().all(is_known) {
            let at = services.catalog.reload().await?;
            txn.catch_up(at.next()).await.map_err(sql_error)?;
            self.forget_view();
        }
        Ok(true)
    }

    async fn lock_parent(&self, parent: Oid, strength: LockStrength) -> Result<bool> {
        let open = self.open.as_ref().expect("schema changes run in a transaction");
        open.txn.set_lock_timeout(self.lock_timeout());
        self.services.catalog.lock_parent(&open.txn, parent, strength).await
    }
}
