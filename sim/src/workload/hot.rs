//! A few rows that everybody writes without reading them, several in one request and in any order: requests wait at one key
//! and keep their place at another, so that waits go round over several nodes in ways that no lock alone shows. Between
//! them statements are cut off and taken back, so that the locks of a request whose answer nobody awaited are given up
//! while their transaction goes on.
//!
//! A row has the number of the last commit that wrote it, and never one that was taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use basalt_base::{Key, Timestamp};
use basalt_txn::{Result, Txn, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, bank::scan_numbers, row_key, row_value, transact};

/// Far apart, so that they are in different ranges whenever there are several.
const TABLES: [u8; 2] = [b'h', b'z'];
const ROWS_PER_TABLE: u64 = 4;
const ROWS: u64 = ROWS_PER_TABLE * TABLES.len() as u64;

/// One row, or a statement of several.
#[derive(Clone, Debug)]
struct Statement {
    rows: Vec<u64>,
    /// Sent at once, and awaited.
    flush: bool,
    /// Taken back: its request is cut off after so long.
    cut: Option<Duration>,
}

/// What is known of a row's writers.
#[derive(Default)]
struct Writers {
    /// The newest commit that was answered.
    last: Option<(Timestamp, u64)>,
    /// Of commits without an answer, or still on their way.
    possible: BTreeSet<u64>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Hot {
    context: Context,
    rows: Arc<Mutex<BTreeMap<u64, Writers>>>,
}

impl Hot {
    pub fn new(context: Context) -> Self {
        Self { context, rows: Arc::default() }
    }

    pub async fn step(&self, client: usize) {
        let context = self.context.clone();
        // What is taken back is written with the number behind.
        let (tag, undone) = (context.event(), context.event());
        let plan = self.plan();
        let kept = plan.iter().filter(|statement| statement.cut.is_none());
        let written: BTreeSet<u64> = kept.flat_map(|statement| statement.rows.iter().copied()).collect();
        for row in &written {
            self.rows.lock().entry(*row).or_default().possible.insert(tag);
        }
        let (statements, inside) = (plan.clone(), context.clone());
        let body = move |txn: Txn| {
            let (plan, context) = (statements.clone(), inside.clone());
            async move { run(&context, &txn, &plan, tag, undone).await }
        };
        let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
        let mut rows = self.rows.lock();
        for row in &written {
            let writers = rows.entry(*row).or_default();
            match &ended {
                Ended::Unknown(_) => {}
                Ended::Committed((), at) => {
                    writers.possible.remove(&tag);
                    writers.last = writers.last.max(Some((*at, tag)));
                }
                Ended::Failed(_) | Ended::NotStarted => drop(writers.possible.remove(&tag)),
            }
        }
        drop(rows);
        context.trace.line(|| format!("client {client} hot {tag} {plan:?}: {ended:?}"));
    }

    fn plan(&self) -> Vec<Statement> {
        let context = &self.context;
        let mut plan = Vec::new();
        for _ in 0..=context.below(3) {
            let count = 1 + usize::try_from(context.below(4)).expect("small");
            let rows = (0..count).map(|_| context.below(ROWS)).collect();
            let cut = context.one_in(4).then(|| Duration::from_millis(context.below(40)));
            plan.push(Statement { rows, flush: context.rng.coin(), cut });
        }
        plan
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let mut found = BTreeMap::new();
        for (number, table) in (0..).zip(TABLES) {
            let rows = scan_numbers(txn, table, false, 0).await?;
            found.extend(rows.into_iter().map(|(row, tag)| (number * ROWS_PER_TABLE + row, tag)));
        }
        for row in 0..ROWS {
            let tag = found.get(&row).copied();
            let rows = self.rows.lock();
            let last = rows.get(&row).and_then(|writers| writers.last).map(|(_, tag)| tag);
            let possible =
                rows.get(&row).zip(tag).is_some_and(|(writers, tag)| writers.possible.contains(&tag));
            if tag != last && !possible {
                let problem = format!("hot: row {row} has {tag:?}, the last commit was {last:?}");
                self.context.violations.report(problem);
            }
        }
        Ok(())
    }
}

async fn run(context: &Context, txn: &Txn, plan: &[Statement], tag: u64, undone: u64) -> Result<()> {
    for statement in plan {
        let savepoint = txn.savepoint();
        txn.statement();
        let tag = if statement.cut.is_some() { undone } else { tag };
        for row in &statement.rows {
            txn.put(key(*row), row_value(tag, 0))?;
        }
        match statement.cut {
            Some(pause) => {
                let cut = tokio::select! {
                    biased;
                    flushed = txn.flush_all() => flushed.map(|()| false)?,
                    () = context.cluster.executor().sleep(pause) => true,
                };
                txn.rollback_to(&savepoint)?;
                context.reached.count(if cut { "cut off and taken back" } else { "sent and taken back" });
            }
            None if statement.flush => txn.flush_all().await?,
            None => txn.flush_if_needed().await?,
        }
    }
    Ok(())
}

fn key(row: u64) -> Key {
    let table = usize::try_from(row / ROWS_PER_TABLE).expect("small");
    row_key(TABLES[table], row % ROWS_PER_TABLE)
}
