//! What ends a running statement: its client, or its deadline.
//!
//! A statement that waits hears both at once (see `with_deadline`). One that computes hears them when it looks, and it
//! looks in one place: so the deadline is kept where the client's wish is, and the node's session with the cluster, too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_env::BoxFuture;
use basalt_types::{Result, SqlError, SqlState};
use parking_lot::Mutex;

use crate::{
    Cancel,
    cluster::{self, rows::Identity},
    services::SqlServices,
};

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A session's, of whichever statement it runs.
pub struct Interrupts {
    client: Arc<dyn Cancel>,
    services: Arc<SqlServices>,
    /// Under which the transaction runs, on a node among others.
    member: Mutex<Option<Identity>>,
    /// When the statement times out, in microseconds of the monotonic clock.
    deadline: AtomicU64,
}

impl Interrupts {
    pub fn new(client: Arc<dyn Cancel>, services: Arc<SqlServices>) -> Self {
        Self { client, services, member: Mutex::default(), deadline: AtomicU64::new(NEVER) }
    }

    /// From now on statements run under this session of the node.
    pub(crate) fn run_under(&self, member: Option<Identity>) {
        *self.member.lock() = member;
    }

    /// A node that the others may take for dead must not go on reading.
    fn check_member(&self) -> Result<()> {
        let Some(cluster) = &self.services.cluster else { return Ok(()) };
        let Some(member) = *self.member.lock() else { return Ok(()) };
        let now = self.services.client.now().map_err(crate::error::sql_error)?;
        if cluster.is_valid(member, now) { Ok(()) } else { Err(cluster::lost()) }
    }

    /// Gives a statement so many milliseconds (0: as many as it likes), until the guard is dropped. Of a statement and
    /// the one that it runs (EXECUTE, EXPLAIN), the earlier deadline counts.
    pub(super) fn begin(self: &Arc<Self>, timeout_ms: u64) -> Deadline {
        let before = self.deadline.load(Ordering::Relaxed);
        let own =
            if timeout_ms == 0 { NEVER } else { self.now().saturating_add(timeout_ms.saturating_mul(1_000)) };
        let at = own.min(before);
        self.deadline.store(at, Ordering::Relaxed);
        Deadline { interrupts: self.clone(), before, at }
    }

    /// Fails when the statement should stop. A few loads while it has time.
    pub fn check(&self) -> Result<()> {
        self.client.check()?;
        let deadline = self.deadline.load(Ordering::Relaxed);
        if deadline != NEVER && self.now() >= deadline { Err(timed_out()) } else { Ok(()) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.services.env.clock.monotonic().as_micros()).unwrap_or(NEVER)
    }
}

impl Cancel for Interrupts {
    fn check(&self) -> Result<()> {
        self.check_member()?;
        Self::check(self)
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        self.client.cancelled()
    }
}

/// Of one statement; see [`Interrupts::begin`].
pub(crate) struct Deadline {
    interrupts: Arc<Interrupts>,
    before: u64,
    at: u64,
}

impl Deadline {
    /// Completes with the error when the statement should stop.
    pub(super) async fn interrupted(&self) -> SqlError {
        if self.at == NEVER {
            return self.interrupts.cancelled().await;
        }
        let left = Duration::from_micros(self.at.saturating_sub(self.interrupts.now()));
        tokio::select! {
            biased;
            error = self.interrupts.cancelled() => error,
            () = self.interrupts.services.env.spawner.sleep(left) => timed_out(),
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.interrupts.deadline.store(self.before, Ordering::Relaxed);
    }
}

fn timed_out() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}
