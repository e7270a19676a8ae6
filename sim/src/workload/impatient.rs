//! Readers that do not wait: NOWAIT and SKIP LOCKED. While a transaction holds a row they say so or pass over it; once its
//! end was answered, the row is free.

use std::{collections::BTreeSet, sync::Arc};

use basalt_base::{Key, Span};
use basalt_kv_api::{Error as StoreError, LockStrength, LockWait, ScanBatch};
use basalt_txn::{Error, ReadOptions, Result, ScanRequest, Txn, TxnClient, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, bank::scan_numbers, row_key, row_value, transact};

const TABLE: u8 = b'q';
/// A client's own rows, of which he locks the first ones.
const ROWS: usize = 6;
const LOCKED: usize = 3;

/// Cheap to clone.
#[derive(Clone)]
pub struct Impatient {
    context: Context,
    /// Clients whose rows are there.
    ready: Arc<Mutex<BTreeSet<usize>>>,
}

impl Impatient {
    pub fn new(context: Context) -> Self {
        Self { context, ready: Arc::default() }
    }

    pub async fn step(&self, client: usize) {
        let context = &self.context;
        if !self.ready.lock().contains(&client) {
            let body = move |txn: Txn| async move {
                rows(client).into_iter().try_for_each(|row| txn.put(row, row_value(1, 0)))
            };
            let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
            if matches!(ended, Ended::Committed(..)) {
                self.ready.lock().insert(client);
            }
            return;
        }
        let this = self.clone();
        let session =
            context.cluster.session(move |node| Box::pin(async move { this.run(&node, client).await }));
        let Some(session) = session else { return };
        // The node may crash meanwhile.
        let ended = session.await;
        context.trace.line(|| format!("client {client} is impatient: {ended:?}"));
    }

    async fn run(&self, node: &TxnClient, client: usize) -> Result<()> {
        let context = &self.context;
        let rows = rows(client);
        let by_scan = || context.rng.coin();
        let holder = node.begin(TxnConfig::default())?;
        lock(&holder, &rows[..LOCKED], LockWait::Block, by_scan()).await?;
        let reader = node.begin(TxnConfig::default())?;
        let refused = lock(&reader, &rows[LOCKED - 1..], LockWait::Error, by_scan()).await;
        if is_held_by(&refused, &holder) {
            context.reached.count("nowait refused");
        }
        reader.rollback().await;
        let reader = node.begin(TxnConfig::default())?;
        if lock(&reader, &rows, LockWait::Skip, true).await? == ROWS - LOCKED {
            context.reached.count("locked rows skipped");
        }
        reader.rollback().await;
        if context.rng.coin() {
            holder.commit().await?;
        } else {
            holder.rollback().await;
        }
        let next = node.begin(TxnConfig::default())?;
        let skipping = context.rng.coin();
        let wait = if skipping { LockWait::Skip } else { LockWait::Error };
        let locked = lock(&next, &rows, wait, skipping || context.rng.coin()).await;
        let ended = if context.rng.coin() { next.commit().await.map(drop) } else { Ok(()) };
        next.rollback().await;
        if context.parameters.nodes > 1 {
            // The release may be on its way to another node, or lost with it.
            return ended;
        }
        for other in [&holder, &reader] {
            if is_held_by(&locked, other) {
                context.violations.report(format!("impatient: {} has ended and holds a row", other.id()));
            }
        }
        match locked? {
            ROWS => context.reached.count("free again at the answer"),
            found => context.violations.report(format!("impatient: {found} of {ROWS} free rows")),
        }
        ended
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let found = scan_numbers(txn, TABLE, false, 0).await?;
        let ready = self.ready.lock();
        if ready.iter().any(|client| (0..ROWS).any(|row| !found.contains_key(&number(*client, row)))) {
            self.context.violations.report(format!("impatient: rows of {ready:?} are lost: {found:?}"));
        }
        Ok(())
    }
}

fn number(client: usize, row: usize) -> u64 {
    (client * 16 + row) as u64
}

fn rows(client: usize) -> Vec<Key> {
    (0..ROWS).map(|row| row_key(TABLE, number(client, row))).collect()
}

fn is_held_by<T>(outcome: &Result<T>, txn: &Txn) -> bool {
    matches!(
        outcome,
        Err(Error::Store(StoreError::LockNotAvailable { holder: Some(holder) })) if *holder == txn.id()
    )
}

/// How many of the rows were locked.
async fn lock(txn: &Txn, rows: &[Key], wait: LockWait, by_scan: bool) -> Result<usize> {
    let read = ReadOptions { wait, ..ReadOptions::locking(LockStrength::Exclusive) };
    if !by_scan {
        let values = txn.get_many(rows, read).await?;
        return Ok(values.iter().flatten().count());
    }
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(0) };
    let span = Span::new(first.clone(), basalt_base::keys::prefix_end(last));
    let mut request = ScanRequest { read, ..ScanRequest::new(span) };
    let mut count = 0;
    loop {
        let page = txn.scan(request.clone()).await?;
        if let ScanBatch::Rows(rows) = &page.batch {
            count += rows.len();
        }
        match page.resume {
            Some(resume) => request.span = resume,
            None => return Ok(count),
        }
    }
}
