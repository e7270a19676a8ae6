//! Where the writes of each transaction are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dump, Recorded, Step};
use crate::check::{
    anomaly::{Findings, Kind},
    history::Outcome,
};

/// What became of a transaction.
#[derive(Clone, Copy, Default)]
pub(super) struct Placed {
    pub took_effect: bool,
    /// Its timestamp, where it was told or its writes show it.
    pub at: Option<u64>,
}

/// The last write to each key.
fn last_writes(transaction: &Recorded) -> BTreeMap<u64, Option<u64>> {
    let writes = transaction.steps.iter().filter_map(|step| match step {
        Step::Write { key, value } => Some((*key, *value)),
        Step::Read { .. } => None,
    });
    writes.collect()
}

/// Finds each transaction's writes, and each version's writer.
pub(super) fn place(dump: &Dump, transactions: &[Recorded], findings: &mut Findings) -> Vec<Placed> {
    let mut placed = vec![Placed::default(); transactions.len()];
    let mut writers: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    let mut deletes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        for step in &transaction.steps {
            match *step {
                Step::Write { key, value: Some(value) } => {
                    if writers.insert((key, value), index).is_some_and(|other| other != index) {
                        findings.report(Kind::BadHistory, || format!("{value} is written to {key} twice"));
                    }
                }
                Step::Write { key, value: None } => deletes.entry(key).or_default().push(index),
                Step::Read { .. } => {}
            }
        }
        if transaction.outcome != Outcome::Failed {
            placed[index] = Placement { dump, transaction, writes: last_writes(transaction) }.judge(findings);
        }
    }
    for (key, version) in dump.iter() {
        let place = || format!("{:?} of key {key} at {}", version.value, version.timestamp);
        match version.value.map(|value| (value, writers.get(&(key, value)))) {
            Some((_, None)) => findings.report(Kind::NeverWritten, place),
            Some((value, Some(writer))) => {
                let writer = &transactions[*writer];
                let last = last_writes(writer).get(&key) == Some(&Some(value));
                if writer.outcome == Outcome::Failed {
                    findings.report(Kind::AbortedWrite, || format!("{}\n    {writer}", place()));
                } else if !last {
                    findings.report(Kind::G1b, || format!("{} was not the last\n    {writer}", place()));
                }
            }
            None => {
                let by = |index: &usize| {
                    let at = placed[*index].at;
                    transactions[*index].outcome != Outcome::Failed
                        && at.is_none_or(|at| at == version.timestamp)
                };
                if !deletes.get(&key).is_some_and(|deletes| deletes.iter().any(by)) {
                    findings.report(Kind::NeverWritten, || {
                        format!("delete of key {key} at {}", version.timestamp)
                    });
                }
            }
        }
    }
    placed
}

struct Placement<'a> {
    dump: &'a Dump,
    transaction: &'a Recorded,
    writes: BTreeMap<u64, Option<u64>>,
}

impl Placement<'_> {
    /// Of a transaction that may have committed.
    fn judge(&self, findings: &mut Findings) -> Placed {
        let found: BTreeSet<u64> =
            self.writes.iter().filter_map(|(key, value)| self.place(*key, *value)).collect();
        let committed = self.transaction.outcome == Outcome::Committed;
        if !committed && found.is_empty() {
            return Placed::default();
        }
        // The one that was told, if anything is there; so that the rest is seen to be elsewhere.
        let at = self.transaction.commit.or(found.first().copied());
        let transaction = self.transaction;
        if found.iter().any(|place| Some(*place) != at) {
            findings.report(Kind::SplitCommit, || format!("writes at {found:?}\n    {transaction}"));
        }
        let missing: Vec<u64> = self
            .writes
            .iter()
            .filter(|(key, value)| self.lacks(**key, **value, at))
            .map(|(key, _)| *key)
            .collect();
        if !missing.is_empty() {
            let kind = if committed { Kind::LostWrite } else { Kind::PartialCommit };
            findings.report(kind, || format!("keys {missing:?} lack the write\n    {transaction}"));
        }
        Placed { took_effect: true, at }
    }

    /// A value that stands twice is a finding of its own.
    fn place(&self, key: u64, value: Option<u64>) -> Option<u64> {
        let places = self.dump.places(key, value?);
        let told = self.transaction.commit.filter(|commit| places.contains(commit));
        told.or(places.first().copied())
    }

    fn lacks(&self, key: u64, value: Option<u64>, at: Option<u64>) -> bool {
        let there = match value {
            Some(value) => !self.dump.places(key, value).is_empty(),
            None => at.is_none_or(|at| self.dump.has_delete(key, at)),
        };
        !there && !at.is_some_and(|at| self.dump.may_lack(key, at, value))
    }
}
