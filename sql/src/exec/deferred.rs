//! Checks of foreign keys that wait for the end of the transaction.
//!
//! A savepoint keeps the checks that waited when it was made: running them (SET CONSTRAINTS) and going back to the
//! savepoint makes them wait again, because what they would have found wrong then may be wrong again. So the checks form
//! a list that savepoints share: keeping it costs nothing, however long it is.

use std::{collections::BTreeMap, sync::Arc};

use basalt_planner::catalog::ReferentialAction;
use basalt_types::{Oid, Result, SqlError, SqlState};

use super::referential::Consequence;

/// Deferred checks that a transaction may have waiting.
const WAITING_MAX: usize = 2_000_000;

/// The checks that wait, and what SET CONSTRAINTS has said. Clones are what savepoints go back to.
#[derive(Clone, Debug, Default)]
pub struct Deferred {
    newest: Option<Arc<Segment>>,
    all: Option<bool>,
    by_name: Arc<BTreeMap<String, bool>>,
}

/// The checks between two savepoints.
#[derive(Debug)]
struct Segment {
    checks: Vec<Consequence>,
    before: Option<Arc<Segment>>,
    /// Checks here and before.
    total: usize,
}

impl Drop for Segment {
    /// One after the other: a transaction may have so many savepoints that recursion would not end well.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(segment) = next {
            next = Arc::try_unwrap(segment).ok().and_then(|mut own| own.before.take());
        }
    }
}

impl Deferred {
    pub(crate) fn defers(&self, check: &Consequence) -> bool {
        let key = &check.reference().key;
        let action = match check {
            Consequence::Refers(..) => ReferentialAction::NoAction,
            Consequence::Gone { new: Some(_), .. } => key.on_update,
            Consequence::Gone { new: None, .. } => key.on_delete,
        };
        if !key.deferrable || action == ReferentialAction::Restrict {
            return false;
        }
        self.by_name.get(&key.name).copied().or(self.all).unwrap_or(key.initially_deferred)
    }

    fn len(&self) -> usize {
        self.newest.as_ref().map_or(0, |segment| segment.total)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn add(&mut self, checks: Vec<Consequence>) -> Result<()> {
        let total = self.len() + checks.len();
        if total > WAITING_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "too many deferred checks of foreign keys",
            )
            .with_hint("Use SET CONSTRAINTS ALL IMMEDIATE from time to time."));
        }
        if checks.is_empty() {
            return Ok(());
        }
        match self.newest.as_mut().and_then(Arc::get_mut) {
            Some(own) => {
                own.checks.extend(checks);
                own.total = total;
            }
            None => {
                let before = self.newest.take();
                self.newest = Some(Arc::new(Segment { checks, before, total }));
            }
        }
        Ok(())
    }

    /// SET CONSTRAINTS; no names mean all.
    pub fn set(&mut self, names: &[String], deferred: bool) {
        if names.is_empty() {
            self.all = Some(deferred);
            self.by_name = Arc::default();
        }
        for name in names {
            Arc::make_mut(&mut self.by_name).insert(name.clone(), deferred);
        }
    }

    /// Takes the checks that are to run now: all at the end, or those no longer deferred.
    pub fn take(&mut self, all: bool) -> Vec<Consequence> {
        let mut segments = Vec::new();
        let mut next = self.newest.take();
        while let Some(segment) = next {
            match Arc::try_unwrap(segment) {
                Ok(mut own) => {
                    next = own.before.take();
                    segments.push(std::mem::take(&mut own.checks));
                }
                Err(shared) => {
                    next = shared.before.clone();
                    segments.push(shared.checks.clone());
                }
            }
        }
        let waiting = segments.into_iter().rev().flatten();
        if all {
            return waiting.collect();
        }
        let (checks, due): (Vec<_>, Vec<_>) = waiting.partition(|check| self.defers(check));
        if !checks.is_empty() {
            self.newest = Some(Arc::new(Segment { total: checks.len(), checks, before: None }));
        }
        due
    }

    /// Whether a check waits because of a change of this table's rows.
    pub fn concerns(&self, table: Oid) -> bool {
        let mut next = self.newest.as_ref();
        while let Some(segment) = next {
            if segment.checks.iter().any(|check| check.changed_table() == table) {
                return true;
            }
            next = segment.before.as_ref();
        }
        false
    }
}
