//! Values that only grow.
//!
//! Clients read the largest value of a key and write a larger one, in one transaction. So along commit timestamps each
//! key's values grow ([`check_timestamps`]), and so they do along real time for whoever reads ([`check_reads`]).
//! A timestamp that contradicts the order of values is a clock that went wrong without a conflict to show it.

use std::collections::BTreeMap;

use super::{
    anomaly::{Anomaly, Findings, Kind},
    history::{Operation, Transaction},
};

/// A value with the timestamp that the store gave it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub key: u64,
    pub value: u64,
    pub timestamp: u64,
    /// Who wrote it.
    pub process: usize,
}

/// Along timestamps every key's values grow; no two of a key share a timestamp.
pub fn check_timestamps(entries: &[Entry]) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (entry.key, entry.timestamp, entry.value));
    for pair in sorted.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let sound = before.timestamp < after.timestamp && before.value < after.value;
        if before.key == after.key && !sound {
            findings.report(Kind::NotMonotonic, || {
                format!(
                    "key {}: {} at {} (client {}), then {} at {} (client {})",
                    before.key,
                    before.value,
                    before.timestamp,
                    before.process,
                    after.value,
                    after.timestamp,
                    after.process
                )
            });
        }
    }
    findings.into_anomalies()
}

/// What a transaction reads of a key is not less than what any had read or written that ended before.
pub fn check_reads(history: &[Transaction]) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    // By key: what settled transactions have left, by the time of their end.
    let mut ends: BTreeMap<u64, Vec<(u64, u64, usize)>> = BTreeMap::new();
    for (index, transaction) in history.iter().enumerate() {
        let Some(ended) = transaction.settled() else { continue };
        for operation in &transaction.operations {
            if let Operation::Read { key, value: Some(value) } | Operation::Write { key, value } = operation {
                ends.entry(*key).or_default().push((ended, *value, index));
            }
        }
    }
    for ends in ends.values_mut() {
        ends.sort_unstable();
        // The largest value so far, instead of each one's own.
        for position in 1..ends.len() {
            if ends[position - 1].1 > ends[position].1 {
                (ends[position].1, ends[position].2) = (ends[position - 1].1, ends[position - 1].2);
            }
        }
    }
    for transaction in history.iter().filter(|transaction| transaction.settled().is_some()) {
        for operation in &transaction.operations {
            let Operation::Read { key, value } = operation else { continue };
            let Some(ends) = ends.get(key) else { continue };
            let before = ends.partition_point(|(ended, ..)| *ended < transaction.started);
            let Some((_, largest, by)) = before.checked_sub(1).map(|position| ends[position]) else {
                continue;
            };
            if value.unwrap_or_default() < largest {
                findings.report(Kind::NotMonotonic, || {
                    format!("key {key} fell below {largest}\n    {}\n    {transaction}", history[by])
                });
            }
        }
    }
    findings.into_anomalies()
}
