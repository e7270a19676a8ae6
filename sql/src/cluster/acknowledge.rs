//! Telling the others what this node knows and holds.

use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, TxnConfig};
use basalt_types::Result;

use super::{
    Member,
    member::State,
    rows::{self, Acknowledgement},
};
use crate::{error::sql_error, services::SqlServices};

/// Writes the acknowledgement if there is anybody to read it, and news in it.
pub(super) async fn acknowledge(services: &SqlServices, member: &Member) -> Result<()> {
    let _serial = member.acknowledging.lock().await;
    let (identity, acknowledgement) = {
        let state = member.state.lock();
        let Some(held) = state.session else { return Ok(()) };
        match news(&state) {
            Some(acknowledgement) => (held.identity, acknowledgement),
            None => return Ok(()),
        }
    };
    let row = rows::encode_acknowledgement(&acknowledgement);
    let written = services.client.run(TxnConfig::default(), |txn| {
        let row = row.clone();
        async move {
            // Not for a session that has been removed: its rows were, too.
            let key = rows::session_key(identity);
            let is_there = txn.get(&key, ReadOptions::locking(LockStrength::Shared)).await?.is_some();
            if is_there {
                txn.put(rows::acknowledgement_key(identity), row)?;
            }
            Ok::<_, basalt_txn::Error>(is_there)
        }
    });
    if written.await.map_err(sql_error)? {
        let mut state = member.state.lock();
        if state.session.is_some_and(|held| held.identity == identity) {
            state.acknowledged = Some(acknowledgement);
        }
    }
    Ok(())
}

fn news(state: &State) -> Option<Acknowledgement> {
    // Who has just come must not begin before changes that it could not see have ended.
    if !state.others || !state.lone.is_empty() {
        return None;
    }
    let held = state.remote.iter().filter(|(_, (_, held))| *held).map(|(id, _)| *id).collect();
    let acknowledgement = Acknowledgement { synchronized: state.synchronized, held };
    (state.acknowledged.as_ref() != Some(&acknowledgement)).then_some(acknowledgement)
}
