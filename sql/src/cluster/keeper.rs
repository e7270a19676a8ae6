//! What runs for as long as the node does: extending the session, following the others, and cleaning up after those that
//! are gone. Each on its own: a session must not expire because something else has to wait.
//!
//! A session says that its node follows. One that does not any more (others wait for its acknowledgements) is not extended:
//! it expires, and the others go on without it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_types::{Result, SqlError};

use super::{Member, acknowledge, fence, rows, session, synchronize};
use crate::{error::sql_error, services::SqlServices};

/// Between extensions of the session, a third of its life.
const EXTEND: Duration = Duration::from_secs(3);
const EXTEND_AGAIN: Duration = Duration::from_millis(500);
/// Between looks at the version: after a change, which seldom comes alone; while nothing changes; with nobody else there.
const LOOK_SOON: Duration = Duration::from_millis(8);
const LOOK: Duration = Duration::from_millis(70);
const LOOK_ALONE: Duration = Duration::from_millis(250);
/// Looks at the short interval after a change.
const LOOKS_SOON: u32 = 40;
/// For how long the session is extended without a look that succeeded.
const FOLLOW_MAX: Duration = Duration::from_secs(9);
/// Between rounds of cleaning up.
const CLEAN: Duration = Duration::from_secs(3);
/// Attempts to begin the first session, a second each.
const ATTEMPTS_MAX: u32 = 60;

/// Joins the cluster: returns when statements may run.
pub(crate) async fn start(services: &Arc<SqlServices>) -> Result<()> {
    let Some(member) = &services.cluster else { return Ok(()) };
    let weak = Arc::downgrade(services);
    // A session that waits for others must be kept, and must hear of them.
    services.env.spawner.spawn("sql-session", Box::pin(keep(weak.clone())));
    services.env.spawner.spawn("sql-catalog", Box::pin(follow(weak.clone())));
    services.env.spawner.spawn("sql-dead-sessions", Box::pin(clean(weak)));
    let mut attempt = 1;
    while let Err(error) = session::begin(services, member).await {
        if attempt == ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::warn!(%error, "the SQL session could not begin, trying again");
        attempt += 1;
        services.env.spawner.sleep(Duration::from_secs(1)).await;
    }
    member.state.lock().started = true;
    member.changed.notify_waiters();
    Ok(())
}

/// Leaves the cluster.
pub(crate) async fn end(services: &SqlServices) {
    let Some(member) = &services.cluster else { return };
    if let Err(error) = session::end(services, member).await {
        tracing::warn!(%error, "the SQL session could not be given back; it expires");
    }
}

fn open(services: &Option<Arc<SqlServices>>) -> Option<(&Arc<SqlServices>, &Member)> {
    let services = services.as_ref()?;
    let member = services.cluster.as_ref()?;
    (!member.state.lock().closed).then_some((services, member))
}

/// Extends the session, and begins another when it is lost.
async fn keep(weak: Weak<SqlServices>) {
    let mut pause = EXTEND;
    loop {
        {
            let services = weak.upgrade();
            let Some((services, member)) = open(&services) else { return };
            let lost = member.until(|state| (state.started && state.session.is_none()).then_some(()));
            let sleep = services.env.spawner.sleep(pause);
            if pause == EXTEND {
                futures::future::select(sleep, std::pin::pin!(lost)).await;
            } else {
                sleep.await;
            }
        }
        let services = weak.upgrade();
        let Some((services, member)) = open(&services) else { return };
        pause = match extend_or_begin(services, member).await {
            Ok(()) => EXTEND,
            Err(error) => {
                tracing::debug!(%error, "the SQL session could not be kept, trying again");
                EXTEND_AGAIN
            }
        };
    }
}

async fn extend_or_begin(services: &Arc<SqlServices>, member: &Member) -> Result<()> {
    if member.identity().is_some() {
        let silent = services.env.clock.monotonic().saturating_sub(member.state.lock().followed);
        if silent > FOLLOW_MAX {
            return Err(SqlError::internal("the node does not hear of the others' changes"));
        }
        if session::extend(services, member).await? {
            return Ok(());
        }
        session::lose(services, member);
    }
    let started = member.state.lock().started;
    // The first is begun by whoever starts the node.
    if started { session::begin(services, member).await } else { Ok(()) }
}

/// Looks after what nodes leave behind.
async fn clean(weak: Weak<SqlServices>) {
    loop {
        {
            let services = weak.upgrade();
            let Some((services, _)) = open(&services) else { return };
            services.env.spawner.sleep(CLEAN).await;
        }
        let services = weak.upgrade();
        let Some((services, member)) = open(&services) else { return };
        if let Err(error) = look_after_others(services, member).await {
            tracing::debug!(%error, "what other nodes have left could not be looked after, trying again");
        }
    }
}

/// Removes the sessions of nodes that are gone, so that no change has to wait for them, and what they leave behind.
async fn look_after_others(services: &Arc<SqlServices>, member: &Member) -> Result<()> {
    if member.session().is_some() {
        crate::ddl::temporary::clear_dead(services).await?;
    }
    if !member.has_others() {
        return Ok(());
    }
    let txn = services.client.begin(basalt_txn::TxnConfig::default()).map_err(sql_error)?;
    let known = rows::Rows::read(&txn).await;
    txn.rollback().await;
    for (session, row) in known.map_err(sql_error)?.sessions {
        fence::fence_if_expired(services, member, session, row).await?;
    }
    services.catalog.refresh_estimates().await
}

/// Looks whether something has changed, and follows.
async fn follow(weak: Weak<SqlServices>) {
    let mut soon = 0_u32;
    loop {
        {
            let services = weak.upgrade();
            let Some((services, member)) = open(&services) else { return };
            let pause = match (soon, member.has_others()) {
                (0, true) => LOOK,
                (0, false) => LOOK_ALONE,
                _ => LOOK_SOON,
            };
            let sleep = services.env.spawner.sleep(pause);
            tokio::select! {
                biased;
                () = member.look.notified() => {}
                () = sleep => {}
            }
        }
        let services = weak.upgrade();
        let Some((services, member)) = open(&services) else { return };
        let began = services.env.clock.monotonic();
        let looked = look(services, member).await;
        if looked.is_ok() {
            member.state.lock().followed = began;
        }
        soon = match looked {
            Ok(true) => LOOKS_SOON,
            Ok(false) => soon.saturating_sub(1),
            Err(error) => {
                tracing::debug!(error = %SqlError::message(&error), "the catalog could not be followed");
                0
            }
        };
    }
}

/// True when something had changed.
async fn look(services: &Arc<SqlServices>, member: &Member) -> Result<bool> {
    if member.identity().is_none() {
        return Ok(false);
    }
    let version = rows::peek_version(&services.client).await?;
    let changed = !member.is_at(&version);
    if changed {
        synchronize::synchronize(services, member).await?;
    }
    acknowledge::acknowledge(services, member).await?;
    Ok(changed)
}
