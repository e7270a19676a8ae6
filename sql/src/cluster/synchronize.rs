//! Following what the others have done.
//!
//! The rows and the catalog are read in one transaction, so that a lock row that is gone and the descriptors that its owner
//! wrote are seen together. The descriptors are put in place first; the lock is let go of then.

use std::sync::Arc;

use basalt_base::Timestamp;
use basalt_txn::{ReadOptions, TxnConfig};
use basalt_types::{Oid, Result};

use super::{
    Member, acknowledge,
    member::{REMOTE, State},
    rows::{self, Identity, Rows},
    session,
};
use crate::{
    NeverCancel, Signal, error::sql_error, locks::TableLockMode, services::SqlServices, sessions::Activity,
};

/// How long one attempt to take a lock for another node lasts; it is then made again.
const ATTEMPT: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Reads what the others have stored, and applies it.
pub(super) async fn synchronize(services: &Arc<SqlServices>, member: &Member) -> Result<()> {
    read_and_apply(services, member, false).await
}

/// Reads the catalog in any case: a node that was alone has told nobody of its changes.
pub(super) async fn synchronize_all(services: &Arc<SqlServices>, member: &Member) -> Result<()> {
    read_and_apply(services, member, true).await
}

async fn read_and_apply(services: &Arc<SqlServices>, member: &Member, all: bool) -> Result<()> {
    let _serial = member.synchronizing.lock().await;
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let read = async {
        let known = Rows::read(&txn).await.map_err(sql_error)?;
        // The version changes with every change of the catalog that this node did not make itself.
        let loaded = if all || !member.is_at(&known.version) {
            Some(services.catalog.load(&txn).await?)
        } else {
            None
        };
        let at = txn.commit().await.map_err(sql_error)?;
        Ok((known, loaded, at))
    };
    let read: Result<_> = read.await;
    txn.rollback().await;
    let (known, loaded, at) = read?;
    let Some(own) = member.identity() else { return Err(super::member::lost()) };
    if !known.sessions.contains_key(&own) {
        session::lose(services, member);
        return Err(super::member::lost());
    }
    let (new, gone, sequences_changed) = {
        let mut state = member.state.lock();
        state.others = known.sessions.keys().any(|session| *session != own);
        let changed = state.sequences != known.sequences;
        state.sequences = known.sequences.clone();
        let (new, gone) = compare_locks(&mut state, own, &known);
        (new, gone, changed)
    };
    if sequences_changed {
        services.sequences.forget();
    }
    if let Some(loaded) = loaded {
        services.catalog.replace(loaded, at);
        end_sessions_of_dropped_databases(services);
    }
    gone.into_iter().for_each(|id| services.locks.release_all(REMOTE | id));
    for (table, id) in new {
        take(services, table, id);
    }
    let mut state = member.state.lock();
    state.version = known.version;
    state.synchronized = state.synchronized.max(at);
    drop(state);
    member.changed.notify_waiters();
    Ok(())
}

/// A node that was cut off does not keep a database from being dropped: its session has expired.
fn end_sessions_of_dropped_databases(services: &SqlServices) {
    let snapshot = services.catalog.current();
    let is_gone = |activity: &Activity| !snapshot.databases.contains_key(&activity.database);
    services.sessions.signal_where(Signal::Terminate, is_gone);
}

/// Locks of others that are new, and ids of those that are gone.
fn compare_locks(state: &mut State, own: Identity, known: &Rows) -> (Vec<(Oid, u64)>, Vec<u64>) {
    let theirs = |id: &u64| known.locks.values().any(|lock| lock.id == *id && lock.owner != own);
    let gone: Vec<u64> = state.remote.keys().copied().filter(|id| !theirs(id)).collect();
    state.remote.retain(|id, _| !gone.contains(id));
    let mut new = Vec::new();
    for (table, lock) in &known.locks {
        if lock.owner != own && !state.remote.contains_key(&lock.id) {
            state.remote.insert(lock.id, (*table, false));
            new.push((*table, lock.id));
        }
    }
    (new, gone)
}

/// Takes a lock for another node, behind the back of the caller: users of the table may need their time. What is a database
/// (their ids are never a table's) is held when nobody is connected to it, and from then on nobody connects.
fn take(services: &Arc<SqlServices>, table: Oid, id: u64) {
    let weak = Arc::downgrade(services);
    let task = async move {
        let Some(services) = weak.upgrade() else { return };
        let Some(member) = &services.cluster else { return };
        let owner = REMOTE | id;
        let locks = &services.locks;
        loop {
            let gone = member.until(|state| (!state.remote.contains_key(&id)).then_some(()));
            let lock = locks.lock(
                &services.env,
                owner,
                table,
                TableLockMode::Exclusive,
                Some(ATTEMPT),
                &NeverCancel,
            );
            tokio::select! {
                biased;
                () = gone => return,
                locked = lock => if locked.is_ok() { break },
            }
        }
        let gone = member.until(|state| (!state.remote.contains_key(&id)).then_some(()));
        tokio::select! {
            biased;
            () = gone => {}
            () = services.sessions.until_unused(table) => {}
        }
        let wanted = {
            let mut state = member.state.lock();
            state.remote.get_mut(&id).map(|(_, held)| *held = true).is_some()
        };
        if !wanted {
            locks.release_all(owner);
            return;
        }
        member.changed.notify_waiters();
        if let Err(error) = acknowledge::acknowledge(&services, member).await {
            // The keeper says it later.
            tracing::debug!(%error, "a lock could not be acknowledged");
        }
    };
    services.env.spawner.spawn("sql-remote-lock", Box::pin(task));
}

/// Makes sure that the node knows all that was committed before the call.
pub(crate) async fn catch_up(services: &Arc<SqlServices>, member: &Member) -> Result<()> {
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let stored = txn.get(&rows::version_key(), ReadOptions::default()).await;
    txn.rollback().await;
    let version = stored.map_err(sql_error)?.unwrap_or_default();
    if member.is_at(&version) {
        return Ok(());
    }
    synchronize(services, member).await?;
    member.look.notify_one();
    Ok(())
}

/// Makes sure that the node knows all that was committed at `at`.
pub(super) async fn catch_up_to(services: &Arc<SqlServices>, member: &Member, at: Timestamp) -> Result<()> {
    if member.state.lock().synchronized >= at {
        return Ok(());
    }
    synchronize(services, member).await
}
