//! Physical removal of indexes that nothing references any more (DROP, TRUNCATE, a replaced primary key).
//!
//! The schema change wrote a note in its own transaction. This task clears the span, then deletes the note, so a crash
//! in between only repeats the clearing. Transactions that began before the change may still read the old index at
//! their old timestamps: spans are cleared only after they have had time to end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use basalt_base::Key;
use basalt_kv_api::{BatchHeader, BatchRequest, LockStrength, Request, ScanBatch};
use basalt_txn::{ReadOptions, ScanRequest, TxnConfig};
use basalt_types::Result;

use crate::{
    catalog::store::{decode_garbage_key, garbage_span},
    cluster::{Member, rows},
    error::sql_error,
    layout::index_span,
    services::SqlServices,
};

/// How often the notes are looked at.
const INTERVAL: Duration = Duration::from_secs(60);

/// Runs for as long as the node does.
pub async fn collect_forever(services: Arc<SqlServices>) {
    let mut known = BTreeSet::new();
    loop {
        services.env.spawner.sleep(INTERVAL).await;
        if let Err(error) = collect(&services, &mut known).await {
            tracing::warn!(%error, "could not remove discarded indexes, trying again later");
        }
    }
}

/// Clears what was noted before this call; with other nodes there, before an earlier call: a node that was taken for dead
/// has stopped reading by then. `known` keeps the notes from call to call.
pub async fn collect(services: &SqlServices, known: &mut BTreeSet<Key>) -> Result<()> {
    if let Some(member) = &services.cluster
        && !is_executor(services, member).await?
    {
        known.clear();
        return Ok(());
    }
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let page = txn.scan(ScanRequest::new(garbage_span())).await.map_err(sql_error)?;
    txn.rollback().await;
    let ScanBatch::Rows(notes) = page.batch else { return Ok(()) };
    let notes: BTreeSet<Key> = notes.into_iter().map(|(key, _)| key).collect();
    let due: Vec<Key> = match &services.cluster {
        Some(_) => notes.intersection(known).cloned().collect(),
        None => notes.iter().cloned().collect(),
    };
    *known = notes;
    for key in due {
        let Some((table, index)) = decode_garbage_key(&key) else { continue };
        if !services.locks.is_unlocked(table) {
            continue;
        }
        let request = Request::ClearRange { span: index_span(table, index) };
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
        services.client.sender().send(batch).await.map_err(|error| sql_error(error.into()))?;
        let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
        txn.delete(key).map_err(sql_error)?;
        txn.commit().await.map_err(sql_error)?;
        tracing::info!(table = table.0, index, "discarded index removed");
    }
    Ok(())
}

/// One node does the work for all, for as long as its session lasts.
async fn is_executor(services: &SqlServices, member: &Member) -> Result<bool> {
    let Some(own) = member.session() else { return Ok(false) };
    let claimed = services.client.run(TxnConfig::default(), |txn| async move {
        let key = rows::garbage_executor_key();
        let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
        if let Some(executor) = stored.as_deref().and_then(|mut value| rows::decode_identity(&mut value)) {
            if executor == own {
                return Ok(true);
            }
            if txn.get(&rows::session_key(executor), ReadOptions::default()).await?.is_some() {
                return Ok(false);
            }
        }
        txn.put(key, rows::encode_identity(own))?;
        Ok::<_, basalt_txn::Error>(true)
    });
    claimed.await.map_err(sql_error)
}
