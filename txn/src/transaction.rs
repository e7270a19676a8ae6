//! The handle of a transaction.

use std::sync::Arc;

use basalt_base::{Key, Timestamp, TxnId};
use basalt_kv_api::{ScanBatch, SeqNum};
use bytes::Bytes;

use crate::{Error, ReadOptions, Result, Savepoint, ScanPage, ScanRequest, TxnConfig, client::Shared};

/// A transaction. Clones are the same transaction: several tasks may read at the same time.
/// Dropping the last clone without a commit rolls back.
#[derive(Clone)]
pub struct Txn {
    shared: Arc<Shared>,
    config: Arc<TxnConfig>,
}

impl Txn {
    pub(crate) fn begin(shared: Arc<Shared>, config: TxnConfig) -> Result<Self> {
        Ok(Self { shared, config: Arc::new(config) })
    }

    pub fn id(&self) -> TxnId {
        TxnId(0)
    }

    /// The snapshot that reads see now. A refresh may move it up.
    pub fn read_timestamp(&self) -> Timestamp {
        Timestamp::ZERO
    }

    /// Whether anything has been written (buffered or flushed) and not rolled back.
    pub fn has_writes(&self) -> bool {
        false
    }

    /// Begins a statement: its reads see the transaction's writes so far and none of its own (unless `latest`).
    /// Returns what to put into [`ReadOptions::seq`] to keep reading at this point (cursors).
    pub fn statement(&self) -> SeqNum {
        0
    }

    pub async fn get(&self, key: &Key, options: ReadOptions) -> Result<Option<Bytes>> {
        let _ = (key, options);
        Err(Error::ReadOnly)
    }

    /// One result per key, in order.
    pub async fn get_many(&self, keys: &[Key], options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let _ = (keys, options);
        Err(Error::ReadOnly)
    }

    /// One page. Call again with `span: resume` for the next.
    pub async fn scan(&self, request: ScanRequest) -> Result<ScanPage> {
        let _ = request;
        Ok(ScanPage { batch: ScanBatch::Rows(Vec::new()), resume: None })
    }

    /// Buffers a write. Call [`Txn::flush_if_needed`] now and then when writing much.
    pub fn put(&self, key: Key, value: Bytes) -> Result<()> {
        let _ = (key, value);
        Ok(())
    }

    /// Buffers a deletion.
    pub fn delete(&self, key: Key) -> Result<()> {
        let _ = key;
        Ok(())
    }

    /// Sends buffered writes as locks when there are too many to hold. A cheap check otherwise.
    pub async fn flush_if_needed(&self) -> Result<()> {
        Ok(())
    }

    pub fn savepoint(&self) -> Savepoint {
        Savepoint { seq: 0, read_seq: 0, epoch: 0, incarnation: 0 }
    }

    /// Undoes all writes since the savepoint, which stays valid.
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<()> {
        let _ = savepoint;
        Ok(())
    }

    /// Lowers the latest permitted commit timestamp.
    pub fn set_deadline(&self, deadline: Timestamp) {
        let _ = deadline;
    }

    /// Commits and returns the commit timestamp.
    pub async fn commit(&self) -> Result<Timestamp> {
        let _ = (&self.shared, &self.config);
        Ok(Timestamp::ZERO)
    }

    /// Gives everything up. Never fails: what can't be cleaned up now, others clean up when they meet it.
    pub async fn rollback(&self) {}

    /// Prepares another attempt after an error with [`Error::restart`]: buffered writes and read footprint are
    /// forgotten, timestamps are new; locks stay unless the transaction was aborted.
    pub async fn restart(&self) -> Result<()> {
        Ok(())
    }
}
