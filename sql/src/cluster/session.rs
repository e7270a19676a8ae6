//! The life of a node's session.
//!
//! Beginning one: a transaction that reads everybody's rows stores the node's own. If exactly one node serves, that one may
//! be changing the catalog on its own, so the node waits for its acknowledgement. Then a second transaction says that the
//! node serves, on the condition that this still holds; so of two that begin at once the later one waits for the earlier.
//! Last, the node reads the catalog and takes the locks of changes under way.

use std::{sync::Arc, time::Duration};

use basalt_base::{NodeId, Timestamp};
use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, Txn, TxnConfig};
use basalt_types::Result;
use futures::future::Either;

use super::{
    Member, acknowledge, fence,
    member::Held,
    rows::{self, Identity, Rows, SessionRow},
    synchronize::synchronize_all,
};
use crate::{error::sql_error, services::SqlServices};

/// For how long a session is valid without news of its node.
const LIFETIME_MS: u64 = 9_000;
/// For how long the end of a session waits for commits.
const COMMITS_PATIENCE: Duration = Duration::from_secs(3);
/// Between looks at somebody whom one waits for.
const PAUSE: Duration = Duration::from_millis(20);

/// Begins a session, and returns when it serves.
pub(super) async fn begin(services: &Arc<SqlServices>, member: &Member) -> Result<()> {
    let identity = Identity { node: services.options.node_id, incarnation: services.env.rng.next_u64() };
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let begun = async {
        let expiration = expiration(services)?;
        let mut known = Rows::read(&txn).await.map_err(sql_error)?;
        if services.client.sender().uncertainty().is_zero() {
            // The store is this node's alone: nothing that an earlier process sent can still be on its way.
            remove_own(&txn, &mut known, identity.node).map_err(sql_error)?;
        }
        // With nobody there, nobody needs to be waited for.
        let serves = known.sessions.is_empty();
        let row = rows::encode_session(SessionRow { expiration, serves });
        txn.put(rows::session_key(identity), row).map_err(sql_error)?;
        rows::tell(&services.env, &txn).map_err(sql_error)?;
        let at = txn.commit().await.map_err(sql_error)?;
        Ok((at, expiration, serves))
    };
    let begun: Result<_> = begun.await;
    txn.rollback().await;
    // If it is stored in spite of an error, it expires.
    let (at, expiration, serves) = begun?;
    {
        let mut state = member.state.lock();
        state.session = Some(Held { identity, expiration, serves: false });
        state.others = true;
        state.acknowledged = None;
        state.followed = services.env.clock.monotonic();
    }
    member.changed.notify_waiters();
    let prepared = prepare(services, member, identity, (!serves).then_some(at)).await;
    if prepared.is_err() {
        // Nobody need wait for it.
        if let Err(error) = fence::remove(services, identity, |_| true).await {
            tracing::debug!(%error, "a session that failed to begin is left to expire");
        }
        member.state.lock().session = None;
        return prepared;
    }
    let mut state = member.state.lock();
    if let Some(held) = state.session.as_mut().filter(|held| held.identity == identity) {
        held.serves = true;
    }
    drop(state);
    member.changed.notify_waiters();
    tracing::info!(node = identity.node.0, incarnation = identity.incarnation, "the SQL session begins");
    Ok(())
}

/// All that must be done before a stored session serves. `since` is when it was stored, if others were there.
async fn prepare(
    services: &Arc<SqlServices>,
    member: &Member,
    identity: Identity,
    since: Option<Timestamp>,
) -> Result<()> {
    if let Some(at) = since {
        while !try_to_serve(services, member, identity, at).await? {
            services.env.spawner.sleep(PAUSE).await;
        }
    }
    synchronize_all(services, member).await?;
    acknowledge::acknowledge(services, member).await?;
    // Changes of others that are under way are known now, and nobody here can be in their way.
    let held = member.until(|state| {
        let is_lost = state.session.is_none_or(|held| held.identity != identity);
        (is_lost || state.remote.values().all(|(_, held)| *held)).then_some(!is_lost)
    });
    if !held.await {
        return Err(super::member::lost());
    }
    acknowledge::acknowledge(services, member).await
}

/// Says that the node serves if nobody can be unaware of it who does: `since` is when its row was stored.
async fn try_to_serve(
    services: &Arc<SqlServices>,
    member: &Member,
    identity: Identity,
    since: Timestamp,
) -> Result<bool> {
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let tried = async {
        let known = Rows::read(&txn).await.map_err(sql_error)?;
        let Some(own) = known.sessions.get(&identity) else { return Err(super::member::lost()) };
        let others = known.sessions.iter().filter(|(other, row)| **other != identity && row.serves);
        let others: Vec<(&Identity, &SessionRow)> = others.collect();
        if let [(other, row)] = others[..] {
            let acknowledged = known.acknowledged(other).map_or(Timestamp::ZERO, |seen| seen.synchronized);
            if acknowledged < since {
                return Ok(Some((*other, *row)));
            }
        }
        let row = rows::encode_session(SessionRow { serves: true, ..*own });
        txn.put(rows::session_key(identity), row).map_err(sql_error)?;
        txn.commit().await.map_err(sql_error)?;
        Ok(None)
    };
    let waits_for = tried.await;
    txn.rollback().await;
    match waits_for {
        Ok(None) => Ok(true),
        Ok(Some((other, row))) => {
            fence::fence_if_expired(services, member, other, row).await?;
            Ok(false)
        }
        Err(error) if crate::session::is_retryable(&error) && member.identity() == Some(identity) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Removes what earlier processes of the node have left.
fn remove_own(txn: &Txn, known: &mut Rows, node: NodeId) -> Result<(), basalt_txn::Error> {
    for session in known.sessions.keys().filter(|session| session.node == node) {
        txn.delete(rows::session_key(*session))?;
        txn.delete(rows::acknowledgement_key(*session))?;
    }
    for (table, _) in known.locks.iter().filter(|(_, lock)| lock.owner.node == node) {
        txn.delete(rows::lock_key(*table))?;
    }
    known.sessions.retain(|session, _| session.node != node);
    Ok(())
}

fn expiration(services: &SqlServices) -> Result<Timestamp> {
    Ok(services.client.now().map_err(sql_error)?.add_ms(LIFETIME_MS))
}

/// Puts the expiration off; false when the session has been removed.
pub(super) async fn extend(services: &SqlServices, member: &Member) -> Result<bool> {
    let Some(identity) = member.identity() else { return Ok(true) };
    let expiration = expiration(services)?;
    let key = rows::session_key(identity);
    let extend = services.client.run(TxnConfig::default(), |txn| {
        let key = key.clone();
        async move {
            let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
            let Some(row) = stored.as_deref().and_then(rows::decode_session) else { return Ok(false) };
            txn.put(key, rows::encode_session(SessionRow { expiration, ..row }))?;
            Ok::<_, basalt_txn::Error>(true)
        }
    });
    if !extend.await.map_err(sql_error)? {
        return Ok(false);
    }
    let mut state = member.state.lock();
    if let Some(held) = state.session.as_mut().filter(|held| held.identity == identity) {
        held.expiration = held.expiration.max(expiration);
    }
    drop(state);
    member.changed.notify_waiters();
    Ok(true)
}

/// The session is gone: what it guarded can't be committed any more, and stands in nobody's way.
pub(super) fn lose(services: &SqlServices, member: &Member) {
    let dropped = {
        let mut state = member.state.lock();
        let Some(held) = state.session.take() else { return };
        tracing::warn!(
            node = held.identity.node.0,
            incarnation = held.identity.incarnation,
            "the node has lost its SQL session; open transactions will fail"
        );
        state.others = true;
        state.lone.clear();
        state.remote.clear();
        // Their rows went with the session.
        std::mem::take(&mut state.stored)
    };
    for lock in dropped.into_values().flatten() {
        lock.forget();
    }
    services.locks.release_everything();
    services.sequences.forget();
    member.changed.notify_waiters();
}

/// Gives the session back.
pub(super) async fn end(services: &SqlServices, member: &Member) -> Result<()> {
    let Some(identity) = member.identity() else { return Ok(()) };
    {
        let mut state = member.state.lock();
        state.closed = true;
        // From here on nothing commits.
        if let Some(held) = &mut state.session {
            held.serves = false;
        }
    }
    member.changed.notify_waiters();
    // With the row gone, the others change tables without asking: not before what was sent has ended.
    let quiet = std::pin::pin!(member.until(|state| (state.commits == 0).then_some(())));
    let patience = services.env.spawner.sleep(COMMITS_PATIENCE);
    if let Either::Right(_) = futures::future::select(quiet, patience).await {
        tracing::warn!("commits have not ended; the SQL session is left to expire");
        return Ok(());
    }
    fence::remove(services, identity, |_| true).await?;
    lose(services, member);
    Ok(())
}
