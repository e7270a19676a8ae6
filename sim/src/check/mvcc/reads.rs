//! Whether what a transaction read was so.

use std::collections::BTreeMap;

use super::{Dump, Recorded, Step};
use crate::check::anomaly::{Findings, Kind, Level};

struct External {
    key: u64,
    value: Option<u64>,
    at: Option<u64>,
}

/// Judges the reads of a transaction that took effect, with its timestamp where that is known.
pub(super) fn judge(
    dump: &Dump,
    transaction: &Recorded,
    at: Option<u64>,
    level: Level,
    findings: &mut Findings,
) {
    let (reads, written) = external_reads(transaction, findings);
    let judge = Judge { dump, own: at, written };
    for read in &reads {
        let Some(statement) = read.at else { continue };
        if !judge.fits(read, statement) {
            findings.report(Kind::NotAtOneTimestamp, || judge.explain(transaction, read, statement));
        }
    }
    match (level, at) {
        (Level::ReadCommitted, _) => {}
        (Level::Serializable, Some(at)) => {
            for read in reads.iter().filter(|read| !judge.fits(read, at)) {
                findings.report(Kind::NotAtOneTimestamp, || judge.explain(transaction, read, at));
            }
        }
        (Level::Serializable, None) | (Level::Snapshot, _) => {
            let most = at.unwrap_or(u64::MAX);
            if !judge
                .candidates(&reads, most)
                .into_iter()
                .any(|at| reads.iter().all(|read| judge.fits(read, at)))
            {
                findings.report(Kind::NotAtOneTimestamp, || {
                    format!("no timestamp up to {most} has all that was read\n    {transaction}")
                });
            }
        }
    }
}

/// What was read of others, and the keys that were written. Own writes must be seen as they are.
fn external_reads(
    transaction: &Recorded,
    findings: &mut Findings,
) -> (Vec<External>, BTreeMap<u64, Option<u64>>) {
    let mut written: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    let mut reads = Vec::new();
    for step in &transaction.steps {
        match *step {
            Step::Write { key, value } => {
                written.insert(key, value);
            }
            Step::Read { key, value, at } => match written.get(&key) {
                None => reads.push(External { key, value, at }),
                Some(own) if *own != value => findings.report(Kind::Internal, || {
                    format!("key {key} was {value:?} after the write of {own:?}\n    {transaction}")
                }),
                Some(_) => {}
            },
        }
    }
    (reads, written)
}

struct Judge<'a> {
    dump: &'a Dump,
    own: Option<u64>,
    written: BTreeMap<u64, Option<u64>>,
}

impl Judge<'_> {
    fn own(&self, key: u64) -> Option<u64> {
        self.own.filter(|_| self.written.contains_key(&key))
    }

    fn fits(&self, read: &External, at: u64) -> bool {
        !self.dump.covers(at) || self.dump.newest(read.key, at, self.own(read.key)) == read.value
    }

    /// If any timestamp has all reads, so has one at which a version that was read begins, or the first or last of all.
    fn candidates(&self, reads: &[External], most: u64) -> Vec<u64> {
        let starts = reads.iter().flat_map(|read| {
            let versions = self.dump.of(read.key).iter();
            versions.filter(|version| version.value == read.value).map(|version| version.timestamp)
        });
        let mut starts: Vec<u64> = starts.filter(|start| *start <= most).collect();
        starts.push(self.dump.complete_from());
        starts.push(most);
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    fn explain(&self, transaction: &Recorded, read: &External, at: u64) -> String {
        let newest = self.dump.newest(read.key, at, self.own(read.key));
        format!(
            "key {} holds {newest:?} at {at}, T{} read {:?}\n    {transaction}",
            read.key, transaction.id, read.value
        )
    }
}
