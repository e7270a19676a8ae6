//! What clients recorded of their transactions: the input of the checkers.
//!
//! A history says what each transaction asked, what it was told, and when (in positions of the run's total order of
//! events). It says nothing of how the store works, so that a checker can't share a mistake with it.
//!
//! Written values are unique: per key for lists and registers. A value that is read then names the transaction that
//! wrote it, which is what makes dependencies observable (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies
//! from Experimental Observations", VLDB 2020).
//!
//! Checkers that use real time take it that a transaction reads the present. One that asks for the past is recorded as
//! started at 0 and without an end, so that no time contradicts it.

use std::fmt;

/// How a transaction ended, as far as its client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// Certainly without effect.
    Failed,
    /// The answer was lost. It may take effect at any time after its start, or never.
    Unknown,
}

/// One step of a transaction with its answer. Steps that were not answered are not recorded, writes excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds an element at the end of a list.
    Append {
        key: u64,
        value: u64,
    },
    /// A whole list; `None` is the same as an empty one.
    ReadList {
        key: u64,
        values: Option<Vec<u64>>,
    },
    Write {
        key: u64,
        value: u64,
    },
    /// A register; `None` is "never written".
    Read {
        key: u64,
        value: Option<u64>,
    },
    /// Adds a row to a set. A key is used once per set.
    Insert {
        set: u64,
        key: u64,
        value: u64,
    },
    Delete {
        set: u64,
        key: u64,
    },
    /// A predicate read: all rows of a set, as key and value.
    Scan {
        set: u64,
        rows: Vec<(u64, u64)>,
    },
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub id: u64,
    /// The client. It has one transaction at a time.
    pub process: usize,
    pub started: u64,
    /// When the client learned the outcome; `None` if it never did.
    pub ended: Option<u64>,
    pub outcome: Outcome,
    /// In the order in which they were done. Of a transaction that was retried, those of the last attempt.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// The time from which on its effects must be visible. An unknown outcome has none: it may still happen.
    pub fn settled(&self) -> Option<u64> {
        self.ended.filter(|_| self.outcome == Outcome::Committed)
    }

    /// In real time, by what its client knew.
    pub fn precedes(&self, other: &Self) -> bool {
        self.settled().is_some_and(|ended| ended < other.started)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { key, value } => write!(f, "append {value} to {key}"),
            Self::ReadList { key, values } => {
                write!(f, "read {key} as {}", List(values.as_deref().unwrap_or_default()))
            }
            Self::Write { key, value } => write!(f, "write {value} to {key}"),
            Self::Read { key, value: Some(value) } => write!(f, "read {key} as {value}"),
            Self::Read { key, value: None } => write!(f, "read {key} as nothing"),
            Self::Insert { set, key, value } => write!(f, "insert row {key} = {value} into set {set}"),
            Self::Delete { set, key } => write!(f, "delete row {key} of set {set}"),
            Self::Scan { set, rows } => {
                let keys: Vec<u64> = rows.iter().map(|(key, _)| *key).collect();
                write!(f, "scan set {set} with rows {}", List(&keys))
            }
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Committed => "committed",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        };
        let ended = self.ended.map_or("?".to_owned(), |ended| ended.to_string());
        write!(f, "T{} (client {}, {outcome}, {} to {ended}):", self.id, self.process, self.started)?;
        for (position, operation) in self.operations.iter().enumerate() {
            if position == OPERATIONS_SHOWN_MAX {
                return write!(f, ", and {} more", self.operations.len() - position);
            }
            write!(f, "{} {operation}", if position == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

const OPERATIONS_SHOWN_MAX: usize = 12;
const ELEMENTS_SHOWN_MAX: usize = 12;

/// The end of a list, where histories differ.
pub struct List<'a>(pub &'a [u64]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.0.len().saturating_sub(ELEMENTS_SHOWN_MAX);
        f.write_str("[")?;
        if hidden > 0 {
            write!(f, "({hidden} more) ")?;
        }
        for (position, value) in self.0[hidden..].iter().enumerate() {
            write!(f, "{}{value}", if position == 0 { "" } else { " " })?;
        }
        f.write_str("]")
    }
}
