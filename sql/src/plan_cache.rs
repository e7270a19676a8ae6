//! Plans by statement text.
//!
//! A plan depends on the text, the declared parameter types, the database, the search path and the user, and on the
//! versions of the descriptors it names. The first are the key; the last are checked on every use.

use std::{collections::BTreeMap, sync::Arc};

use basalt_planner::Planned;
use basalt_types::Oid;
use parking_lot::Mutex;

use crate::catalog::CatalogSnapshot;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanKey {
    pub text: Arc<str>,
    pub params: Vec<Oid>,
    pub database: Oid,
    pub search_path: Arc<[Oid]>,
    pub user: Arc<str>,
}

/// Bounded; when full, everything goes (plans are cheap to make again).
pub struct PlanCache {
    entries_max: usize,
    plans: Mutex<BTreeMap<PlanKey, Arc<Planned>>>,
}

impl PlanCache {
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, plans: Mutex::default() }
    }

    pub fn get(&self, key: &PlanKey, snapshot: &CatalogSnapshot) -> Option<Arc<Planned>> {
        let planned = self.plans.lock().get(key).cloned()?;
        is_current(&planned, snapshot).then_some(planned)
    }

    pub fn put(&self, key: PlanKey, planned: Arc<Planned>) {
        if !planned.cacheable {
            return;
        }
        let mut plans = self.plans.lock();
        if plans.len() >= self.entries_max {
            plans.clear();
        }
        plans.insert(key, planned);
    }
}

/// Whether every descriptor the plan names is still at the version it was planned with.
pub fn is_current(planned: &Planned, snapshot: &CatalogSnapshot) -> bool {
    planned.dependencies.iter().all(|(id, version)| {
        // Virtual tables never change and are not in the snapshot.
        id.0 < crate::catalog::FIRST_USER_OID
            || snapshot.tables.get(id).is_some_and(|table| table.version == *version)
    })
}
