//! Physical removal of indexes that nothing references any more (DROP, TRUNCATE, a replaced primary key).
//!
//! The schema change wrote a note in its own transaction. This task clears the span, then deletes the note, so a crash
//! in between only repeats the clearing. Transactions that began before the change may still read the old index at
//! their old timestamps: spans are cleared only after they have had time to end.

use std::{sync::Arc, time::Duration};

use basalt_kv_api::{BatchHeader, BatchRequest, Request, ScanBatch};
use basalt_txn::{ScanRequest, TxnConfig};
use basalt_types::Result;

use crate::{
    catalog::store::{decode_garbage_key, garbage_span},
    error::sql_error,
    layout::index_span,
    services::SqlServices,
};

/// How often the notes are looked at.
const INTERVAL: Duration = Duration::from_secs(60);

/// Runs for as long as the node does.
pub async fn collect_forever(services: Arc<SqlServices>) {
    loop {
        services.env.spawner.sleep(INTERVAL).await;
        if let Err(error) = collect(&services).await {
            tracing::warn!(%error, "could not remove discarded indexes, trying again later");
        }
    }
}

/// Clears what was noted before this call.
pub async fn collect(services: &SqlServices) -> Result<()> {
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let page = txn.scan(ScanRequest::new(garbage_span())).await.map_err(sql_error)?;
    txn.rollback().await;
    let ScanBatch::Rows(notes) = page.batch else { return Ok(()) };
    for (key, _) in notes {
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
