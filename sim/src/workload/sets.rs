//! Elements are added to sets, sometimes removed, and the sets are read; see [`crate::check::sets`].

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, Span};
use basalt_txn::{Result, Txn};
use parking_lot::Mutex;

use super::{
    Context, Ended,
    bank::scan_span,
    recorded::{Recorded, Rotation},
    row_key, row_value,
};
use crate::check::{history::Operation, sets};

const ELEMENTS: u8 = b'e';
const SLOTS: u64 = 2;
const USES_MAX: u64 = 150;
/// The room of a set in the table.
const SET_BITS: u32 = 32;

/// Cheap to clone.
#[derive(Clone)]
pub struct Sets {
    context: Context,
    sets: Rotation,
    /// Set and element of acknowledged additions, to be removed one day.
    added: Arc<Mutex<Vec<(u64, u64)>>>,
    recorded: Recorded,
}

impl Sets {
    pub fn new(context: Context) -> Self {
        let recorded = Recorded::new(context.clone(), "sets");
        Self { context, sets: Rotation::new(SLOTS, USES_MAX), added: Arc::default(), recorded }
    }

    pub async fn step(&self, client: usize) {
        match self.context.below(6) {
            0 => self.read(client).await,
            1 => self.remove(client).await,
            _ => self.add(client).await,
        }
    }

    /// Up to five elements at once.
    async fn add(&self, client: usize) {
        let context = &self.context;
        let elements: Vec<(u64, u64)> =
            (0..=context.below(5)).map(|_| (self.sets.key(context), context.event())).collect();
        let inserts: Vec<Operation> = elements
            .iter()
            .map(|(set, key)| Operation::Insert { set: *set, key: *key, value: *key })
            .collect();
        let (intended, wanted, padding) = (inserts.clone(), elements.clone(), context.padding());
        let body = move |txn: Txn| {
            let (inserts, elements) = (inserts.clone(), wanted.clone());
            async move {
                for (set, key) in elements {
                    txn.put(element_key(set, key), row_value(key, padding))?;
                    txn.flush_if_needed().await?;
                }
                Ok(inserts)
            }
        };
        let ended = self.recorded.transact(client, intended, body).await;
        if matches!(ended, Ended::Committed(..)) {
            self.added.lock().extend(elements);
        }
    }

    async fn remove(&self, client: usize) {
        let picked = {
            let mut added = self.added.lock();
            let position = usize::try_from(self.context.below(added.len().max(1) as u64)).expect("small");
            (position < added.len()).then(|| added.swap_remove(position))
        };
        let Some((set, key)) = picked else { return };
        let delete = Operation::Delete { set, key };
        let intended = vec![delete.clone()];
        let body = move |txn: Txn| {
            let delete = delete.clone();
            async move {
                txn.delete(element_key(set, key))?;
                Ok(vec![delete])
            }
        };
        self.recorded.transact(client, intended, body).await;
    }

    async fn read(&self, client: usize) {
        let set = self.sets.key(&self.context);
        let rows_max = self.context.below(5);
        let body = move |txn: Txn| async move { Ok(vec![scan(&txn, set, rows_max).await?]) };
        self.recorded.transact(client, Vec::new(), body).await;
    }

    /// Reads every set and judges the history.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let started = self.context.event();
        let mut operations = Vec::new();
        for set in self.sets.keys() {
            operations.push(scan(txn, set, 0).await?);
        }
        self.recorded.judge(started, operations, sets::check);
        Ok(())
    }

    pub fn committed(&self) -> usize {
        self.recorded.committed()
    }
}

async fn scan(txn: &Txn, set: u64, rows_max: u64) -> Result<Operation> {
    let span = Span::new(element_key(set, 0), element_key(set + 1, 0));
    let rows: BTreeMap<u64, u64> = scan_span(txn, span, false, rows_max).await?;
    let rows = rows.into_iter().map(|(number, value)| (number & ((1 << SET_BITS) - 1), value));
    Ok(Operation::Scan { set, rows: rows.collect() })
}

fn element_key(set: u64, element: u64) -> Key {
    row_key(ELEMENTS, set << SET_BITS | element)
}
