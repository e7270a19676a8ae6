//! The transaction block and its savepoints.
//!
//! A session is idle, in an implicit transaction (one statement, one simple query, or everything up to Sync), or in a
//! block that BEGIN opened. An error fails the transaction; a failed block ignores commands until it ends.

use std::sync::Arc;

use basalt_base::Timestamp;
use basalt_kv_api::TxnPriority;
use basalt_txn::{Isolation, Savepoint, Txn, TxnConfig};
use basalt_types::{Oid, Result, SqlError, SqlState};
use parking_lot::Mutex;

use super::{Session, settings::Settings};
use crate::{
    catalog::{CatalogSnapshot, Descriptor},
    cluster::{
        Member,
        commits::{UnderWay, is_unknown},
        rows::Identity,
    },
    error::sql_error,
    exec::{deferred::Deferred, referential},
    locks::TableLockMode,
    output::NoticeLevel,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    Idle,
    /// Opened by a statement; ends with it (or at Sync).
    Implicit,
    /// Failed; nothing runs until Sync.
    ImplicitFailed,
    Block,
    BlockFailed,
}

/// Uncommitted schema changes.
pub(crate) struct SchemaChanges {
    pub changes: Vec<(Oid, Option<Descriptor>)>,
    /// What was published when this was last asked for, and the same with the changes made to it.
    applied: Mutex<(Arc<CatalogSnapshot>, Arc<CatalogSnapshot>)>,
}

impl Clone for SchemaChanges {
    fn clone(&self) -> Self {
        Self { changes: self.changes.clone(), applied: Mutex::new(self.applied.lock().clone()) }
    }
}

impl SchemaChanges {
    /// The published catalog with the changes made to it. What others have published since the transaction began is in
    /// it: nobody may use what a committed change has replaced.
    pub fn over(&self, current: &Arc<CatalogSnapshot>) -> Arc<CatalogSnapshot> {
        let mut applied = self.applied.lock();
        if !Arc::ptr_eq(&applied.0, current) {
            let mut next = CatalogSnapshot::clone(current);
            self.changes.iter().for_each(|(id, change)| apply(&mut next, *id, change));
            *applied = (current.clone(), Arc::new(next));
        }
        applied.1.clone()
    }
}

fn apply(snapshot: &mut CatalogSnapshot, id: Oid, change: &Option<Descriptor>) {
    match change {
        Some(descriptor) => snapshot.put(descriptor.clone()),
        None => snapshot.remove(id),
    }
}

pub(crate) struct OpenTransaction {
    pub txn: Txn,
    /// The node's session among other nodes that the transaction runs under.
    pub member: Option<Identity>,
    pub start_micros: i64,
    pub read_only: bool,
    /// It reads a moment in the past.
    pub is_historic: bool,
    /// Set by the first statement; SET TRANSACTION is refused after it.
    pub used: bool,
    pub schema_changes: Option<SchemaChanges>,
    savepoints: Vec<NamedSavepoint>,
    /// Settings to return to on rollback, and after commit for SET LOCAL.
    settings_before: Arc<Settings>,
    /// Settings as SET (not SET LOCAL) left them.
    pub settings_session: Arc<Settings>,
    /// Rows added per table, told to the estimates on commit.
    pub row_deltas: Vec<(Oid, i64)>,
    /// Checks of foreign keys that wait for the commit.
    pub deferred: Arc<Mutex<Deferred>>,
}

struct NamedSavepoint {
    name: String,
    point: Savepoint,
    schema_changes: Option<SchemaChanges>,
    settings: (Arc<Settings>, Arc<Settings>),
    row_deltas: usize,
    deferred: Deferred,
}

/// Characteristics of a transaction, as BEGIN and SET TRANSACTION give them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Modes {
    pub read_only: Option<bool>,
    pub isolation: Option<Isolation>,
    /// Reads the state of that moment.
    pub as_of: Option<Timestamp>,
}

impl Session {
    /// Opens a transaction if there is none.
    pub(crate) fn ensure_transaction(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        self.open_transaction(Modes::default())?;
        if self.block == BlockState::Idle {
            self.block = BlockState::Implicit;
        }
        Ok(())
    }

    pub(crate) fn open_transaction(&mut self, modes: Modes) -> Result<()> {
        let settings = self.shared.settings.lock().clone();
        let is_historic = modes.as_of.is_some();
        let read_only = is_historic || modes.read_only.unwrap_or_else(|| settings.hot().default_read_only);
        let config = TxnConfig {
            isolation: modes.isolation.unwrap_or_default(),
            priority: TxnPriority::default(),
            read_only,
            as_of: modes.as_of,
            ..TxnConfig::default()
        };
        let txn = self.services.client.begin(config).map_err(sql_error)?;
        let member = self.services.cluster.as_ref().and_then(Member::session);
        self.open = Some(OpenTransaction {
            txn,
            member,
            start_micros: self.services.now_micros(),
            read_only,
            is_historic,
            used: false,
            schema_changes: None,
            savepoints: Vec::new(),
            settings_before: settings.clone(),
            settings_session: settings,
            row_deltas: Vec::new(),
            deferred: Arc::default(),
        });
        Ok(())
    }

    /// BEGIN.
    pub(crate) fn begin_block(&mut self, modes: Modes) -> Result<()> {
        match self.block {
            BlockState::Block | BlockState::BlockFailed => {
                self.notice(
                    NoticeLevel::Warning,
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "there is already a transaction in progress",
                );
                return Ok(());
            }
            BlockState::Idle => self.open_transaction(modes)?,
            // Statements before BEGIN in the same query string become part of the block.
            BlockState::Implicit if self.open.is_none() => self.open_transaction(modes)?,
            BlockState::Implicit | BlockState::ImplicitFailed => {}
        }
        self.block = BlockState::Block;
        Ok(())
    }

    /// COMMIT. Returns the command tag: a failed block is rolled back.
    pub(crate) async fn commit_block(&mut self) -> Result<&'static str> {
        match self.block {
            BlockState::BlockFailed => {
                self.abort_transaction().await;
                Ok("ROLLBACK")
            }
            BlockState::Block => {
                self.commit_transaction().await?;
                Ok("COMMIT")
            }
            BlockState::Idle | BlockState::Implicit | BlockState::ImplicitFailed => {
                self.notice(
                    NoticeLevel::Warning,
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    "there is no transaction in progress",
                );
                // What the same query string has done so far is committed all the same.
                if self.block == BlockState::Implicit {
                    self.commit_transaction().await?;
                }
                Ok("COMMIT")
            }
        }
    }

    /// ROLLBACK.
    pub(crate) async fn rollback_block(&mut self) {
        if matches!(self.block, BlockState::Idle | BlockState::Implicit | BlockState::ImplicitFailed) {
            self.notice(
                NoticeLevel::Warning,
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "there is no transaction in progress",
            );
        }
        self.abort_transaction().await;
    }

    /// Commits whatever is open; on error everything is rolled back.
    pub(crate) async fn commit_transaction(&mut self) -> Result<()> {
        self.portals.retain(|_, portal| portal.outlives_transaction());
        let (under_way, tells_others) = match self.before_commit().await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.abort_transaction().await;
                return Err(error);
            }
        };
        self.cursors.retain(|_, cursor| cursor.hold);
        for cursor in self.cursors.values_mut() {
            cursor.committed = true;
        }
        let Some(mut open) = self.open.take() else {
            under_way.decide();
            self.block = BlockState::Idle;
            return Ok(());
        };
        open.txn.set_lock_timeout(self.lock_timeout());
        let committed = match open.schema_changes.take() {
            Some(schema) => Box::pin(under_way.carry_through(open.txn.clone(), schema.changes)).await,
            None if !open.txn.has_writes() => {
                under_way.decide();
                open.txn.commit().await
            }
            None => {
                let committed = open.txn.commit().await;
                if committed.as_ref().is_err_and(is_unknown) {
                    // Takes the locks, so that they are not given back below.
                    drop(under_way);
                } else {
                    under_way.decide();
                }
                committed
            }
        };
        self.block = BlockState::Idle;
        match committed {
            Ok(commit) => {
                for (table, rows) in &open.row_deltas {
                    self.services.add_rows(*table, *rows);
                }
                self.restore_settings(open.settings_session);
                self.release_locks(!open.txn.is_read_only());
                if tells_others {
                    Box::pin(self.until_all_know(commit)).await;
                }
                Ok(())
            }
            Err(error) => {
                open.txn.rollback().await;
                self.restore_settings(open.settings_before);
                self.release_locks(false);
                Err(sql_error(error))
            }
        }
    }

    /// What belongs to the transaction and must be done last: deferred checks, ON COMMIT of temporary tables. Says whether
    /// other nodes must hear of the commit.
    async fn before_commit(&mut self) -> Result<(UnderWay, bool)> {
        self.run_deferred(true).await?;
        self.temporary_tables_at_commit().await?;
        self.prepare_commit().await
    }

    /// Runs the deferred checks that are due: all of them at the end.
    pub(crate) async fn run_deferred(&mut self, all: bool) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let due = {
            let mut deferred = open.deferred.lock();
            if deferred.is_empty() {
                return Ok(());
            }
            deferred.take(all)
        };
        open.txn.statement();
        let due = referential::refreshed(due, &self.catalog_snapshot())?;
        let context = self.exec_context(Arc::new([]))?;
        referential::verify(&context, due).await
    }

    /// Rolls back whatever is open.
    pub(crate) async fn abort_transaction(&mut self) {
        self.cursors.retain(|_, cursor| cursor.committed);
        self.portals.retain(|_, portal| portal.outlives_transaction());
        self.block = BlockState::Idle;
        if let Some(open) = self.open.take() {
            open.txn.rollback().await;
            self.restore_settings(open.settings_before);
        }
        self.release_locks(false);
        self.forget_view();
    }

    fn restore_settings(&mut self, settings: Arc<Settings>) {
        let mut current = self.shared.settings.lock();
        if !Arc::ptr_eq(&current, &settings) {
            *current = settings;
            drop(current);
            self.forget_view();
        }
    }

    /// Marks the transaction failed after an error. An implicit one is rolled back at once.
    pub(crate) async fn fail_transaction(&mut self) {
        match self.block {
            BlockState::Block => self.block = BlockState::BlockFailed,
            BlockState::BlockFailed => {}
            BlockState::Idle | BlockState::Implicit | BlockState::ImplicitFailed => {
                self.abort_transaction().await;
            }
        }
        // A failed statement may have left cursors half-read.
        self.portals.retain(|_, portal| portal.outlives_transaction());
    }

    /// `25P02` in a failed block.
    pub(crate) fn check_not_failed(&self) -> Result<()> {
        match self.block {
            BlockState::BlockFailed | BlockState::ImplicitFailed => Err(SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            BlockState::Idle | BlockState::Implicit | BlockState::Block => Ok(()),
        }
    }

    fn require_block(&self, command: &str) -> Result<()> {
        match self.block {
            BlockState::Block | BlockState::BlockFailed => Ok(()),
            BlockState::Idle | BlockState::Implicit | BlockState::ImplicitFailed => Err(SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{command} can only be used in transaction blocks"),
            )),
        }
    }

    pub(crate) fn savepoint(&mut self, name: &str) -> Result<()> {
        self.require_block("SAVEPOINT")?;
        let settings = self.shared.settings.lock().clone();
        let open = self.open.as_mut().expect("a block has a transaction");
        open.savepoints.push(NamedSavepoint {
            name: name.to_owned(),
            point: open.txn.savepoint(),
            schema_changes: open.schema_changes.clone(),
            settings: (settings, open.settings_session.clone()),
            row_deltas: open.row_deltas.len(),
            deferred: open.deferred.lock().clone(),
        });
        Ok(())
    }

    pub(crate) fn release_savepoint(&mut self, name: &str) -> Result<()> {
        self.require_block("RELEASE SAVEPOINT")?;
        let position = self.find_savepoint(name)?;
        let open = self.open.as_mut().expect("a block has a transaction");
        open.savepoints.truncate(position);
        Ok(())
    }

    pub(crate) fn rollback_to_savepoint(&mut self, name: &str) -> Result<()> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let position = self.find_savepoint(name)?;
        let open = self.open.as_mut().expect("a block has a transaction");
        let savepoint = &open.savepoints[position];
        open.txn.rollback_to(&savepoint.point).map_err(sql_error)?;
        open.schema_changes = savepoint.schema_changes.clone();
        open.row_deltas.truncate(savepoint.row_deltas);
        *open.deferred.lock() = savepoint.deferred.clone();
        open.settings_session = savepoint.settings.1.clone();
        let settings = savepoint.settings.0.clone();
        open.savepoints.truncate(position + 1);
        self.restore_settings(settings);
        self.block = BlockState::Block;
        self.portals.retain(|_, portal| portal.outlives_transaction());
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        let savepoints = self.open.as_ref().map_or(&[][..], |open| &open.savepoints[..]);
        savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_SAVEPOINT_SPECIFICATION,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }

    /// SET TRANSACTION.
    pub(crate) fn set_transaction(&mut self, modes: Modes) -> Result<()> {
        let Some(open) = &self.open else {
            self.notice(
                NoticeLevel::Warning,
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
            );
            return Ok(());
        };
        if modes.isolation.is_some() && open.used {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            ));
        }
        if modes.read_only == Some(false) && open.read_only && open.used {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "transaction read-write mode must be set before any query",
            ));
        }
        if let Some(read_only) = modes.read_only
            && let Some(open) = &mut self.open
        {
            open.read_only = read_only;
        }
        Ok(())
    }

    /// Notes uncommitted schema changes.
    pub(crate) fn change_schema(&mut self, id: Oid, change: Option<Descriptor>) -> Result<()> {
        let published = self.services.catalog.current();
        let current = self.catalog_snapshot();
        if let Some(Descriptor::Table(_)) = change
            && !published.tables.contains_key(&id)
        {
            // Other nodes may hear of it before this one hears of its commit: their changes must wait for that.
            self.services.locks.try_lock(self.id, id, TableLockMode::Exclusive);
        }
        let open =
            self.open.as_mut().ok_or_else(|| SqlError::internal("schema change outside a transaction"))?;
        let mut next = CatalogSnapshot::clone(&current);
        apply(&mut next, id, &change);
        let mut changes = open.schema_changes.take().map_or_else(Vec::new, |changes| changes.changes);
        changes.push((id, change));
        let applied = Mutex::new((published, Arc::new(next)));
        open.schema_changes = Some(SchemaChanges { changes, applied });
        Ok(())
    }
}
