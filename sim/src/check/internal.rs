//! Does each transaction agree with itself? It sees its own writes, at every level; above READ COMMITTED it also sees
//! the same state each time it looks.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anomaly::{Findings, Kind, Level},
    history::{List, Operation, Transaction},
};

/// What a transaction knows of the state, as it goes on.
#[derive(Default)]
struct Known<'a> {
    /// Of lists: the read that was done first, and what was appended before and after it.
    bases: BTreeMap<u64, (&'a [u64], usize)>,
    appended: BTreeMap<u64, Vec<u64>>,
    registers: BTreeMap<u64, Option<u64>>,
    written: BTreeSet<u64>,
    scans: BTreeMap<u64, BTreeMap<u64, u64>>,
    /// By set and key; `None` is deleted.
    rows: BTreeMap<(u64, u64), Option<u64>>,
}

/// Of one transaction that took effect.
pub fn check(transaction: &Transaction, level: Level, findings: &mut Findings) {
    let mut known = Known::default();
    let repeatable = level > Level::ReadCommitted;
    for operation in &transaction.operations {
        let contradiction = match operation {
            Operation::Append { key, value } => {
                known.appended.entry(*key).or_default().push(*value);
                None
            }
            Operation::Write { key, value } => {
                known.registers.insert(*key, Some(*value));
                known.written.insert(*key);
                None
            }
            Operation::Insert { set, key, value } => {
                known.rows.insert((*set, *key), Some(*value));
                None
            }
            Operation::Delete { set, key } => {
                known.rows.insert((*set, *key), None);
                None
            }
            Operation::ReadList { key, values } => {
                known.list(*key, values.as_deref().unwrap_or_default(), repeatable)
            }
            Operation::Read { key, value } => known.register(*key, *value, repeatable),
            Operation::Scan { set, rows } => known.scan(*set, rows, repeatable),
        };
        if let Some(contradiction) = contradiction {
            findings.report(Kind::Internal, || {
                format!("T{} {operation}, but {contradiction}\n    {transaction}", transaction.id)
            });
        }
    }
}

impl<'a> Known<'a> {
    fn list(&mut self, key: u64, values: &'a [u64], repeatable: bool) -> Option<String> {
        let own = self.appended.get(&key).map_or(&[][..], Vec::as_slice);
        if !values.ends_with(own) {
            return Some(format!("it had appended {}", List(own)));
        }
        let (base, own_then) = *self.bases.entry(key).or_insert((values, own.len()));
        let expected = base.iter().chain(&own[own_then..]);
        (repeatable && !values.iter().eq(expected))
            .then(|| format!("it had seen {} and then appended {}", List(base), List(&own[own_then..])))
    }

    fn register(&mut self, key: u64, value: Option<u64>, repeatable: bool) -> Option<String> {
        let name = |value: Option<u64>| value.map_or("nothing".to_owned(), |value| value.to_string());
        let own = self.written.contains(&key);
        let before = *self.registers.entry(key).or_insert(value);
        if before == value || !(repeatable || own) {
            return None;
        }
        Some(format!("it had {} {}", if own { "written" } else { "seen" }, name(before)))
    }

    fn scan(&mut self, set: u64, rows: &[(u64, u64)], repeatable: bool) -> Option<String> {
        let seen: BTreeMap<u64, u64> = rows.iter().copied().collect();
        if seen.len() != rows.len() {
            return Some("one key comes twice".to_owned());
        }
        let own = self.rows.range((set, 0)..=(set, u64::MAX));
        let own: BTreeMap<u64, Option<u64>> = own.map(|((_, key), value)| (*key, *value)).collect();
        for (key, value) in &own {
            if seen.get(key) != value.as_ref() {
                let done = if value.is_some() { "inserted" } else { "deleted" };
                return Some(format!("it had {done} row {key}"));
            }
        }
        let others = |rows: &BTreeMap<u64, u64>| -> BTreeMap<u64, u64> {
            rows.iter()
                .filter(|(key, _)| !own.contains_key(*key))
                .map(|(key, value)| (*key, *value))
                .collect()
        };
        let before = self.scans.entry(set).or_insert_with(|| seen.clone());
        (repeatable && others(before) != others(&seen)).then(|| {
            let keys: Vec<u64> = before.keys().copied().collect();
            format!("it had seen rows {}", List(&keys))
        })
    }
}
