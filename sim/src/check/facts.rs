//! Who wrote what, and which transactions took effect.
//!
//! A transaction with an unknown outcome took effect iff one that took effect has seen it. Its own reads then count as
//! well and may show others, so the set is grown until nothing is added. Of a list only the part that no earlier read
//! has shown is looked at: reads of one list are nearly always prefixes of each other, and all of them together are
//! much longer than the list.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anomaly::{Findings, Kind},
    history::{Operation, Outcome, Transaction},
};

const LIST: u8 = 0;
const REGISTER: u8 = 1;

/// The writer of a value.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Index in the history.
    pub by: usize,
    /// Not replaced later (for a list: not followed by another) by the same transaction.
    pub last: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub by: usize,
    pub value: u64,
}

pub struct Facts<'a> {
    pub history: &'a [Transaction],
    /// By key and value.
    pub appends: BTreeMap<(u64, u64), Written>,
    pub writes: BTreeMap<(u64, u64), Written>,
    /// By set and key.
    pub inserts: BTreeMap<(u64, u64), Row>,
    pub deletes: BTreeMap<(u64, u64), Vec<usize>>,
    /// Whether each transaction took effect.
    pub effective: Vec<bool>,
}

impl<'a> Facts<'a> {
    pub fn new(history: &'a [Transaction], findings: &mut Findings) -> Self {
        let mut facts = Self {
            history,
            appends: BTreeMap::new(),
            writes: BTreeMap::new(),
            inserts: BTreeMap::new(),
            deletes: BTreeMap::new(),
            effective: vec![false; history.len()],
        };
        for by in 0..history.len() {
            facts.note_writes(by, findings);
        }
        facts.decide_effects();
        facts
    }

    pub fn effective(&self) -> impl Iterator<Item = (usize, &'a Transaction)> + '_ {
        self.history.iter().enumerate().filter(|(index, _)| self.effective[*index])
    }

    pub fn failed(&self, index: usize) -> bool {
        self.history[index].outcome == Outcome::Failed
    }

    fn note_writes(&mut self, by: usize, findings: &mut Findings) {
        let transaction = &self.history[by];
        // The last of each key is found first.
        let mut written = BTreeSet::new();
        for operation in transaction.operations.iter().rev() {
            let first_writer = match *operation {
                Operation::Append { key, value } => {
                    let last = written.insert((LIST, key));
                    self.appends.insert((key, value), Written { by, last }).map(|other| other.by)
                }
                Operation::Write { key, value } => {
                    let last = written.insert((REGISTER, key));
                    self.writes.insert((key, value), Written { by, last }).map(|other| other.by)
                }
                Operation::Insert { set, key, value } => {
                    self.inserts.insert((set, key), Row { by, value }).map(|other| other.by)
                }
                Operation::Delete { set, key } => {
                    self.deletes.entry((set, key)).or_default().push(by);
                    None
                }
                Operation::ReadList { .. } | Operation::Read { .. } | Operation::Scan { .. } => None,
            };
            if let Some(other) = first_writer {
                findings.report(Kind::BadHistory, || {
                    format!(
                        "two attempts to {operation}, by T{} and T{}",
                        self.history[other].id, transaction.id
                    )
                });
            }
        }
    }

    fn decide_effects(&mut self) {
        let mut shown: BTreeMap<u64, &'a [u64]> = BTreeMap::new();
        let mut open: Vec<usize> = Vec::new();
        for (index, transaction) in self.history.iter().enumerate().rev() {
            if transaction.outcome == Outcome::Committed {
                self.effective[index] = true;
                open.push(index);
            }
        }
        while let Some(index) = open.pop() {
            for operation in &self.history[index].operations {
                match operation {
                    Operation::ReadList { key, values: Some(values) } => {
                        let longest = shown.entry(*key).or_default();
                        let known = shared_prefix(longest, values);
                        for value in &values[known..] {
                            let writer = self.appends.get(&(*key, *value)).map(|written| written.by);
                            show(self.history, &mut self.effective, &mut open, writer);
                        }
                        if values.len() > longest.len() {
                            *longest = values;
                        }
                    }
                    Operation::Read { key, value: Some(value) } => {
                        let writer = self.writes.get(&(*key, *value)).map(|written| written.by);
                        show(self.history, &mut self.effective, &mut open, writer);
                    }
                    Operation::Scan { set, rows } => {
                        for (key, _) in rows {
                            let writer = self.inserts.get(&(*set, *key)).map(|row| row.by);
                            show(self.history, &mut self.effective, &mut open, writer);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// How many elements two lists have in common at their beginning.
pub fn shared_prefix(left: &[u64], right: &[u64]) -> usize {
    let length = left.len().min(right.len());
    if left[..length] == right[..length] {
        return length;
    }
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

fn show(history: &[Transaction], effective: &mut [bool], open: &mut Vec<usize>, writer: Option<usize>) {
    let Some(writer) = writer else { return };
    if !effective[writer] && history[writer].outcome == Outcome::Unknown {
        effective[writer] = true;
        open.push(writer);
    }
}
