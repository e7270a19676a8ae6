//! Exclusive locks on tables, on all nodes.
//!
//! The stored row comes first and decides between changes of different nodes: whoever has it asks for the lock on this
//! node and on all others. Waits that go round over several tables or rows end by the time-out, as on one node.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::Timestamp;
use basalt_env::BoxFuture;
use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, Txn, TxnConfig};
use basalt_types::{Oid, Result};
use tokio::sync::oneshot;

use super::{
    Member, fence,
    rows::{self, Identity, LockRow, SessionRow},
    synchronize, wait,
};
use crate::{
    Cancel,
    error::sql_error,
    locks::{Owner, TableLockMode, WAIT_MAX, timed_out},
    services::SqlServices,
};

/// Between attempts to store a row that somebody else has.
const PAUSE: Duration = Duration::from_millis(20);
const REMOVAL_PAUSE: Duration = Duration::from_millis(500);

/// A stored lock row of this node. Dropped, it has the row removed.
pub(super) struct StoredLock {
    services: Weak<SqlServices>,
    owner: Identity,
    table: Oid,
    id: u64,
    is_stored: bool,
}

impl StoredLock {
    /// The row is gone already.
    pub(super) fn forget(mut self) {
        self.is_stored = false;
    }

    /// Has `txn` remove the row.
    pub(super) fn remove_in(&self, txn: &Txn) -> Result<(), basalt_txn::Error> {
        txn.delete(rows::lock_key(self.table))
    }
}

impl Drop for StoredLock {
    fn drop(&mut self) {
        let Some(services) = self.services.upgrade().filter(|_| self.is_stored) else { return };
        let (weak, owner, table, id) = (self.services.clone(), self.owner, self.table, self.id);
        services.env.spawner.spawn("sql-unlock", Box::pin(remove_row(weak, owner, table, id)));
    }
}

/// Removes the row, however long it takes, while the session lasts that it belongs to.
async fn remove_row(services: Weak<SqlServices>, owner: Identity, table: Oid, id: u64) {
    loop {
        let Some(services) = services.upgrade() else { return };
        let Some(member) = &services.cluster else { return };
        if member.identity() != Some(owner) {
            return;
        }
        let env = &services.env;
        let removed = services.client.run(TxnConfig::default(), |txn| async move {
            let key = rows::lock_key(table);
            let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
            if stored.as_deref().and_then(rows::decode_lock).is_some_and(|lock| lock.id == id) {
                txn.delete(key)?;
                rows::tell(env, &txn)?;
            }
            Ok::<_, basalt_txn::Error>(())
        });
        match removed.await {
            Ok(()) => {
                member.look.notify_one();
                return;
            }
            Err(error) => tracing::debug!(%error, "a table lock could not be given back yet"),
        }
        services.env.spawner.sleep(REMOVAL_PAUSE).await;
    }
}

/// Locks a table exclusively on all nodes, for a client's session.
pub(crate) async fn lock(
    services: &Arc<SqlServices>,
    member: &Member,
    owner: Owner,
    table: Oid,
    timeout: Option<Duration>,
    cancel: &dyn Cancel,
) -> Result<()> {
    let deadline = services.env.spawner.sleep(timeout.unwrap_or(WAIT_MAX));
    let work = async {
        let (id, identity) = begin(services, member, owner, table, timeout, cancel).await?;
        wait::all_hold(services, member, identity, id).await
    };
    tokio::select! {
        biased;
        locked = work => locked,
        error = cancel.cancelled() => Err(error),
        () = deadline => Err(timed_out(timeout)),
    }
}

/// Stores the lock and takes it on this node; tells its id, and the node's session that it belongs to. Others are asked, and
/// not waited for.
pub(super) async fn begin(
    services: &Arc<SqlServices>,
    member: &Member,
    owner: Owner,
    table: Oid,
    timeout: Option<Duration>,
    cancel: &dyn Cancel,
) -> Result<(u64, Identity)> {
    let identity = member.require_identity()?;
    let known = {
        let state = member.state.lock();
        let of_owner = state.stored.get(&owner);
        of_owner.and_then(|locks| locks.iter().find(|lock| lock.table == table)).map(|lock| lock.id)
    };
    let (id, since) = match known {
        Some(id) => (id, Timestamp::ZERO),
        None => {
            let (lock, at) = store_row(services, identity, table).await?;
            let id = lock.id;
            member.state.lock().stored.entry(owner).or_default().push(lock);
            (id, at)
        }
    };
    services.locks.lock(&services.env, owner, table, TableLockMode::Exclusive, timeout, cancel).await?;
    // Whoever had the row before may have changed the table.
    synchronize::catch_up_to(services, member, since).await?;
    Ok((id, identity))
}

/// Stores the lock row, waiting for whoever has one; tells since when it is there.
async fn store_row(
    services: &Arc<SqlServices>,
    owner: Identity,
    table: Oid,
) -> Result<(StoredLock, Timestamp)> {
    loop {
        // Behind the caller's back: if it gives up meanwhile, the row must not stay.
        let (sender, receiver) = oneshot::channel();
        let services_of_task = services.clone();
        let task: BoxFuture<'static, ()> = Box::pin(async move {
            let tried = try_to_store(&services_of_task, owner, table).await;
            // Nobody may be waiting any more: then the row goes with the message.
            drop(sender.send(tried));
        });
        services.env.spawner.spawn("sql-table-lock", task);
        let tried = receiver.await.map_err(|_| basalt_types::SqlError::internal("the node stops"))?;
        if let Some(stored) = tried? {
            return Ok(stored);
        }
        services.env.spawner.sleep(PAUSE).await;
    }
}

/// `None` while somebody else has the table.
async fn try_to_store(
    services: &Arc<SqlServices>,
    owner: Identity,
    table: Oid,
) -> Result<Option<(StoredLock, Timestamp)>> {
    let Some(member) = &services.cluster else { return Ok(None) };
    let row = LockRow { owner, id: services.env.rng.next_u64() >> 1 };
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let stored = async {
        let key = rows::lock_key(table);
        let locking = ReadOptions::locking(LockStrength::Exclusive);
        if let Some(other) = txn.get(&key, locking).await?.as_deref().and_then(rows::decode_lock) {
            let session = txn.get(&rows::session_key(other.owner), ReadOptions::default()).await?;
            return Ok(Err(session.as_deref().and_then(rows::decode_session).map(|row| (other.owner, row))));
        }
        txn.put(key, rows::encode_lock(row))?;
        rows::tell(&services.env, &txn)?;
        Ok::<_, basalt_txn::Error>(Ok(()))
    };
    let taken: Result<Option<(Identity, SessionRow)>, basalt_txn::Error> = match stored.await {
        Ok(Err(holder)) => Ok(holder),
        Ok(Ok(())) => {
            // From here on it may be stored, whatever is heard of it.
            let lock =
                StoredLock { services: Arc::downgrade(services), owner, table, id: row.id, is_stored: true };
            match txn.commit().await {
                Ok(at) => return Ok(Some((lock, at))),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    txn.rollback().await;
    match taken {
        Ok(Some((holder, row))) if holder != owner => {
            fence::fence_if_expired(services, member, holder, row).await?;
            Ok(None)
        }
        Ok(_) => Ok(None),
        Err(error) if error.restart().is_some() => Ok(None),
        Err(error) => Err(sql_error(error)),
    }
}
