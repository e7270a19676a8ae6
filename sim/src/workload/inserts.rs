//! Rows that may not be there yet, whose absence only the store looks at. No insert replaces a row, and a duplicate that
//! a transaction was told of is there when it commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use basalt_base::Timestamp;
use basalt_kv_api::Error as StoreError;
use basalt_txn::{Error, ReadOptions, Result, Txn, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, bank::scan_numbers, row_key, row_number, row_value, transact};

const TABLE: u8 = b'i';
const ROWS: u64 = 12;
/// Written by all who met a duplicate: it makes them commit later than they have read.
const NOTE: u64 = 1_000;

/// What a transaction did before its commit.
#[derive(Clone, Debug)]
enum Done {
    Inserted,
    Duplicate(u64),
    Removed(Option<u64>),
}

#[derive(Default)]
struct Ledger {
    /// Row and number; false if only perhaps.
    inserted: BTreeMap<(u64, u64), bool>,
    removed: BTreeMap<(u64, u64), bool>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Inserts {
    context: Context,
    ledger: Arc<Mutex<Ledger>>,
}

impl Inserts {
    pub fn new(context: Context) -> Self {
        Self { context, ledger: Arc::default() }
    }

    pub async fn step(&self, client: usize) {
        if self.context.one_in(3) {
            self.remove(client).await;
        } else {
            self.insert(client).await;
        }
    }

    async fn insert(&self, client: usize) {
        let context = &self.context;
        let number = context.event();
        let rows: BTreeSet<u64> = (0..=context.below(4)).map(|_| context.below(ROWS)).collect();
        let (at_once, padding) = (context.rng.coin(), context.padding());
        let wanted = rows.clone();
        let body = move |txn: Txn| {
            let rows = wanted.clone();
            async move { insert_all(&txn, &rows, number, at_once, padding).await }
        };
        let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
        let note = |certain| {
            let entries = rows.iter().map(|row| ((*row, number), certain));
            self.ledger.lock().inserted.extend(entries);
        };
        match &ended {
            Ended::Committed(Done::Inserted, _) => {
                note(true);
                context.reached.count("insert");
            }
            Ended::Unknown(Some(Done::Inserted)) => note(false),
            Ended::Committed(Done::Duplicate(row), timestamp) => {
                context.reached.count("duplicate told by the store");
                self.check_duplicate(*row, *timestamp).await;
            }
            Ended::Failed(Error::Store(StoreError::KeyExists { .. })) => {
                context.reached.count("duplicate told by the store");
            }
            _ => {}
        }
        context.trace.line(|| format!("client {client} inserts {number} at {rows:?}: {ended:?}"));
    }

    /// Looks at the past, at the moment of a commit.
    async fn check_duplicate(&self, row: u64, at: Timestamp) {
        let context = &self.context;
        let config = TxnConfig { as_of: Some(at), ..TxnConfig::default() };
        let body = move |txn: Txn| async move {
            Ok(txn.get(&row_key(TABLE, row), ReadOptions::default()).await?.is_some())
        };
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        if let Ended::Committed(false, _) = ended {
            context.violations.report(format!("inserts: the duplicate {row} is not there at {at}"));
        }
    }

    async fn remove(&self, client: usize) {
        let context = &self.context;
        let row = context.below(ROWS);
        let body = move |txn: Txn| async move {
            let value = txn.get(&row_key(TABLE, row), ReadOptions::default()).await?;
            let number = value.as_deref().and_then(row_number);
            if number.is_some() {
                txn.delete(row_key(TABLE, row))?;
            }
            Ok(Done::Removed(number))
        };
        let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
        match &ended {
            Ended::Committed(Done::Removed(Some(number)), _) => {
                self.ledger.lock().removed.insert((row, *number), true);
            }
            Ended::Unknown(Some(Done::Removed(Some(number)))) => {
                self.ledger.lock().removed.insert((row, *number), false);
            }
            _ => {}
        }
        context.trace.line(|| format!("client {client} removes {row}: {ended:?}"));
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let mut rows = scan_numbers(txn, TABLE, false, 0).await?;
        rows.remove(&NOTE);
        let ledger = self.ledger.lock();
        let violations = &self.context.violations;
        for (row, number) in &rows {
            if !ledger.inserted.contains_key(&(*row, *number)) {
                violations.report(format!("inserts: row {row} has {number}, which was not inserted"));
            }
            if ledger.removed.get(&(*row, *number)) == Some(&true) {
                violations.report(format!("inserts: row {row} still has {number}, which was removed"));
            }
        }
        for ((row, number), certain) in &ledger.inserted {
            let there = rows.get(row) == Some(number);
            if *certain && !there && !ledger.removed.contains_key(&(*row, *number)) {
                violations.report(format!("inserts: {number} at row {row} was replaced or lost"));
            }
        }
        Ok(())
    }
}

async fn insert_all(
    txn: &Txn,
    rows: &BTreeSet<u64>,
    number: u64,
    at_once: bool,
    padding: usize,
) -> Result<Done> {
    let savepoint = txn.savepoint();
    let inserted = async {
        for row in rows {
            txn.insert(row_key(TABLE, *row), row_value(number, padding))?;
            txn.flush_if_needed().await?;
        }
        if at_once { txn.flush_all().await } else { Ok(()) }
    };
    let key = match inserted.await {
        Ok(()) => return Ok(Done::Inserted),
        Err(Error::Store(StoreError::KeyExists { key })) => key,
        Err(error) => return Err(error),
    };
    txn.rollback_to(&savepoint)?;
    let row = key.get(2..).and_then(row_number).unwrap_or(u64::MAX);
    txn.put(row_key(TABLE, NOTE), row_value(number, 0))?;
    Ok(Done::Duplicate(row))
}
