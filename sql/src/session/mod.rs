//! A client's session: settings, prepared statements, portals, and the transaction block.

mod as_of;
mod bind;
mod copy;
mod copy_format;
mod cursor;
mod date_style;
mod explain;
mod info;
mod interrupts;
mod run;
pub mod settings;
mod simple;
mod stored_cursor;
mod transaction;
mod utility;

use std::{collections::BTreeMap, sync::Arc};

use basalt_planner::{Planned, parse::ParsedStatement};
use basalt_types::{Result, SqlError, SqlState};
use parking_lot::Mutex;

pub use bind::{Portal, Prepared};
pub(crate) use info::undefined as undefined_object;
pub use info::{SequenceValues, SessionShared};
pub use interrupts::Interrupts;
pub(crate) use run::is_retryable;
pub use transaction::BlockState;
pub(crate) use transaction::{Modes, SchemaChanges};

use crate::{
    Cancel, Notice,
    catalog::{CatalogSnapshot, CatalogView, Database},
    jobs::PendingJob,
    locks::TableLockMode,
    output::NoticeLevel,
    services::SqlServices,
    session::{settings::Settings, transaction::OpenTransaction},
    sessions::{Activity, SessionState},
};

/// Who connects, and to what.
#[derive(Clone)]
pub struct ConnectInfo {
    pub user: String,
    pub database: String,
    pub application_name: String,
    /// Session defaults, in order.
    pub options: Vec<(String, String)>,
    pub client: Option<String>,
    pub pid: i32,
    pub cancel: Arc<dyn Cancel>,
}

/// One session, driven by one task.
pub struct Session {
    pub(crate) services: Arc<SqlServices>,
    pub(crate) shared: Arc<SessionShared>,
    /// Owns this session's table locks.
    pub(crate) id: u64,
    pub(crate) database: Arc<Database>,
    pub(crate) cancel: Arc<Interrupts>,
    pub(crate) block: BlockState,
    pub(crate) open: Option<OpenTransaction>,
    pub(crate) statements: BTreeMap<String, Arc<Prepared>>,
    pub(crate) portals: BTreeMap<String, Portal>,
    /// Cursors whose rows are kept.
    pub(crate) cursors: BTreeMap<String, stored_cursor::StoredCursor>,
    pub(crate) notices: Vec<Notice>,
    /// A job that the running statement has begun, and waits for when it has committed.
    pub(crate) begun_job: Option<PendingJob>,
    /// The session has made its schema of temporary tables (which a rollback may have undone).
    pub(crate) has_temporary: bool,
    /// Reported settings as the client knows them, and the settings they come from.
    reported: Vec<(&'static str, String)>,
    reported_of: Arc<Settings>,
}

impl Session {
    /// Opens a session as [`Self::connect`] does. If the database is being dropped, waits for what becomes of that.
    pub async fn open(services: Arc<SqlServices>, info: ConnectInfo) -> Result<Self> {
        loop {
            let opened = Self::connect(services.clone(), info.clone());
            let error = match opened {
                Err(error) if error.sqlstate() == SqlState::OBJECT_IN_USE => error,
                opened => return opened,
            };
            let database = services.catalog.current().database_named(&info.database).map(|found| found.id);
            let Some(database) = database else { continue };
            let (locks, waiter) = (&services.locks, services.next_session_id());
            let shared = TableLockMode::Shared;
            let locked = locks.lock(&services.env, waiter, database, shared, None, &*info.cancel).await;
            locks.release_all(waiter);
            if let Err(stopped) = locked {
                let gave_up = stopped.sqlstate() == SqlState::DEADLOCK_DETECTED;
                return Err(if gave_up { error } else { stopped });
            }
        }
    }

    /// Opens a session; `3D000` for an unknown database, `28000` for an unknown user, `55006` for a database that is being
    /// dropped.
    pub fn connect(services: Arc<SqlServices>, info: ConnectInfo) -> Result<Self> {
        let snapshot = services.catalog.current();
        let database = snapshot.database_named(&info.database).cloned().ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{}\" does not exist", info.database),
            )
        })?;
        if info.user != "postgres" {
            return Err(SqlError::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                format!("role \"{}\" does not exist", info.user),
            ));
        }
        let mut settings = Settings::default();
        settings.set_default("application_name", &info.application_name)?;
        for (name, value) in &info.options {
            settings.set_default(name, value)?;
        }
        settings.set_read_only("session_authorization", &info.user);
        let id = services.next_session_id();
        let now = services.now_micros();
        let activity = Activity {
            pid: info.pid,
            user: info.user.clone(),
            database: database.id,
            database_name: database.name.clone(),
            application_name: info.application_name.clone(),
            client: info.client.clone(),
            backend_start_micros: now,
            query_start_micros: now,
            state: SessionState::Idle,
            query: String::new(),
        };
        enter(&services, id, &database, activity, &info.cancel)?;
        let reported = settings.reported();
        let settings = Arc::new(settings);
        let reported_of = settings.clone();
        let cancel = Arc::new(Interrupts::new(info.cancel, services.clone()));
        let shared = SessionShared {
            services: services.clone(),
            user: info.user.into(),
            database: database.clone(),
            pid: info.pid,
            interrupts: cancel.clone(),
            settings: Mutex::new(settings),
            sequence_values: Mutex::default(),
            view: Mutex::new(None),
            notices: Mutex::default(),
        };
        Ok(Self {
            services,
            shared: Arc::new(shared),
            id,
            database,
            cancel,
            block: BlockState::Idle,
            open: None,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            cursors: BTreeMap::new(),
            notices: Vec::new(),
            begun_job: None,
            has_temporary: false,
            reported,
            reported_of,
        })
    }

    /// Settings that the client is told at start.
    pub fn reported_settings(&self) -> Vec<(String, String)> {
        self.reported.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Reported settings that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        let settings = self.shared.settings.lock().clone();
        // Settings are copied when they change, so the same ones say the same.
        if Arc::ptr_eq(&settings, &self.reported_of) {
            return Vec::new();
        }
        let now = settings.reported();
        self.reported_of = settings;
        if now == self.reported {
            return Vec::new();
        }
        let changes = now.iter().zip(&self.reported).filter(|(new, old)| new.1 != old.1);
        let changes = changes.map(|(new, _)| (new.0.to_owned(), new.1.clone())).collect();
        self.reported = now;
        changes
    }

    /// Where the transaction block stands.
    pub fn block_state(&self) -> BlockState {
        self.block
    }

    /// What running statements share with the session: the settings among it.
    pub fn shared(&self) -> &Arc<SessionShared> {
        &self.shared
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.append(&mut self.shared.notices.lock());
        notices
    }

    pub(crate) fn notice(&mut self, level: NoticeLevel, sqlstate: SqlState, message: impl Into<String>) {
        self.notices.push(Notice { level, content: SqlError::new(sqlstate, message) });
    }

    /// The catalog as this session sees it now: its own uncommitted schema changes included.
    pub(crate) fn catalog_view(&self) -> Arc<CatalogView> {
        let snapshot = self.catalog_snapshot();
        let mut slot = self.shared.view.lock();
        if let Some(view) = &*slot
            && Arc::ptr_eq(&view.snapshot, &snapshot)
        {
            return view.clone();
        }
        let view = Arc::new(self.new_view(snapshot));
        *slot = Some(view.clone());
        view
    }

    pub(crate) fn catalog_snapshot(&self) -> Arc<CatalogSnapshot> {
        let own = self.open.as_ref().and_then(|open| open.schema_changes.as_ref());
        let current = self.services.catalog.current();
        own.map_or(current.clone(), |changes| changes.over(&current))
    }

    fn new_view(&self, snapshot: Arc<CatalogSnapshot>) -> CatalogView {
        let names = self.shared.settings.lock().search_path(&self.shared.user);
        let temporary = if self.has_temporary {
            let name = crate::ddl::temporary::schema_name(self);
            snapshot.schema_named(self.database.id, &name).map(|schema| schema.id)
        } else {
            None
        };
        let mut search_path = Vec::new();
        let mut explicit_pg_catalog = None;
        for name in names {
            if name == "pg_catalog" {
                explicit_pg_catalog = Some(search_path.len());
            } else if name == "information_schema" {
                search_path.push(crate::catalog::INFORMATION_SCHEMA);
            } else if name == "pg_temp" {
                // Searched first in any case.
            } else if let Some(schema) = snapshot.schema_named(self.database.id, &name) {
                search_path.push(schema.id);
            }
        }
        CatalogView {
            snapshot,
            database: self.database.id,
            database_name: self.database.name.clone(),
            search_path,
            explicit_pg_catalog,
            virtual_schema: self.services.virtual_schema.clone(),
            temporary,
        }
    }

    /// Forgets the cached view after a change of the search path.
    pub(crate) fn forget_view(&self) {
        *self.shared.view.lock() = None;
    }

    pub(crate) fn begin_activity(&self, query: &str) {
        let now = self.services.now_micros();
        self.services.sessions.update(self.id, |activity| {
            activity.state = SessionState::Active;
            activity.query_start_micros = now;
            activity.query.clear();
            activity.query.push_str(truncated(query, 1_024));
        });
    }

    pub(crate) fn end_activity(&self) {
        let state = match self.block {
            BlockState::Idle | BlockState::Implicit | BlockState::ImplicitFailed => SessionState::Idle,
            BlockState::Block => SessionState::InTransaction,
            BlockState::BlockFailed => SessionState::InFailedTransaction,
        };
        self.services.sessions.update(self.id, |activity| activity.state = state);
    }

    /// Rolls back and releases everything.
    pub async fn close(&mut self) {
        self.portals.clear();
        self.abort_transaction().await;
        self.drop_temporary_tables().await;
    }

    /// Drops the session's temporary tables; it must have no open transaction.
    pub(crate) async fn drop_temporary_tables(&mut self) {
        if !self.has_temporary {
            return;
        }
        let name = crate::ddl::temporary::schema_name(self);
        if let Err(error) = crate::ddl::temporary::clear(&self.services, &name).await {
            tracing::warn!(%error, "could not drop temporary tables; the next start will");
        }
        self.has_temporary = false;
        self.forget_view();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The transaction rolls back by its own drop; its table locks must not outlive the session.
        self.portals.clear();
        self.open = None;
        self.release_locks(false);
        self.services.sessions.leave(self.id);
    }
}

/// Makes the session known, unless its database is on its way out. Who drops a database has it locked first and looks for
/// sessions then, so one that has entered under the shared lock is seen.
fn enter(
    services: &SqlServices,
    id: u64,
    database: &Database,
    activity: Activity,
    cancel: &Arc<dyn Cancel>,
) -> Result<()> {
    if !services.locks.try_lock(id, database.id, TableLockMode::Shared) {
        let message = format!("database \"{}\" is being dropped", database.name);
        return Err(SqlError::new(SqlState::OBJECT_IN_USE, message));
    }
    services.sessions.enter(id, activity, cancel.clone());
    services.locks.release_all(id);
    // What was dropped before the lock was granted is gone by now.
    if services.catalog.current().databases.contains_key(&database.id) {
        return Ok(());
    }
    services.sessions.leave(id);
    let message = format!("database \"{}\" does not exist", database.name);
    Err(SqlError::new(SqlState::INVALID_CATALOG_NAME, message))
}

/// A planned or utility statement with its source.
#[derive(Clone, Debug)]
pub struct StatementPlan {
    pub parsed: Arc<ParsedStatement>,
    /// `None` for utility statements.
    pub planned: Option<Arc<Planned>>,
}

fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Settings for binding an expression that has no parameters.
pub(crate) fn plan_settings(eval: &basalt_functions::EvalContext) -> basalt_planner::PlanSettings<'_> {
    basalt_planner::PlanSettings { declared_params: &[], eval }
}
