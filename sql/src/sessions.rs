//! The clients' sessions of this node: what they do, and how to stop them.

use std::{collections::BTreeMap, sync::Arc};

use basalt_types::Oid;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Cancel, output::Signal};

/// What a session does, as `pg_stat_activity` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Active,
    Idle,
    InTransaction,
    InFailedTransaction,
}

impl SessionState {
    pub const ALL: [Self; 4] = [Self::Active, Self::Idle, Self::InTransaction, Self::InFailedTransaction];

    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::InTransaction => "idle in transaction",
            Self::InFailedTransaction => "idle in transaction (aborted)",
        }
    }
}

/// A row of `pg_stat_activity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    pub pid: i32,
    pub user: String,
    pub database: Oid,
    pub database_name: String,
    pub application_name: String,
    pub client: Option<String>,
    pub backend_start_micros: i64,
    pub query_start_micros: i64,
    pub state: SessionState,
    pub query: String,
}

struct Known {
    activity: Activity,
    cancel: Arc<dyn Cancel>,
}

/// See the module's documentation. Sessions are known by the id that owns their table locks.
#[derive(Default)]
pub struct Sessions {
    by_id: Mutex<BTreeMap<u64, Known>>,
    left: Notify,
}

impl Sessions {
    pub fn enter(&self, id: u64, activity: Activity, cancel: Arc<dyn Cancel>) {
        self.by_id.lock().insert(id, Known { activity, cancel });
    }

    pub fn leave(&self, id: u64) {
        let left = self.by_id.lock().remove(&id);
        drop(left);
        self.left.notify_waiters();
    }

    pub fn update(&self, id: u64, change: impl FnOnce(&mut Activity)) {
        if let Some(known) = self.by_id.lock().get_mut(&id) {
            change(&mut known.activity);
        }
    }

    pub fn all(&self) -> Vec<Activity> {
        self.by_id.lock().values().map(|known| known.activity.clone()).collect()
    }

    /// The process id of the session with this id.
    pub fn pid_of(&self, id: u64) -> Option<i32> {
        self.by_id.lock().get(&id).map(|known| known.activity.pid)
    }

    pub fn has_pid(&self, pid: i32) -> bool {
        self.by_id.lock().values().any(|known| known.activity.pid == pid)
    }

    /// Stops the session's statement, or the session; false when there is no such session.
    pub fn signal(&self, pid: i32, signal: Signal) -> bool {
        self.signal_where(signal, |activity| activity.pid == pid) > 0
    }

    /// The same for all sessions of a kind; says how many there were.
    pub fn signal_where(&self, signal: Signal, is_meant: impl Fn(&Activity) -> bool) -> usize {
        let sessions = self.by_id.lock();
        let meant: Vec<_> = sessions.values().filter(|known| is_meant(&known.activity)).collect();
        meant.iter().for_each(|known| known.cancel.signal(signal));
        meant.len()
    }

    /// Sessions that are connected to the database.
    pub fn users_of(&self, database: Oid) -> usize {
        self.by_id.lock().values().filter(|known| known.activity.database == database).count()
    }

    /// Completes when nobody is connected to the database.
    pub async fn until_unused(&self, database: Oid) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.users_of(database) == 0 {
                return;
            }
            left.await;
        }
    }
}
