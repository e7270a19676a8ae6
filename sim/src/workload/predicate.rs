//! Transactions that scan one set of rows and change another one because of it: each half alone looks harmless, phantoms
//! show in both. See [`crate::check::predicate`].

use std::collections::BTreeMap;

use basalt_base::{Key, Span};
use basalt_txn::{Result, Txn};

use super::{
    Context,
    bank::scan_span,
    recorded::{Recorded, Rotation},
    row_key, row_value,
};
use crate::check::{Level, history::Operation, predicate};

const ROWS: u8 = b'p';
const SLOTS: u64 = 3;
/// Also a bound on the rows of a set.
const USES_MAX: u64 = 40;
/// The room of a set in the table.
const SET_BITS: u32 = 32;

#[derive(Clone, Copy, Debug)]
struct Plan {
    scanned: [u64; 2],
    /// How many of them.
    scans: usize,
    /// Set and row.
    insert: Option<(u64, u64)>,
    /// Of the oldest row of the first set.
    delete: bool,
    rows_max: u64,
    reverse: bool,
    padding: usize,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Predicate {
    context: Context,
    sets: Rotation,
    recorded: Recorded,
}

impl Predicate {
    pub fn new(context: Context) -> Self {
        let recorded = Recorded::new(context.clone(), "predicate");
        Self { context, sets: Rotation::new(SLOTS, USES_MAX), recorded }
    }

    pub async fn step(&self, client: usize) {
        let context = &self.context;
        let row = context.event();
        let plan = Plan {
            scanned: [self.sets.key(context), self.sets.key(context)],
            scans: if context.rng.coin() { 2 } else { 1 },
            insert: (!context.one_in(4)).then(|| (self.sets.key(context), row)),
            delete: context.one_in(4),
            rows_max: context.below(4),
            reverse: context.rng.coin(),
            padding: context.padding(),
        };
        let intended = plan.insert.map(|(set, row)| Operation::Insert { set, key: row, value: row });
        let body = move |txn: Txn| async move { run(&txn, &plan).await };
        self.recorded.transact(client, intended.into_iter().collect(), body).await;
    }

    /// Scans every set and judges the history.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let started = self.context.event();
        let mut operations = Vec::new();
        for set in self.sets.keys() {
            let rows = scan(txn, set, false, 0).await?;
            operations.push(Operation::Scan { set, rows: rows.into_iter().collect() });
        }
        self.recorded.judge(started, operations, |history| predicate::check(history, Level::Serializable));
        Ok(())
    }

    pub fn committed(&self) -> usize {
        self.recorded.committed()
    }
}

async fn run(txn: &Txn, plan: &Plan) -> Result<Vec<Operation>> {
    let mut done = Vec::new();
    let mut oldest = None;
    for (position, set) in plan.scanned[..plan.scans].iter().enumerate() {
        txn.statement();
        let rows = scan(txn, *set, plan.reverse, plan.rows_max).await?;
        if position == 0 {
            oldest = rows.keys().next().copied();
        }
        done.push(Operation::Scan { set: *set, rows: rows.into_iter().collect() });
    }
    if let Some((set, row)) = plan.insert {
        txn.put(predicate_key(set, row), row_value(row, plan.padding))?;
        done.push(Operation::Insert { set, key: row, value: row });
    }
    if let (true, Some(row)) = (plan.delete, oldest) {
        let set = plan.scanned[0];
        txn.delete(predicate_key(set, row))?;
        done.push(Operation::Delete { set, key: row });
    }
    txn.flush_if_needed().await?;
    Ok(done)
}

/// The rows of a set by key.
async fn scan(txn: &Txn, set: u64, reverse: bool, rows_max: u64) -> Result<BTreeMap<u64, u64>> {
    let span = Span::new(predicate_key(set, 0), predicate_key(set + 1, 0));
    let rows = scan_span(txn, span, reverse, rows_max).await?;
    Ok(rows.into_iter().map(|(number, value)| (number & ((1 << SET_BITS) - 1), value)).collect())
}

fn predicate_key(set: u64, row: u64) -> Key {
    row_key(ROWS, set << SET_BITS | row)
}
