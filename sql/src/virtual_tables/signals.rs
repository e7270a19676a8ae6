//! `pg_cancel_backend` and `pg_terminate_backend`: stopping another session, wherever it is.
//!
//! As in PostgreSQL, what is told is whether there was somebody to be stopped: a statement that is cancelled may have ended
//! by itself, and a session takes its time to end. With a time-out, `pg_terminate_backend` waits for that.

use std::time::Duration;

use basalt_types::{Datum, Result, SqlError, SqlState};

use super::SessionTables;
use crate::{
    Signal,
    others::ask::{self, Signalled},
};

/// Between looks at whether a session has ended.
const LOOK: Duration = Duration::from_millis(100);

impl SessionTables {
    pub(super) async fn signal(&self, signal: Signal, args: &[Datum]) -> Result<Datum> {
        let (pid, timeout) = match args {
            [Datum::Int4(pid)] => (*pid, 0),
            [Datum::Int4(pid), Datum::Int8(timeout)] => (*pid, *timeout),
            _ => return Err(SqlError::internal("a signal to no process")),
        };
        let timeout = u64::try_from(timeout).map_err(|_| {
            SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "\"timeout\" must not be negative")
        })?;
        let signalled = ask::signal(&self.session.services, pid, signal).await;
        // It may be this session that was meant.
        self.session.interrupts.check()?;
        match signalled {
            Signalled::Done if timeout == 0 => Ok(Datum::Bool(true)),
            Signalled::Done => self.until_gone(pid, timeout).await.map(Datum::Bool),
            Signalled::NoSession => {
                self.session.warn(format!("PID {pid} is not a PostgreSQL backend process"));
                Ok(Datum::Bool(false))
            }
            Signalled::Silent(node) => {
                let message = format!("could not send signal to process {pid}: node {node} does not answer");
                self.session.warn(message);
                Ok(Datum::Bool(false))
            }
        }
    }

    async fn until_gone(&self, pid: i32, timeout: u64) -> Result<bool> {
        let (services, interrupts) = (&self.session.services, &self.session.interrupts);
        let deadline = services.env.clock.monotonic().saturating_add(Duration::from_millis(timeout));
        // A node that does not answer may have ended with its sessions, or not.
        while ask::is_there(services, pid).await != Signalled::NoSession {
            let left = deadline.saturating_sub(services.env.clock.monotonic());
            if left.is_zero() {
                let unit = if timeout == 1 { "millisecond" } else { "milliseconds" };
                let session = &self.session;
                session.warn(format!("backend with PID {pid} did not terminate within {timeout} {unit}"));
                return Ok(false);
            }
            services.env.spawner.sleep(left.min(LOOK)).await;
            interrupts.check()?;
        }
        Ok(true)
    }
}
