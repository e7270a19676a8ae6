//! The versions that the store kept, against what clients were told.
//!
//! The store promises more than some serial order: each transaction has a timestamp. All its writes are versions at that
//! timestamp, all its reads return what was the newest there, and nothing else is in the store. With every written value
//! unique, a dump of all versions can be held against that directly, in a time that grows like the dump:
//!
//! * every version was written by one transaction, once, and not by a failed one;
//! * the last writes of a committed transaction are all there, at one timestamp, the one that the client was told;
//! * those of an unknown one are all there at one timestamp, or none is;
//! * every read of a transaction that took effect is the newest version at or below its timestamp, other than its own.
//!
//! At SNAPSHOT the reads have a timestamp of their own, not above that of the commit; at READ COMMITTED each read has
//! the one of its statement.

mod dump;
mod placement;
mod reads;

pub use dump::{Dump, Version};

use super::{
    anomaly::{Anomaly, Findings, Level},
    history::Outcome,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Read {
        key: u64,
        value: Option<u64>,
        /// The read timestamp of the statement, where it is known.
        at: Option<u64>,
    },
    /// `None` deletes.
    Write { key: u64, value: Option<u64> },
}

/// A transaction, with the timestamp that it was told.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub id: u64,
    pub process: usize,
    pub outcome: Outcome,
    pub commit: Option<u64>,
    pub steps: Vec<Step>,
}

/// Judges a dump and the transactions that made it.
pub fn check(dump: &Dump, transactions: &[Recorded], level: Level) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    dump.judge_unique(&mut findings);
    let placed = placement::place(dump, transactions, &mut findings);
    for (transaction, placed) in transactions.iter().zip(&placed) {
        if placed.took_effect {
            reads::judge(dump, transaction, placed.at, level, &mut findings);
        }
    }
    findings.into_anomalies()
}

/// Only this: no value is there twice. A retry that was applied again shows here, whatever else was recorded.
pub fn check_idempotence(dump: &Dump) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    dump.judge_unique(&mut findings);
    findings.into_anomalies()
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |value: Option<u64>| value.map_or("nothing".to_owned(), |value| value.to_string());
        write!(f, "T{} (client {}, {:?} at {}):", self.id, self.process, self.outcome, name(self.commit))?;
        for step in &self.steps {
            match step {
                Step::Read { key, value, at: Some(at) } => {
                    write!(f, " read {key} = {} at {at};", name(*value))?
                }
                Step::Read { key, value, at: None } => write!(f, " read {key} = {};", name(*value))?,
                Step::Write { key, value } => write!(f, " write {key} = {};", name(*value))?,
            }
        }
        Ok(())
    }
}
