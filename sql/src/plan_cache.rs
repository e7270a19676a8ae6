//! Plans by statement text.
//!
//! A plan depends on the text, the declared parameter types, the database, the search path, the user and the time zone
//! (literals of dates and times are read when it is made), and on the versions of the descriptors it names. The first
//! are the key; the last are checked on every use, and so are the tables' sizes: one that has been filled or analyzed
//! since deserves another plan.
//!
//! A plan is kept the second time its statement is seen: programs that write their values into the text send every
//! text once, and would push out those that come again.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use basalt_planner::Planned;
use basalt_types::{Oid, TimeZone};
use parking_lot::Mutex;

use crate::catalog::CatalogSnapshot;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlanKey {
    pub text: Arc<str>,
    pub params: Vec<Oid>,
    pub database: Oid,
    pub search_path: Arc<[Oid]>,
    pub user: Arc<str>,
    pub time_zone: TimeZone,
}

/// Bounded; when full, everything goes (plans are cheap to make again).
pub struct PlanCache {
    entries_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By hash; two keys with one hash displace each other.
    plans: BTreeMap<u64, (PlanKey, Arc<Planned>)>,
    /// Hashes of keys seen once.
    seen: BTreeSet<u64>,
}

impl PlanCache {
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, state: Mutex::default() }
    }

    pub fn get(&self, key: &PlanKey, snapshot: &CatalogSnapshot) -> Option<Arc<Planned>> {
        let hash = hash_of(key);
        let planned = {
            let state = self.state.lock();
            let (known, planned) = state.plans.get(&hash)?;
            (known == key).then(|| planned.clone())?
        };
        is_current(&planned, snapshot).then_some(planned)
    }

    pub fn put(&self, key: PlanKey, planned: Arc<Planned>) {
        if !planned.cacheable {
            return;
        }
        let hash = hash_of(&key);
        let mut state = self.state.lock();
        if state.seen.len() >= SEEN_PER_ENTRY * self.entries_max {
            state.seen.clear();
        }
        if state.seen.insert(hash) {
            return;
        }
        if state.plans.len() >= self.entries_max {
            state.plans.clear();
        }
        state.plans.insert(hash, (key, planned));
    }
}

/// Of such tables any plan is good.
const SMALL_TABLE_ROWS: f64 = 1_000.0;
/// A plan is made again when a table has become so many times larger or smaller.
const GROWTH_MAX: f64 = 4.0;
/// Statements remembered as seen once, for each plan kept.
const SEEN_PER_ENTRY: usize = 4;

fn hash_of(key: &PlanKey) -> u64 {
    // Without a seed: the same statements keep the same plans in every run.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Whether every descriptor the plan names is still at the version it was planned with, and about as large.
pub fn is_current(planned: &Planned, snapshot: &CatalogSnapshot) -> bool {
    planned.dependencies.iter().all(|on| {
        // Virtual tables never change and are not in the snapshot.
        on.table.0 < crate::catalog::FIRST_USER_OID
            || snapshot
                .tables
                .get(&on.table)
                .is_some_and(|table| table.version == on.version && are_alike(table.row_estimate, on.rows))
    })
}

/// Whether a plan for so many rows serves for so many.
fn are_alike(now: Option<f64>, then: Option<f64>) -> bool {
    let floored = |rows: Option<f64>| rows.unwrap_or(0.0).max(SMALL_TABLE_ROWS);
    let (now, then) = (floored(now), floored(then));
    now.max(then) <= GROWTH_MAX * now.min(then)
}
