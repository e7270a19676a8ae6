//! What the nodes hold, as the judge of versions wants it: see [`crate::check::mvcc`].

use std::collections::{BTreeMap, BTreeSet};

use basalt_base::keys::TABLE_PREFIX;
use basalt_storage::{
    Family, IterOptions, MemoryEngine, Reader,
    mvcc::{key::decode_key, value::decode_value},
};

use super::Context;
use crate::check::{
    history::{Operation, Transaction},
    mvcc::{Dump, Recorded, Step, Version},
};

type Versions = BTreeMap<u64, BTreeSet<Version>>;

/// All committed versions of a table's rows, on whichever node they are. Complete only if no locks are left: a commit
/// that was not carried through everywhere is still a lock. `name` says which key of the workload a row is, `value` which
/// value it holds.
pub fn dump(
    context: &Context,
    table: u8,
    name: impl Fn(u64) -> u64,
    value: impl Fn(&[u8]) -> Option<u64>,
) -> Option<Dump> {
    let mut versions = Versions::new();
    for node in context.cluster.nodes() {
        match node.with_running(|_, engine| rows(engine, table, &name, &value, &mut versions)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                context.violations.report(format!("versions can't be read: {error}"));
                return None;
            }
            None => return None,
        }
    }
    let versions = versions.into_iter().map(|(key, versions)| (key, versions.into_iter().collect()));
    Some(Dump::new(versions.collect(), 0))
}

fn rows(
    engine: &MemoryEngine,
    table: u8,
    name: impl Fn(u64) -> u64,
    value: impl Fn(&[u8]) -> Option<u64>,
    versions: &mut Versions,
) -> basalt_storage::Result<()> {
    let prefix = [TABLE_PREFIX, table];
    let mut iter = engine.iter(Family::Data, IterOptions::default())?;
    iter.seek(&prefix)?;
    while iter.valid() && iter.key().starts_with(&prefix) {
        let (row, timestamp) = decode_key(iter.key())?;
        if let Some(number) = row[2..].first_chunk() {
            // A damaged row is no value of anybody.
            let value = decode_value(iter.value())?.payload.map(|payload| value(payload).unwrap_or(u64::MAX));
            let key = name(u64::from_be_bytes(*number));
            versions.entry(key).or_default().insert(Version { timestamp: timestamp.0, value });
        }
        iter.next()?;
    }
    Ok(())
}

/// A history of lists or registers with the timestamps that clients were told. A list counts as its last element.
pub fn recorded(history: &[(Transaction, Option<u64>)]) -> Vec<Recorded> {
    let recorded = history.iter().map(|(transaction, commit)| {
        let steps = transaction.operations.iter().filter_map(|operation| match operation {
            Operation::Append { key, value } | Operation::Write { key, value } => {
                Some(Step::Write { key: *key, value: Some(*value) })
            }
            Operation::ReadList { key, values } => {
                let value = values.as_ref().and_then(|values| values.last().copied());
                Some(Step::Read { key: *key, value, at: None })
            }
            Operation::Read { key, value } => Some(Step::Read { key: *key, value: *value, at: None }),
            Operation::Insert { .. } | Operation::Delete { .. } | Operation::Scan { .. } => None,
        });
        let Transaction { id, process, outcome, .. } = *transaction;
        Recorded { id, process, outcome, commit: *commit, steps: steps.collect() }
    });
    recorded.collect()
}
