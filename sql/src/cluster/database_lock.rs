//! The lock of a database, for who drops it: nobody is connected to it, and nobody connects, on any node.
//!
//! It is a table lock under the database's id, so it ends as those do, whatever becomes of the one who drops. A session
//! holds it, shared, for the moment in which it makes itself known ([`Session::connect`](crate::Session::connect)); so
//! whoever has it exclusively sees all sessions there are, and there will be no more. Another node says that it holds the
//! lock when it has none left.
//!
//! As in PostgreSQL, sessions have five seconds to leave. Whether any is there is what the others' locks say; how many,
//! for the client, they are asked.

use std::{sync::Arc, time::Duration};

use basalt_types::{Result, SqlError, SqlState};

use super::{Member, table_lock, wait};
use crate::{
    Cancel,
    catalog::Database,
    locks::{Owner, TableLockMode, WAIT_MAX, timed_out},
    others::ask,
    services::SqlServices,
};

/// For how long sessions are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between looks after that, at whether it is sessions or a node that is silent which keeps the lock from being granted.
const LOOK: Duration = Duration::from_secs(1);

/// Who waits for the lock, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Wait<'a> {
    pub owner: Owner,
    /// For others who drop the same database, and those who connect just now.
    pub timeout: Option<Duration>,
    pub cancel: &'a dyn Cancel,
}

/// Takes the lock, on all nodes if there are others.
pub(super) async fn lock(
    services: &Arc<SqlServices>,
    others: Option<&Member>,
    database: &Database,
    wait: Wait<'_>,
) -> Result<()> {
    let (owner, id) = (wait.owner, database.id);
    let begun = async {
        match others {
            Some(member) => {
                let begun = table_lock::begin(services, member, owner, id, wait.timeout, wait.cancel);
                begun.await.map(Some)
            }
            None => {
                let (locks, exclusive) = (&services.locks, TableLockMode::Exclusive);
                locks
                    .lock(&services.env, owner, id, exclusive, wait.timeout, wait.cancel)
                    .await
                    .map(|()| None)
            }
        }
    };
    let begun = tokio::select! {
        biased;
        begun = begun => begun?,
        error = wait.cancel.cancelled() => return Err(error),
        () = services.env.spawner.sleep(wait.timeout.unwrap_or(WAIT_MAX)) => {
            return Err(timed_out(wait.timeout));
        }
    };
    let unused = async {
        services.sessions.until_unused(id).await;
        match (others, begun) {
            (Some(member), Some((lock, identity))) => wait::all_hold(services, member, identity, lock).await,
            _ => Ok(()),
        }
    };
    let mut unused = std::pin::pin!(unused);
    let clock = &services.env.clock;
    let (began, mut pause) = (clock.monotonic(), PATIENCE);
    loop {
        tokio::select! {
            biased;
            unused = &mut unused => return unused,
            error = wait.cancel.cancelled() => return Err(error),
            () = services.env.spawner.sleep(pause) => {}
        }
        let sessions = ask::sessions(services).await.given;
        let users = sessions.iter().filter(|session| session.database == id).count();
        // A node that is silent is waited for until its session has expired, as by every schema change.
        if users > 0 || clock.monotonic().saturating_sub(began) > WAIT_MAX {
            return Err(is_used(&database.name, users));
        }
        pause = LOOK;
    }
}

fn is_used(database: &str, users: usize) -> SqlError {
    let message = format!("database \"{database}\" is being accessed by other users");
    let error = SqlError::new(SqlState::OBJECT_IN_USE, message);
    match users {
        0 => error,
        1 => error.with_detail("There is 1 other session using the database."),
        users => error.with_detail(format!("There are {users} other sessions using the database.")),
    }
}
