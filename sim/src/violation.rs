//! What a run found wrong.

use std::sync::Arc;

use parking_lot::Mutex;

/// Findings of a run, in the order of their discovery. Clones share them.
#[derive(Clone, Default)]
pub struct Violations {
    found: Arc<Mutex<Vec<String>>>,
}

/// A broken store repeats itself.
const KEPT_MAX: usize = 20;

impl Violations {
    pub fn report(&self, what: impl Into<String>) {
        let mut found = self.found.lock();
        let what = what.into();
        if found.len() < KEPT_MAX && !found.contains(&what) {
            found.push(what);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.lock().is_empty()
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.found.lock())
    }
}
