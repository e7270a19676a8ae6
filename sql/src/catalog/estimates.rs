//! About how many rows tables have.
//!
//! An estimate is published to the node's snapshot at once and without a new version of the descriptor: no statement has
//! to wait for it. It is kept beside the descriptors, too, so that plans after a restart are as good as before it. That
//! write is a transaction of its own: counting must never fail or delay the statement that is counted.
//!
//! Keys carry the primary index: TRUNCATE gives a table a new one, and what was known of the old rows goes with them.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, Span, codec, keys};
use basalt_kv_api::ScanBatch;
use basalt_planner::Table;
use basalt_txn::{ScanRequest, Txn, TxnConfig};
use basalt_types::{Oid, Result};
use bytes::{Bytes, BytesMut};

use super::{CatalogSnapshot, CatalogStore, Descriptor};
use crate::error::sql_error;

/// By table and primary index.
type Estimates = BTreeMap<(Oid, u32), f64>;

impl CatalogStore {
    /// Replaces a table's estimate.
    pub fn set_row_estimate(&self, table: Oid, rows: f64) {
        let mut current = self.current.write();
        if let Some(old) = current.tables.get(&table) {
            let mut next = CatalogSnapshot::clone(&current);
            next.put(with_estimate(old, rows));
            *current = Arc::new(next);
        }
    }

    /// Takes over what other nodes have counted.
    pub(crate) async fn refresh_estimates(&self) -> Result<()> {
        let txn = self.client().begin(TxnConfig::default()).map_err(sql_error)?;
        let kept = load(&txn).await;
        txn.rollback().await;
        let kept = kept?;
        let mut current = self.current.write();
        let mut next = CatalogSnapshot::clone(&current);
        if apply(&mut next, &kept) > 0 {
            *current = Arc::new(next);
        }
        Ok(())
    }

    /// Writes the present estimate, so that a restart finds it.
    pub async fn keep_row_estimate(&self, table: Oid) -> Result<()> {
        let snapshot = self.current();
        let Some(table) = snapshot.tables.get(&table).filter(|table| !table.indexes.is_empty()) else {
            return Ok(());
        };
        let Some(rows) = table.row_estimate else { return Ok(()) };
        let key = estimate_key(table.id, table.primary().id);
        let value = Bytes::copy_from_slice(&rows.to_bits().to_be_bytes());
        self.client()
            .run(TxnConfig::default(), |txn| {
                let (key, value) = (key.clone(), value.clone());
                async move { txn.put(key, value) }
            })
            .await
            .map_err(sql_error)
    }
}

/// Reads what was kept.
pub(super) async fn load(txn: &Txn) -> Result<Estimates> {
    let mut estimates = Estimates::new();
    let mut span = Some(Span::prefix(prefix().freeze()));
    while let Some(next) = span {
        let mut request = ScanRequest::new(next);
        request.rows_max = 1_000;
        let page = txn.scan(request).await.map_err(sql_error)?;
        if let ScanBatch::Rows(rows) = page.batch {
            estimates.extend(rows.iter().filter_map(|(key, value)| decode(key, value)));
        }
        span = page.resume;
    }
    Ok(estimates)
}

/// Gives the tables of a snapshot what was kept of them; tells of how many that is news.
pub(super) fn apply(snapshot: &mut CatalogSnapshot, estimates: &Estimates) -> usize {
    let known = |table: &Arc<Table>| {
        let primary = table.indexes.first()?;
        let rows = estimates.get(&(table.id, primary.id))?;
        (table.row_estimate != Some(*rows)).then_some(())?;
        Some(with_estimate(table, *rows))
    };
    let changed: Vec<Descriptor> = snapshot.tables.values().filter_map(known).collect();
    let count = changed.len();
    changed.into_iter().for_each(|table| snapshot.put(table));
    count
}

fn with_estimate(table: &Arc<Table>, rows: f64) -> Descriptor {
    Descriptor::Table(Arc::new(Table { row_estimate: Some(rows), ..Table::clone(table) }))
}

fn prefix() -> BytesMut {
    BytesMut::from(&[keys::SYSTEM_PREFIX, b'E'][..])
}

/// Where the estimate of a table is kept.
pub(super) fn estimate_key(table: Oid, primary: u32) -> Key {
    let mut key = prefix();
    codec::encode_u32(&mut key, table.0);
    codec::encode_u32(&mut key, primary);
    key.freeze()
}

/// `None` for what this build does not understand: an estimate is never worth a refusal to start.
fn decode(key: &[u8], value: &[u8]) -> Option<((Oid, u32), f64)> {
    let mut rest = key.get(2..)?;
    let table = codec::decode_u32(&mut rest).ok()?;
    let index = codec::decode_u32(&mut rest).ok()?;
    let rows = f64::from_bits(u64::from_be_bytes(value.try_into().ok()?));
    (rows.is_finite() && rows >= 0.0).then_some(((Oid(table), index), rows))
}
