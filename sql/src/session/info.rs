//! What functions learn of the session.

use std::{collections::BTreeMap, sync::Arc};

use basalt_functions::SessionInfo;
use basalt_types::{Datum, Oid, Result, SqlError, SqlState};
use parking_lot::Mutex;

use super::{interrupts::Interrupts, settings::Settings};
use crate::{
    Notice, NoticeLevel,
    catalog::{CatalogView, Database},
    catalog_functions,
    services::SqlServices,
};

/// The part of a session that running statements share with it.
pub struct SessionShared {
    pub services: Arc<SqlServices>,
    pub user: Arc<str>,
    pub database: Arc<Database>,
    pub pid: i32,
    pub interrupts: Arc<Interrupts>,
    pub settings: Mutex<Arc<Settings>>,
    /// What `currval` and `lastval` give.
    pub sequence_values: Mutex<SequenceValues>,
    /// The catalog as the session last looked at it.
    pub view: Mutex<Option<Arc<CatalogView>>>,
    /// What statements have to say beside their results.
    pub notices: Mutex<Vec<Notice>>,
}

/// Values of sequences as this session last saw them.
#[derive(Default)]
pub struct SequenceValues {
    pub current: BTreeMap<Oid, i64>,
    /// The sequence that `nextval` was last called for.
    pub last: Option<Oid>,
}

impl SessionShared {
    /// Warns the client, behind the statement that runs.
    pub fn warn(&self, message: String) {
        let content = SqlError::new(SqlState::WARNING, message);
        self.notices.lock().push(Notice { level: NoticeLevel::Warning, content });
    }

    /// Remembers a value that `nextval` gave or `setval` set.
    pub fn note_sequence(&self, sequence: Oid, value: i64, given: bool) {
        let mut values = self.sequence_values.lock();
        values.current.insert(sequence, value);
        if given {
            values.last = Some(sequence);
        }
    }

    /// The view of the statement that runs.
    pub fn catalog_view(&self) -> Result<Arc<CatalogView>> {
        let view = self.view.lock().clone();
        view.ok_or_else(|| SqlError::internal("no catalog view outside a statement"))
    }
}

impl SessionInfo for SessionShared {
    fn setting(&self, name: &str) -> Option<String> {
        self.settings.lock().get(name)
    }

    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String> {
        if local {
            return Err(SqlError::not_supported("set_config with is_local"));
        }
        let set = Arc::make_mut(&mut self.settings.lock()).set(name, value)?;
        if set.0 == "search_path" {
            *self.view.lock() = None;
        }
        Ok(set.1)
    }

    fn current_user(&self) -> String {
        self.user.to_string()
    }

    fn session_user(&self) -> String {
        self.user.to_string()
    }

    fn current_database(&self) -> String {
        self.database.name.clone()
    }

    fn current_schemas(&self, implicit: bool) -> Vec<String> {
        let Ok(view) = self.catalog_view() else { return Vec::new() };
        let schemas = if implicit { view.searched_schemas() } else { view.search_path.clone() };
        schemas.into_iter().filter_map(|id| view.schema_name(id).map(str::to_owned)).collect()
    }

    fn backend_pid(&self) -> i32 {
        self.pid
    }

    fn random_u64(&self) -> u64 {
        self.services.env.rng.next_u64()
    }

    fn clock_micros(&self) -> i64 {
        self.services.now_micros()
    }

    fn check_interrupts(&self) -> Result<()> {
        self.interrupts.check()
    }

    fn catalog_function(&self, name: &str, args: &[Datum]) -> Option<Result<Datum>> {
        let view = match self.catalog_view() {
            Ok(view) => view,
            Err(error) => return Some(Err(error)),
        };
        catalog_functions::call(self, &view, name, args)
    }

    fn resolve_reg(&self, reg_type: Oid, text: &str) -> Result<Oid> {
        catalog_functions::resolve_reg(&*self.catalog_view()?, reg_type, text)
    }

    fn reg_name(&self, reg_type: Oid, oid: Oid) -> Option<String> {
        catalog_functions::reg_name(&*self.catalog_view().ok()?, reg_type, oid)
    }

    fn last_value(&self) -> Option<i64> {
        let values = self.sequence_values.lock();
        values.last.and_then(|sequence| values.current.get(&sequence).copied())
    }
}

/// `42704`: a reg* literal names nothing.
pub(crate) fn undefined(kind: &str, name: &str) -> SqlError {
    let sqlstate = if kind == "relation" { SqlState::UNDEFINED_TABLE } else { SqlState::UNDEFINED_OBJECT };
    SqlError::new(sqlstate, format!("{kind} \"{name}\" does not exist"))
}
