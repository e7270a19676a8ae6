//! Transfers between accounts: money is neither made nor lost.
//!
//! Whoever reads all accounts in one transaction, before changing any, must find the sum that was there at first. That
//! holds at every level from snapshot isolation on, for reads of the past and on followers too.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anomaly::{Anomaly, Findings, Kind},
    history::{Operation, Outcome, Transaction},
};

/// Adds up every committed read of all `accounts`; an account that was never written holds nothing.
pub fn check(history: &[Transaction], accounts: &BTreeSet<u64>, total: u128) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    for transaction in history.iter().filter(|transaction| transaction.outcome == Outcome::Committed) {
        let mut balances: BTreeMap<u64, u64> = BTreeMap::new();
        let mut changed = BTreeSet::new();
        for operation in &transaction.operations {
            match operation {
                Operation::Write { key, .. } => {
                    changed.insert(*key);
                }
                Operation::Read { key, value } if accounts.contains(key) && !changed.contains(key) => {
                    let balance = value.unwrap_or_default();
                    let before = *balances.entry(*key).or_insert(balance);
                    if before != balance {
                        findings.report(Kind::Internal, || {
                            format!("account {key} holds {before} and then {balance}\n    {transaction}")
                        });
                    }
                }
                _ => {}
            }
        }
        let sum: u128 = balances.values().map(|balance| u128::from(*balance)).sum();
        if balances.len() == accounts.len() && sum != total {
            findings.report(Kind::WrongSum, || {
                format!("T{} found {sum} instead of {total}: {balances:?}\n    {transaction}", transaction.id)
            });
        }
    }
    findings.into_anomalies()
}
