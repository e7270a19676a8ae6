//! FOR UPDATE and FOR SHARE: the rows of the named tables are locked while they pass.

use std::sync::Arc;

use basalt_base::Key;
use basalt_env::BoxFuture;
use basalt_kv_api::{self as kv, LockStrength, LockWait};
use basalt_planner::{Plan, Table, plan::RowLock};
use basalt_txn::ReadOptions;
use basalt_types::{Datum, Result, Row, SqlError, SqlState};

use super::{Stream, build};
use crate::{
    error::sql_error,
    exec::{BATCH_ROWS, RowStream, scope::Scope},
    layout::EntryCodec,
};

struct TableLock {
    table: Arc<Table>,
    codec: EntryCodec,
    /// Positions of the primary key in the input.
    key: Vec<usize>,
    read: ReadOptions,
}

struct LockRows {
    input: Stream,
    locks: Vec<TableLock>,
    /// Rows read and not locked yet.
    waiting: std::vec::IntoIter<Row>,
    /// Rows still wanted: none is locked that a LIMIT would throw away.
    left: u64,
    scope: Scope,
}

pub(super) async fn open(input: &Plan, locks: &[RowLock], scope: &Scope) -> Result<Stream> {
    let mut compiled = Vec::with_capacity(locks.len());
    for lock in locks {
        let position = |id| {
            let found = input.columns.iter().position(|(column, _)| column == id);
            found.ok_or_else(|| SqlError::internal("the input of row locks lacks a key column"))
        };
        let strength = if lock.exclusive { LockStrength::Exclusive } else { LockStrength::Shared };
        let wait = match (lock.nowait, lock.skip_locked) {
            (true, _) => LockWait::Error,
            (false, true) => LockWait::Skip,
            (false, false) => LockWait::Block,
        };
        compiled.push(TableLock {
            codec: EntryCodec::new(&lock.table, 0),
            table: lock.table.clone(),
            key: lock.key.iter().map(position).collect::<Result<_>>()?,
            read: ReadOptions { wait, ..ReadOptions::locking(strength) },
        });
    }
    Ok(Box::new(LockRows {
        input: build(input, scope).await?,
        locks: compiled,
        waiting: Vec::new().into_iter(),
        left: u64::MAX,
        scope: scope.clone(),
    }))
}

impl TableLock {
    /// Locks the rows' keys and says which rows stay: those locked by others or gone don't. The NULL side of an outer
    /// join has nothing to lock.
    async fn lock(&self, scope: &Scope, rows: &[Row], stay: &mut [bool]) -> Result<()> {
        let mut keys: Vec<Key> = Vec::new();
        let mut owners = Vec::new();
        for (position, row) in rows.iter().enumerate().filter(|(position, _)| stay[*position]) {
            let values: Vec<Datum> = self.key.iter().map(|&column| row[column].clone()).collect();
            if !values.iter().any(Datum::is_null) {
                keys.push(self.codec.key_of(&values));
                owners.push(position);
            }
        }
        let found = match &keys[..] {
            [] => return Ok(()),
            [key] => scope.context.txn.get(key, self.read).await.map(|value| vec![value]),
            keys => scope.context.txn.get_many(keys, self.read).await,
        };
        let found = found.map_err(|error| self.explain(error))?;
        for (owner, value) in owners.into_iter().zip(found) {
            stay[owner] = value.is_some();
        }
        Ok(())
    }

    fn explain(&self, error: basalt_txn::Error) -> SqlError {
        match error {
            basalt_txn::Error::Store(kv::Error::LockNotAvailable { .. })
                if self.read.wait == LockWait::Error =>
            {
                could_not_lock(&self.table)
            }
            other => sql_error(other),
        }
    }
}

/// What NOWAIT answers.
fn could_not_lock(table: &Table) -> SqlError {
    SqlError::new(
        SqlState::LOCK_NOT_AVAILABLE,
        format!("could not obtain lock on row in relation \"{}\"", table.name),
    )
}

impl RowStream for LockRows {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while self.left > 0 {
                self.scope.checkpoint().await?;
                if self.waiting.len() == 0 {
                    match self.input.next_batch().await? {
                        Some(batch) => self.waiting = batch.into_iter(),
                        None => break,
                    }
                }
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(BATCH_ROWS);
                let mut batch: Vec<Row> = self.waiting.by_ref().take(count).collect();
                let mut stay = vec![true; batch.len()];
                for lock in &self.locks {
                    lock.lock(&self.scope, &batch, &mut stay).await?;
                }
                let mut stay = stay.into_iter();
                batch.retain(|_| stay.next().unwrap_or(false));
                if !batch.is_empty() {
                    self.left = self.left.saturating_sub(batch.len() as u64);
                    return Ok(Some(batch));
                }
            }
            Ok(None)
        })
    }

    fn expect_at_most(&mut self, rows: u64) {
        self.left = rows;
    }
}
