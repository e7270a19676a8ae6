//! Table locks: what keeps a table's descriptor still while statements use it.
//!
//! Every statement takes a shared lock on the tables it names and keeps it until its transaction ends; a schema change
//! takes an exclusive one. So a statement never runs with a descriptor that a committed change has replaced, and an
//! index being built sees no concurrent writer.
//!
//! A waiting exclusive request stops new owners from taking shared locks, so that it is not starved; an owner that
//! already holds any table lock is let through, because it may be what the waiter waits for.
//! Remaining cycles (with row locks) end by a time-out.
//!
//! The locks are this node's. With several nodes a change first has every other one take the exclusive lock on its behalf:
//! see [`crate::cluster`]. There the owner is no session of this node.

use std::{collections::BTreeMap, time::Duration};

use basalt_env::Env;
use basalt_types::{Oid, Result, SqlError, SqlState};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Cancel;

/// A session, or another node's change.
pub type Owner = u64;

/// After this long a wait is taken for a deadlock, when `lock_timeout` is not set.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
struct TableState {
    shared: BTreeMap<Owner, ()>,
    exclusive: Option<Owner>,
    /// Exclusive requests waiting.
    waiting: usize,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<Oid, TableState>,
    /// Tables each owner holds, for release.
    owners: BTreeMap<Owner, Vec<Oid>>,
}

/// All table locks of a node.
#[derive(Default)]
pub struct TableLocks {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLockMode {
    Shared,
    Exclusive,
}

impl TableLocks {
    /// Takes the lock without waiting, if that is possible.
    pub fn try_lock(&self, owner: Owner, table: Oid, mode: TableLockMode) -> bool {
        self.state.lock().try_lock(owner, table, mode)
    }

    /// Takes the lock, waiting for others at most `timeout` (`55P03`), or until `cancel` says stop.
    pub async fn lock(
        &self,
        env: &Env,
        owner: Owner,
        table: Oid,
        mode: TableLockMode,
        timeout: Option<Duration>,
        cancel: &dyn Cancel,
    ) -> Result<()> {
        if self.try_lock(owner, table, mode) {
            return Ok(());
        }
        let _waiting = (mode == TableLockMode::Exclusive).then(|| Waiting::new(self, table));
        let mut deadline = env.spawner.sleep(timeout.unwrap_or(WAIT_MAX));
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.try_lock(owner, table, mode) {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = &mut released => {}
                error = cancel.cancelled() => return Err(error),
                () = &mut deadline => return Err(timed_out(timeout)),
            }
        }
    }

    /// All that `from` holds is `to`'s from now on, who holds nothing yet.
    pub fn hand_over(&self, from: Owner, to: Owner) {
        let mut state = self.state.lock();
        let Some(tables) = state.owners.remove(&from) else { return };
        for table in &tables {
            let Some(entry) = state.tables.get_mut(table) else { continue };
            if entry.shared.remove(&from).is_some() {
                entry.shared.insert(to, ());
            }
            if entry.exclusive == Some(from) {
                entry.exclusive = Some(to);
            }
        }
        state.owners.insert(to, tables);
    }

    /// Releases everything the owner holds.
    pub fn release_all(&self, owner: Owner) {
        let mut state = self.state.lock();
        let Some(tables) = state.owners.remove(&owner) else { return };
        let mut wake = false;
        for table in tables {
            if let Some(entry) = state.tables.get_mut(&table) {
                entry.shared.remove(&owner);
                if entry.exclusive == Some(owner) {
                    entry.exclusive = None;
                    wake = true;
                }
                wake |= entry.waiting > 0;
                if entry.is_free() {
                    state.tables.remove(&table);
                }
            }
        }
        drop(state);
        if wake {
            self.released.notify_waiters();
        }
    }

    /// Releases what everybody holds: nobody can do anything with it any more.
    pub fn release_everything(&self) {
        let mut state = self.state.lock();
        state.owners.clear();
        for entry in state.tables.values_mut() {
            entry.shared.clear();
            entry.exclusive = None;
        }
        state.tables.retain(|_, entry| !entry.is_free());
        drop(state);
        self.released.notify_waiters();
    }

    /// Whether the owner has the table to itself.
    pub fn holds_exclusive(&self, owner: Owner, table: Oid) -> bool {
        self.state.lock().tables.get(&table).is_some_and(|entry| entry.exclusive == Some(owner))
    }

    /// Nobody uses the table now.
    pub fn is_unlocked(&self, table: Oid) -> bool {
        !self.state.lock().tables.contains_key(&table)
    }

    /// Owner and mode of every lock, for `pg_locks`.
    pub fn list(&self) -> Vec<(Oid, Owner, TableLockMode)> {
        let state = self.state.lock();
        let mut list = Vec::new();
        for (table, entry) in &state.tables {
            list.extend(entry.shared.keys().map(|&owner| (*table, owner, TableLockMode::Shared)));
            list.extend(entry.exclusive.map(|owner| (*table, owner, TableLockMode::Exclusive)));
        }
        list
    }
}

impl State {
    fn try_lock(&mut self, owner: Owner, table: Oid, mode: TableLockMode) -> bool {
        let holds_any = self.owners.contains_key(&owner);
        let entry = self.tables.entry(table).or_default();
        let granted = match mode {
            TableLockMode::Shared => match entry.exclusive {
                Some(holder) => holder == owner,
                None => entry.shared.contains_key(&owner) || entry.waiting == 0 || holds_any,
            },
            TableLockMode::Exclusive => {
                entry.exclusive.is_none_or(|holder| holder == owner)
                    && entry.shared.keys().all(|&holder| holder == owner)
            }
        };
        if !granted {
            return false;
        }
        let held_before = entry.shared.contains_key(&owner) || entry.exclusive == Some(owner);
        match mode {
            TableLockMode::Shared => {
                entry.shared.insert(owner, ());
            }
            TableLockMode::Exclusive => entry.exclusive = Some(owner),
        }
        if !held_before {
            self.owners.entry(owner).or_default().push(table);
        }
        true
    }
}

impl TableState {
    fn is_free(&self) -> bool {
        self.shared.is_empty() && self.exclusive.is_none() && self.waiting == 0
    }
}

/// Counts a waiting exclusive request while it lives.
struct Waiting<'a> {
    locks: &'a TableLocks,
    table: Oid,
}

impl<'a> Waiting<'a> {
    fn new(locks: &'a TableLocks, table: Oid) -> Self {
        locks.state.lock().tables.entry(table).or_default().waiting += 1;
        Self { locks, table }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.locks.state.lock();
        if let Some(entry) = state.tables.get_mut(&self.table) {
            entry.waiting -= 1;
            if entry.is_free() {
                state.tables.remove(&self.table);
            }
        }
        drop(state);
        self.locks.released.notify_waiters();
    }
}

pub(crate) fn timed_out(timeout: Option<Duration>) -> SqlError {
    match timeout {
        Some(_) => SqlError::new(SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout"),
        None => SqlError::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
            .with_detail(format!("A table lock was not granted within {} seconds.", WAIT_MAX.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TableLockMode::{Exclusive, Shared};

    #[test]
    fn shared_locks_agree_and_exclude_an_exclusive_one() {
        let locks = TableLocks::default();
        assert!(locks.try_lock(1, Oid(7), Shared));
        assert!(locks.try_lock(2, Oid(7), Shared));
        assert!(!locks.try_lock(1, Oid(7), Exclusive));
        locks.release_all(2);
        assert!(locks.try_lock(1, Oid(7), Exclusive));
        assert!(!locks.try_lock(2, Oid(7), Shared));
        locks.release_all(1);
        assert!(locks.list().is_empty());
    }

    #[test]
    fn locks_that_are_handed_over_exclude_who_had_them() {
        let locks = TableLocks::default();
        assert!(locks.try_lock(1, Oid(7), Exclusive));
        assert!(locks.try_lock(1, Oid(8), Shared));
        locks.hand_over(1, 2);
        locks.release_all(1);
        assert!(!locks.try_lock(1, Oid(7), Shared));
        assert!(!locks.try_lock(1, Oid(8), Exclusive));
        assert!(locks.holds_exclusive(2, Oid(7)));
        locks.release_all(2);
        assert!(locks.list().is_empty());
    }

    #[test]
    fn a_waiting_exclusive_request_stops_newcomers_but_not_owners() {
        let locks = TableLocks::default();
        assert!(locks.try_lock(1, Oid(7), Shared));
        assert!(locks.try_lock(2, Oid(8), Shared));
        let waiting = Waiting::new(&locks, Oid(7));
        assert!(!locks.try_lock(3, Oid(7), Shared));
        assert!(locks.try_lock(2, Oid(7), Shared));
        drop(waiting);
        assert!(locks.try_lock(3, Oid(7), Shared));
    }
}
