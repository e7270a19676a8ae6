//! Waiting for the other nodes' word.

use std::{sync::Arc, time::Duration};

use basalt_base::Timestamp;
use basalt_txn::TxnConfig;
use basalt_types::Result;

use super::{
    Member, fence,
    rows::{Acknowledgement, Identity, Rows},
};
use crate::{error::sql_error, services::SqlServices};

const PAUSE_FIRST: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(30);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(300);
/// Longer than it takes to give a node up that extends its session and does not follow.
const KNOW_MAX: Duration = Duration::from_secs(25);

/// Until every other session has acknowledged what `suffices` asks for, or is gone. Lasts no longer than a session that
/// gives no sign of life, except for locks that somebody does not let go of.
async fn all_acknowledge(
    services: &SqlServices,
    member: &Member,
    own: Identity,
    suffices: impl Fn(&Acknowledgement) -> bool,
) -> Result<()> {
    let mut pause = PAUSE_FIRST;
    loop {
        let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
        let known = Rows::read(&txn).await;
        txn.rollback().await;
        let known = known.map_err(sql_error)?;
        let mut waits = false;
        for (other, row) in known.sessions.iter().filter(|(other, _)| **other != own) {
            if known.acknowledged(other).is_some_and(&suffices) {
                continue;
            }
            waits |= !fence::fence_if_expired(services, member, *other, *row).await?;
        }
        if !waits {
            return Ok(());
        }
        services.env.spawner.sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Until the lock is held on every node.
pub(super) async fn all_hold(
    services: &SqlServices,
    member: &Member,
    own: Identity,
    lock: u64,
) -> Result<()> {
    all_acknowledge(services, member, own, |told| told.held.binary_search(&lock).is_ok()).await
}

/// Until every node uses the catalog as of `commit`; false when not all have said so in time.
pub(crate) async fn all_know(services: &Arc<SqlServices>, member: &Member, commit: Timestamp) -> bool {
    let Some(own) = member.identity() else { return false };
    member.look.notify_one();
    // The change is committed, whoever knows of it: what fails is tried again.
    let known = async {
        while let Err(error) =
            all_acknowledge(services, member, own, |told| told.synchronized >= commit).await
        {
            tracing::debug!(%error, "cannot see yet whether every node knows of a schema change");
            services.env.spawner.sleep(PAUSE_AFTER_ERROR).await;
        }
    };
    tokio::select! {
        biased;
        () = known => true,
        () = services.env.spawner.sleep(KNOW_MAX) => false,
    }
}
