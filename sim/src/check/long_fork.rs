//! Two readers that saw two independent writes in different orders.
//!
//! Every key is written once, and readers read whole groups of keys. In one order of commits the keys only fill up, so of
//! two reads of a group one shows everything that the other one does. A long fork is forbidden by serializability and by
//! snapshot isolation, and allowed by parallel snapshot isolation (Sovran and others, "Transactional storage for
//! geo-replicated systems", 2011); lazily ordered replicas produce it.
//!
//! Real time plays no part: the search finds it even where the times explain nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anomaly::{Anomaly, Findings, Kind},
    history::{Operation, Outcome, Transaction},
};

/// Compares all committed reads of the same group of keys.
pub fn check(history: &[Transaction]) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    let mut writers: BTreeMap<u64, &Transaction> = BTreeMap::new();
    // By the keys that were read: those that were set, and the first reader that saw just them.
    let mut groups: BTreeMap<Vec<u64>, BTreeMap<BTreeSet<u64>, &Transaction>> = BTreeMap::new();
    for transaction in history {
        let mut read = BTreeMap::new();
        for operation in &transaction.operations {
            match operation {
                Operation::Write { key, .. } if writers.insert(*key, transaction).is_some() => {
                    findings.report(Kind::BadHistory, || format!("register {key} is written twice"));
                }
                Operation::Read { key, value } => {
                    read.insert(*key, value.is_some());
                }
                _ => {}
            }
        }
        if transaction.outcome == Outcome::Committed && read.len() > 1 {
            let set = read.iter().filter(|(_, is_set)| **is_set).map(|(key, _)| *key).collect();
            let group = groups.entry(read.into_keys().collect()).or_default();
            group.entry(set).or_insert(transaction);
        }
    }
    for states in groups.values() {
        let mut states: Vec<(&BTreeSet<u64>, &&Transaction)> = states.iter().collect();
        states.sort_by_key(|(set, _)| set.len());
        // A chain of sets, each within the next: neighbours are enough.
        for pair in states.windows(2) {
            let ((fewer, one), (more, other)) = (pair[0], pair[1]);
            let (Some(first), Some(second)) = (fewer.difference(more).next(), more.difference(fewer).next())
            else {
                continue;
            };
            findings.report(Kind::LongFork, || {
                let lines = [*one, *other].into_iter().chain(writers.get(first).copied());
                let lines = lines.chain(writers.get(second).copied());
                let lines: Vec<String> = lines.map(|transaction| format!("\n    {transaction}")).collect();
                format!(
                    "T{} saw {first} but not {second}, T{} saw {second} but not {first}{}",
                    one.id,
                    other.id,
                    lines.concat()
                )
            });
        }
    }
    findings.into_anomalies()
}
