//! Removing the session of a node that gave no sign of life.
//!
//! Commits of the session are at or below its expiration, by the store's word; so a transaction that reads above the
//! expiration and finds the row as it was may take it away, and whatever the node may still try comes too late. The rows
//! of the session go with it, in the same transaction. The node notices when it wants to extend.

use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, TxnConfig};
use basalt_types::Result;

use super::{
    Member,
    rows::{self, Identity, Rows, SessionRow},
};
use crate::{error::sql_error, services::SqlServices};

/// Removes the session if it has expired on every clock; says whether it is gone.
pub(super) async fn fence_if_expired(
    services: &SqlServices,
    member: &Member,
    session: Identity,
    known: SessionRow,
) -> Result<bool> {
    let offset_ms = u64::try_from(member.clock_offset_max.as_millis()).unwrap_or(u64::MAX);
    let is_over = |row: SessionRow, now: basalt_base::Timestamp| now > row.expiration.add_ms(offset_ms);
    if !is_over(known, services.client.now().map_err(sql_error)?) {
        return Ok(false);
    }
    let now = services.client.now().map_err(sql_error)?;
    let is_gone = remove(services, session, |row| is_over(row, now)).await?;
    if is_gone {
        tracing::warn!(
            node = session.node.0,
            incarnation = session.incarnation,
            "a node's SQL session has expired and was removed"
        );
    }
    Ok(is_gone)
}

/// Removes the session with what belongs to it if `permits` its row; says whether it is gone.
pub(super) async fn remove(
    services: &SqlServices,
    session: Identity,
    permits: impl Fn(SessionRow) -> bool + Copy + Send + Sync,
) -> Result<bool> {
    let env = &services.env;
    let run = services.client.run(TxnConfig::default(), |txn| async move {
        let key = rows::session_key(session);
        let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
        let Some(row) = stored.as_deref().and_then(rows::decode_session) else { return Ok(true) };
        if !permits(row) {
            return Ok(false);
        }
        let known = Rows::read(&txn).await?;
        txn.delete(key)?;
        txn.delete(rows::acknowledgement_key(session))?;
        for (table, lock) in &known.locks {
            if lock.owner == session {
                txn.delete(rows::lock_key(*table))?;
            }
        }
        rows::tell(env, &txn)?;
        Ok::<_, basalt_txn::Error>(true)
    });
    run.await.map_err(sql_error)
}
