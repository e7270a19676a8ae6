//! Reads, blind writes and read-then-write transactions on single keys. Each key's history must be linearizable.

use std::{collections::BTreeMap, sync::Arc};

use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, Result, Txn, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, row_key, row_number, row_value, transact};
use crate::check::linearizable::{self, Action, Operation};

const REGISTERS: u8 = b'x';

/// Cheap to clone.
#[derive(Clone)]
pub struct Register {
    context: Context,
    histories: Arc<Mutex<BTreeMap<u64, Vec<Operation>>>>,
}

impl Register {
    pub fn new(context: Context) -> Self {
        Self { context, histories: Arc::default() }
    }

    /// The same registers for a client that has a connection to one node only.
    #[must_use]
    pub fn at(&self, place: usize) -> Self {
        let context = Context { cluster: self.context.cluster.at(place), ..self.context.clone() };
        Self { context, histories: Arc::clone(&self.histories) }
    }

    pub async fn step(&self, client: usize) {
        self.access(client, self.context.below(3)).await;
    }

    pub async fn read(&self, client: usize) {
        self.access(client, 0).await;
    }

    async fn access(&self, client: usize, kind: u64) {
        let context = self.context.clone();
        let register = context.below(context.parameters.registers);
        let lock = context.rng.coin().then_some(LockStrength::Exclusive);
        let padding = context.padding();
        let invoked = context.event();
        // Unique for ever.
        let number = invoked;
        let body = move |txn: Txn| async move {
            let key = row_key(REGISTERS, register);
            let read = ReadOptions { lock: lock.filter(|_| kind == 2), ..ReadOptions::default() };
            let seen = if kind == 1 { None } else { txn.get(&key, read).await? };
            if kind != 0 {
                txn.put(key, row_value(number, padding))?;
                txn.flush_if_needed().await?;
            }
            Ok(seen.and_then(|value| row_number(&value)))
        };
        let config = TxnConfig::default();
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        let completed = context.event();
        let (seen, completed) = match &ended {
            Ended::Committed(seen, _) => (Some(*seen), Some(completed)),
            Ended::Unknown(Some(seen)) => (Some(*seen), None),
            Ended::Unknown(None) | Ended::Failed(_) | Ended::NotStarted => (None, None),
        };
        if let Some(seen) = seen {
            let action = match kind {
                0 => Action::Read(seen),
                1 => Action::Write(number),
                _ => Action::Swap { from: seen, to: number },
            };
            let operation = Operation { client, action, invoked, completed };
            self.histories.lock().entry(register).or_default().push(operation);
        }
        context.trace.line(|| format!("client {client} register {register} kind {kind} {number}: {ended:?}"));
    }

    /// Adds a last read of every register and judges the histories.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        for register in 0..self.context.parameters.registers {
            let invoked = self.context.event();
            let value = txn.get(&row_key(REGISTERS, register), ReadOptions::default()).await?;
            let action = Action::Read(value.and_then(|value| row_number(&value)));
            let completed = Some(self.context.event());
            let operation = Operation { client: usize::MAX, action, invoked, completed };
            let mut histories = self.histories.lock();
            let history = histories.entry(register).or_default();
            history.push(operation);
            // With clocks that are too far apart, reads may be stale.
            if self.context.parameters.clocks_hold()
                && let Err(reason) = linearizable::check(None, history)
            {
                self.context.violations.report(format!("register {register}: {reason}"));
            }
        }
        Ok(())
    }
}
