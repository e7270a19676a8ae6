//! What a checker can find, by the names of the literature.
//!
//! G0 to G2 are those of Adya, "Weak Consistency: A Generalized Theory and Optimistic Implementations for Distributed
//! Transactions" (1999); the finer ones those of Elle (2020). Each level of isolation is the set of anomalies that it
//! excludes.

use std::{collections::BTreeMap, fmt};

/// What the transactions of a history were promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    ReadCommitted,
    Snapshot,
    Serializable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The history can't be judged: a value was written twice by the workload itself.
    BadHistory,
    /// A transaction contradicts its own earlier reads or writes.
    Internal,
    /// A value that nobody wrote.
    NeverWritten,
    /// An acknowledged write that later reads do not show.
    LostWrite,
    /// A value or an element twice: a retry was applied again.
    Duplicate,
    /// Something deleted, or seen gone, is seen again.
    Revived,
    /// Two reads of one list, none of which is a prefix of the other.
    IncompatibleOrder,
    /// The versions of one register precede each other.
    CyclicVersions,
    /// A write cycle.
    G0,
    /// A failed transaction's write was read.
    G1a,
    /// A write was read that its transaction replaced later.
    G1b,
    /// Information flowed in a circle.
    G1c,
    /// Two transactions read one version and both replaced it.
    LostUpdate,
    /// A cycle with one anti-dependency (read skew).
    GSingle,
    /// A cycle with several anti-dependencies, never two in a row: not even snapshot isolation explains it (a long fork
    /// is one).
    GNonadjacent,
    /// Two transactions each wrote what the other one had read.
    WriteSkew,
    /// A cycle of anti-dependencies on items.
    G2Item,
    /// A cycle with one anti-dependency, through a predicate read.
    GSinglePredicate,
    /// A cycle with anti-dependencies, one of them at least through a predicate read (a phantom).
    G2,
    G0RealTime,
    G1cRealTime,
    GSingleRealTime,
    G2ItemRealTime,
    G2RealTime,
    /// Two readers saw two writes in different orders.
    LongFork,
    WrongSum,
    NotMonotonic,
    NotLinearizable,
    /// The store holds a write of a failed transaction.
    AbortedWrite,
    /// The writes of one transaction are not at one timestamp.
    SplitCommit,
    /// Some writes of a transaction are there and some are not.
    PartialCommit,
    /// No single timestamp explains what a transaction read and wrote.
    NotAtOneTimestamp,
    /// A search was given up. Not an anomaly, but not a pass either.
    Undecided,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::BadHistory => "bad history",
            Self::Internal => "internal inconsistency",
            Self::NeverWritten => "value that nobody wrote",
            Self::LostWrite => "lost write",
            Self::Duplicate => "duplicate",
            Self::Revived => "revived",
            Self::IncompatibleOrder => "incompatible orders",
            Self::CyclicVersions => "cyclic versions",
            Self::G0 => "G0 (write cycle)",
            Self::G1a => "G1a (aborted read)",
            Self::G1b => "G1b (intermediate read)",
            Self::G1c => "G1c (circular information flow)",
            Self::LostUpdate => "lost update",
            Self::GSingle => "G-single (read skew)",
            Self::GNonadjacent => "G-nonadjacent",
            Self::WriteSkew => "G2-item (write skew)",
            Self::G2Item => "G2-item",
            Self::GSinglePredicate => "G-single through a predicate",
            Self::G2 => "G2 (phantom)",
            Self::G0RealTime => "G0 in real time",
            Self::G1cRealTime => "G1c in real time",
            Self::GSingleRealTime => "G-single in real time (stale read)",
            Self::G2ItemRealTime => "G2-item in real time",
            Self::G2RealTime => "G2 in real time (stale predicate read)",
            Self::LongFork => "long fork",
            Self::WrongSum => "wrong sum",
            Self::NotMonotonic => "not monotonic",
            Self::NotLinearizable => "not linearizable",
            Self::AbortedWrite => "aborted write",
            Self::SplitCommit => "commit at several timestamps",
            Self::PartialCommit => "partial commit",
            Self::NotAtOneTimestamp => "not at one timestamp",
            Self::Undecided => "undecided",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One finding and its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: Kind,
    /// For a person: the transactions and why they contradict each other. May have several lines.
    pub explanation: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.explanation)
    }
}

/// A broken store repeats itself: this many findings of a kind are kept.
const KEPT_MAX: usize = 8;

/// Findings in the order of their discovery.
#[derive(Default)]
pub struct Findings {
    anomalies: Vec<Anomaly>,
    counts: BTreeMap<Kind, usize>,
}

impl Findings {
    pub fn report(&mut self, kind: Kind, explanation: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= KEPT_MAX {
            self.anomalies.push(Anomaly { kind, explanation: explanation() });
        }
    }

    pub fn into_anomalies(mut self) -> Vec<Anomaly> {
        for (kind, count) in self.counts {
            if count > KEPT_MAX {
                let explanation = format!("and {} more of this kind", count - KEPT_MAX);
                self.anomalies.push(Anomaly { kind, explanation });
            }
        }
        self.anomalies
    }
}
