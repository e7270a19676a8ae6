//! Statements that are cancelled: their futures are dropped where they happen to be, often while they wait for a lock
//! that somebody else keeps. What then ends the transaction may not wait for that lock, and must leave nothing behind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_base::{ErrorKind, Key};
use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, Restart, Result, Savepoint, Txn, TxnClient, TxnConfig};
use parking_lot::Mutex;

use super::{Context, bank::scan_numbers, row_key, row_value};

const TABLE: u8 = b'c';
/// Rows that change together.
const ROWS: u64 = 8;
/// One per client, which only he locks, so that whoever waits for it waits for his own other transaction.
const WALLS: u64 = 1_000;
/// One per client, to see whether a transaction's locks are gone.
const PROBES: u64 = 2_000;

/// Virtual time in which a transaction must end: some rounds of a log whose syncs stall.
const END_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Statement,
    Flush,
    BackgroundFlush,
    Commit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Rollback,
    Restart,
    Savepoint,
    Drop,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    client: u64,
    /// Written before the cancellation.
    tag: u64,
    /// Written after ROLLBACK TO.
    later: u64,
    cut: Cut,
    ending: Ending,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Cancelled {
    context: Context,
    /// Whether what was written with a tag may be there.
    tags: Arc<Mutex<BTreeMap<u64, bool>>>,
}

impl Cancelled {
    pub fn new(context: Context) -> Self {
        Self { context, tags: Arc::default() }
    }

    pub async fn step(&self, client: usize) {
        let context = &self.context;
        let pick = |count| usize::try_from(context.below(count)).expect("small");
        let cut = [Cut::Statement, Cut::Flush, Cut::BackgroundFlush, Cut::Commit][pick(4)];
        let ending = [Ending::Rollback, Ending::Restart, Ending::Savepoint, Ending::Drop][pick(4)];
        let plan = Plan { client: client as u64, tag: context.event(), later: context.event(), cut, ending };
        self.tags.lock().extend([(plan.tag, cut == Cut::Commit), (plan.later, false)]);
        let this = self.clone();
        let session =
            context.cluster.session(move |node| Box::pin(async move { this.run(&node, plan).await }));
        let Some(session) = session else { return };
        // The node may crash meanwhile.
        let ended = session.await;
        context.trace.line(|| format!("client {client} {plan:?}: {ended:?}"));
    }

    async fn run(&self, node: &TxnClient, plan: Plan) -> Result<()> {
        let context = &self.context;
        let locking = ReadOptions::locking(LockStrength::Exclusive);
        let wall = row_key(TABLE, WALLS + plan.client);
        let holder = node.begin(TxnConfig::default())?;
        let blocked = matches!(plan.cut, Cut::Flush | Cut::BackgroundFlush);
        if blocked {
            holder.get(&wall, locking).await?;
        }
        let txn = node.begin(TxnConfig::default())?;
        let savepoint = txn.savepoint();
        txn.statement();
        let idle = Mutex::new(false);
        let done = {
            let statement = self.statement(&txn, plan, &wall, &idle);
            let cut = async {
                let pause = if blocked { 1 + context.below(1_500) } else { 0 };
                context.cluster.executor().sleep(Duration::from_millis(pause)).await;
                context.cluster.executor().steps(context.below(400)).await;
            };
            tokio::select! {
                biased;
                done = statement => Some(done),
                () = cut => None,
            }
        };
        match done {
            None => self.count_cut(plan.cut, *idle.lock()),
            Some(Ok(())) if plan.cut == Cut::Commit => return Ok(()),
            Some(outcome) => {
                self.within("a rollback", txn.rollback()).await;
                return outcome;
            }
        }
        self.end(node, txn, plan, &savepoint).await?;
        holder.rollback().await;
        Ok(())
    }

    /// What is cancelled. `idle`: it has done its work and leaves the rest to the flush in the background.
    async fn statement(&self, txn: &Txn, plan: Plan, wall: &Key, idle: &Mutex<bool>) -> Result<()> {
        let context = &self.context;
        if plan.cut == Cut::Statement {
            txn.get(&row_key(TABLE, 0), ReadOptions::locking(LockStrength::Exclusive)).await?;
            scan_numbers(txn, TABLE, context.rng.coin(), context.below(4)).await?;
        }
        txn.put(row_key(TABLE, PROBES + plan.client), row_value(plan.tag, 0))?;
        for row in 0..ROWS {
            txn.put(row_key(TABLE, row), row_value(plan.tag, context.padding()))?;
            if plan.cut == Cut::Statement {
                txn.flush_if_needed().await?;
            }
        }
        match plan.cut {
            Cut::Commit => return txn.commit().await.map(drop),
            Cut::Statement => {}
            Cut::Flush | Cut::BackgroundFlush => txn.put(wall.clone(), row_value(plan.tag, 0))?,
        }
        if plan.cut == Cut::BackgroundFlush {
            txn.flush_if_needed().await?;
            *idle.lock() = true;
            std::future::pending::<()>().await;
        }
        txn.flush_all().await
    }

    fn count_cut(&self, cut: Cut, idle: bool) {
        let flushes = self.context.parameters.buffer_bytes_max < 1_000;
        let what = match cut {
            Cut::Statement => "cancelled statement",
            Cut::Flush => "cancelled flush",
            Cut::BackgroundFlush if idle && flushes => "cancelled background flush",
            Cut::BackgroundFlush => return,
            Cut::Commit => "cancelled commit",
        };
        self.context.reached.count(what);
    }

    async fn end(&self, node: &TxnClient, txn: Txn, plan: Plan, savepoint: &Savepoint) -> Result<()> {
        let reached = &self.context.reached;
        match plan.ending {
            Ending::Restart if plan.cut != Cut::Commit => {
                let restarted = self.within("a restart", txn.restart(Restart::NewTransaction)).await;
                if let Some(Ok(())) = restarted {
                    reached.count("restart after a cancel");
                }
            }
            Ending::Savepoint if plan.cut != Cut::Commit && txn.rollback_to(savepoint).is_ok() => {
                reached.count("rollback to a savepoint after a cancel");
                self.tags.lock().insert(plan.later, true);
                for row in 0..ROWS {
                    txn.put(row_key(TABLE, row), row_value(plan.later, 0))?;
                }
                // It may wait for others who are cancelled soon, but no more for the wall.
                match txn.commit().await {
                    Ok(_) => return Ok(()),
                    Err(error) if error.kind() == ErrorKind::Ambiguous => return Ok(()),
                    Err(_) => drop(self.tags.lock().insert(plan.later, false)),
                }
            }
            Ending::Drop => {
                drop(txn);
                reached.count("dropped after a cancel");
                let probe = node.begin(TxnConfig::default())?;
                let key = row_key(TABLE, PROBES + plan.client);
                let lock = ReadOptions::locking(LockStrength::Exclusive);
                // Any answer will do.
                let _ = self.within("a lock of a dropped transaction", probe.get(&key, lock)).await;
                probe.rollback().await;
                return Ok(());
            }
            _ => {}
        }
        self.within("a rollback", txn.rollback()).await;
        reached.count("rollback after a cancel");
        Ok(())
    }

    async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = future => Some(value),
            () = self.context.cluster.executor().sleep(END_MAX) => {
                self.context.violations.report(format!("cancelled: {what} takes longer than {END_MAX:?}"));
                None
            }
        }
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let rows = scan_numbers(txn, TABLE, false, 0).await?;
        let violations = &self.context.violations;
        for (row, tag) in &rows {
            if self.tags.lock().get(tag) != Some(&true) {
                violations.report(format!("cancelled: row {row} has {tag}, which was given up"));
            }
        }
        let together: Vec<u64> = rows.range(..ROWS).map(|(_, tag)| *tag).collect();
        let whole = together.is_empty() || together.len() as u64 == ROWS;
        if !whole || together.windows(2).any(|pair| pair[0] != pair[1]) {
            violations.report(format!("cancelled: torn: {together:?}"));
        }
        Ok(())
    }
}
