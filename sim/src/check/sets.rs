//! Unique elements are added to a set, perhaps removed, and the set is read.
//!
//! An element whose addition was acknowledged is in every read that began later, unless a removal may have taken effect;
//! one that was removed, or never added, is in none; one that was seen stays unless somebody tries to remove it. Only
//! times and acknowledgements are used, no order of transactions, so that the judgement is easy to follow.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anomaly::{Anomaly, Findings, Kind},
    history::{Operation, Outcome, Transaction},
};

#[derive(Default)]
struct Element<'a> {
    added: Option<&'a Transaction>,
    /// By transactions that may have taken effect.
    removals: Vec<&'a Transaction>,
    /// The read that ended first of those that show it.
    first_seen: Option<&'a Transaction>,
}

type Elements<'a> = BTreeMap<(u64, u64), Element<'a>>;

/// Judges every committed scan of every set.
pub fn check(history: &[Transaction]) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    let mut elements = Elements::new();
    let mut scans: Vec<(&Transaction, u64, BTreeSet<u64>)> = Vec::new();
    for transaction in history {
        for (position, operation) in transaction.operations.iter().enumerate() {
            match operation {
                Operation::Insert { set, key, .. } => {
                    let element = elements.entry((*set, *key)).or_default();
                    if element.added.replace(transaction).is_some() {
                        findings.report(Kind::BadHistory, || format!("{key} is added to set {set} twice"));
                    }
                }
                Operation::Delete { set, key } if transaction.outcome != Outcome::Failed => {
                    elements.entry((*set, *key)).or_default().removals.push(transaction);
                }
                Operation::Scan { set, rows } if transaction.outcome == Outcome::Committed => {
                    let keys: BTreeSet<u64> = rows.iter().map(|(key, _)| *key).collect();
                    if keys.len() < rows.len() {
                        findings.report(Kind::Duplicate, || format!("a row comes twice\n    {transaction}"));
                    }
                    // Own changes are for the internal check.
                    let own = transaction.operations[..position].iter().any(is_change);
                    if !own {
                        scans.push((transaction, *set, keys));
                    }
                }
                _ => {}
            }
        }
    }
    note_first_seen(&scans, &mut elements);
    for (reader, set, keys) in &scans {
        judge_present(reader, *set, keys, &elements, &mut findings);
        for ((_, key), element) in elements.range((*set, 0)..=(*set, u64::MAX)) {
            if !keys.contains(key) {
                judge_absent(reader, *set, *key, element, &mut findings);
            }
        }
    }
    findings.into_anomalies()
}

fn is_change(operation: &Operation) -> bool {
    matches!(operation, Operation::Insert { .. } | Operation::Delete { .. })
}

fn note_first_seen<'a>(scans: &[(&'a Transaction, u64, BTreeSet<u64>)], elements: &mut Elements<'a>) {
    for (reader, set, keys) in scans {
        for key in keys {
            let element = elements.entry((*set, *key)).or_default();
            if element.first_seen.is_none_or(|first| reader.ended < first.ended) {
                element.first_seen = Some(reader);
            }
        }
    }
}

fn judge_present(
    reader: &Transaction,
    set: u64,
    keys: &BTreeSet<u64>,
    elements: &Elements<'_>,
    findings: &mut Findings,
) {
    for key in keys {
        let Some(element) = elements.get(&(set, *key)) else { continue };
        let place = || format!("T{} saw {key} in set {set}", reader.id);
        let Some(added) = element.added else {
            findings.report(Kind::NeverWritten, || format!("{}\n    {reader}", place()));
            continue;
        };
        if added.outcome == Outcome::Failed {
            findings.report(Kind::G1a, || format!("{}\n    {reader}\n    {added}", place()));
        } else if reader.precedes(added) {
            findings
                .report(Kind::NeverWritten, || format!("{} too early\n    {reader}\n    {added}", place()));
        }
        if let Some(removal) = element.removals.iter().find(|removal| removal.precedes(reader))
            && removal.started > added.started
        {
            findings.report(Kind::Revived, || format!("{}\n    {reader}\n    {removal}", place()));
        }
    }
}

fn judge_absent(reader: &Transaction, set: u64, key: u64, element: &Element<'_>, findings: &mut Findings) {
    if element.removals.iter().any(|removal| !reader.precedes(removal)) {
        return;
    }
    let place = || format!("T{} did not see {key} in set {set}", reader.id);
    if let Some(added) = element.added.filter(|added| added.precedes(reader)) {
        findings.report(Kind::LostWrite, || format!("{}\n    {reader}\n    {added}", place()));
    } else if let Some(earlier) = element.first_seen.filter(|earlier| earlier.precedes(reader)) {
        findings.report(Kind::LostWrite, || format!("{}, seen before\n    {reader}\n    {earlier}", place()));
    }
}
