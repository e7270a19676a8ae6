//! Stores whose versions contradict what clients were told.

use std::collections::BTreeMap;

use super::expect;
use crate::check::{
    Kind, Level,
    history::Outcome,
    mvcc::{Dump, Recorded, Step, Version, check, check_idempotence},
};

/// A name, the versions (`key@timestamp=value`, `_` for a delete), the transactions (a number, `ok@timestamp`, `fail` or
/// `?`, reads `r1=7` or `r1=7@timestamp`, writes `w1=7`, deletes `w1=_`), and what must be found.
pub(super) struct Stored(
    pub &'static str,
    pub Level,
    pub &'static str,
    pub &'static [&'static str],
    pub &'static [Kind],
);

const SERIALIZABLE: Level = Level::Serializable;

pub(super) const CASES: &[Stored] = &[
    Stored("a write is missing", SERIALIZABLE, "1@5=1", &["1 ok@5 w1=1 w2=2"], &[Kind::LostWrite]),
    Stored("all writes are missing", SERIALIZABLE, "", &["1 ok@5 w1=1"], &[Kind::LostWrite]),
    Stored("a delete is missing", SERIALIZABLE, "1@5=1", &["1 ok@5 w1=1", "2 ok@7 w1=_"], &[Kind::LostWrite]),
    Stored(
        "writes at two timestamps",
        SERIALIZABLE,
        "1@5=1 2@6=2",
        &["1 ok@5 w1=1 w2=2"],
        &[Kind::SplitCommit],
    ),
    Stored(
        "not at the timestamp that was told",
        SERIALIZABLE,
        "1@6=1",
        &["1 ok@5 w1=1"],
        &[Kind::SplitCommit],
    ),
    Stored("a failed write", SERIALIZABLE, "1@5=1", &["1 fail w1=1"], &[Kind::AbortedWrite]),
    Stored("a write of nobody", SERIALIZABLE, "1@5=1", &[], &[Kind::NeverWritten]),
    Stored("a delete of nobody", SERIALIZABLE, "1@5=1 1@7=_", &["1 ok@5 w1=1"], &[Kind::NeverWritten]),
    Stored("half of an unknown commit", SERIALIZABLE, "1@5=1", &["1 ? w1=1 w2=2"], &[Kind::PartialCommit]),
    Stored(
        "an unknown commit at two timestamps",
        SERIALIZABLE,
        "1@5=1 2@6=2",
        &["1 ? w1=1 w2=2"],
        &[Kind::SplitCommit],
    ),
    Stored(
        "a write that was replaced before the commit",
        SERIALIZABLE,
        "1@5=1",
        &["1 ok@5 w1=1 w1=2"],
        &[Kind::G1b, Kind::LostWrite],
    ),
    Stored("a retry was applied again", SERIALIZABLE, "1@5=1 1@8=1", &["1 ok@5 w1=1"], &[Kind::Duplicate]),
    Stored(
        "two versions at one timestamp",
        SERIALIZABLE,
        "1@5=1 1@5=2",
        &["1 ok@5 w1=1", "2 ok@5 w1=2"],
        &[Kind::Duplicate],
    ),
    Stored(
        "a write came below a read",
        SERIALIZABLE,
        "1@5=1 1@7=2 2@9=3",
        &["1 ok@5 w1=1", "2 ok@7 w1=2", "3 ok@9 r1=1 w2=3"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored(
        "a write at the timestamp of a read",
        SERIALIZABLE,
        "1@5=1 2@5=2",
        &["1 ok@5 w1=1", "2 ok@5 r1=_ w2=2"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored(
        "a read from above its timestamp",
        SERIALIZABLE,
        "1@5=1 1@9=2",
        &["1 ok@5 w1=1", "2 ok@9 w1=2", "3 ok@7 r1=2"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored(
        "reads of no common timestamp",
        Level::Snapshot,
        "1@5=1 2@5=2 1@7=3 2@7=4 3@9=5",
        &["1 ok@5 w1=1 w2=2", "2 ok@7 w1=3 w2=4", "3 ok@9 r1=1 r2=4 w3=5"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored(
        "an unknown reader of no common timestamp",
        SERIALIZABLE,
        "1@5=1 2@5=2 1@7=3 2@7=4 3@9=5",
        &["1 ok@5 w1=1 w2=2", "2 ok@7 w1=3 w2=4", "3 ? r1=1 r2=4 w3=5"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored(
        "a deleted row was read",
        SERIALIZABLE,
        "1@5=1 1@7=_",
        &["1 ok@5 w1=1", "2 ok@7 w1=_", "3 ok@8 r1=1"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored(
        "a statement that did not see a commit",
        Level::ReadCommitted,
        "1@5=1 1@7=2",
        &["1 ok@5 w1=1", "2 ok@7 w1=2", "3 ok@9 r1=1@8"],
        &[Kind::NotAtOneTimestamp],
    ),
    Stored("an own write was not read", SERIALIZABLE, "1@5=1", &["1 ok@5 w1=1 r1=_"], &[Kind::Internal]),
];

pub(super) const GOOD: &[Stored] = &[
    Stored(
        "reads, writes, a delete, and a failed transaction",
        SERIALIZABLE,
        "1@5=1 2@5=2 1@7=3 2@9=_",
        &[
            "1 ok@5 w1=1 w2=2",
            "2 ok@7 r1=1 r2=2 w1=3",
            "3 fail r1=9 w1=8",
            "4 ok@9 r1=3 w2=_",
            "5 ok@9 r1=3 r2=_",
        ],
        &[],
    ),
    Stored(
        "unknown commits, done and not done",
        SERIALIZABLE,
        "1@5=1 2@5=2",
        &["1 ? w1=1 w2=2", "2 ? r1=9 w1=3 w3=3", "3 ok@6 r1=1 r3=_"],
        &[],
    ),
    Stored(
        "write skew under snapshot isolation",
        Level::Snapshot,
        "1@5=1 2@6=2",
        &["1 ok@5 r1=_ r2=_ w1=1", "2 ok@6 r1=_ r2=_ w2=2"],
        &[],
    ),
    Stored(
        "statements of read committed",
        Level::ReadCommitted,
        "1@5=1 1@7=2",
        &["1 ok@5 w1=1", "2 ok@7 w1=2", "3 ok@9 r1=_@4 r1=1@6 r1=2@7"],
        &[],
    ),
    Stored(
        "a value that was replaced before the commit",
        SERIALIZABLE,
        "1@5=2",
        &["1 ok@5 w1=1 r1=1 w1=2"],
        &[],
    ),
];

fn number(text: &str) -> Option<u64> {
    (text != "_").then(|| text.parse().unwrap())
}

fn dump(text: &str) -> Dump {
    let mut versions: BTreeMap<u64, Vec<Version>> = BTreeMap::new();
    for word in text.split_whitespace() {
        let (key, rest) = word.split_once('@').unwrap();
        let (timestamp, value) = rest.split_once('=').unwrap();
        let version = Version { timestamp: timestamp.parse().unwrap(), value: number(value) };
        versions.entry(key.parse().unwrap()).or_default().push(version);
    }
    Dump::new(versions, 0)
}

fn recorded(line: &str) -> Recorded {
    let mut words = line.split_whitespace();
    let id = words.next().unwrap().parse().unwrap();
    let (outcome, commit) = match words.next().unwrap().split_once('@') {
        Some((_, at)) => (Outcome::Committed, number(at)),
        None if line.contains('?') => (Outcome::Unknown, None),
        None => (Outcome::Failed, None),
    };
    let steps = words.map(|word| {
        let (key, value) = word[1..].split_once('=').unwrap();
        let key = key.parse().unwrap();
        match value.split_once('@') {
            Some((value, at)) => Step::Read { key, value: number(value), at: number(at) },
            None if word.starts_with('r') => Step::Read { key, value: number(value), at: None },
            None => Step::Write { key, value: number(value) },
        }
    });
    Recorded { id, process: 0, outcome, commit, steps: steps.collect() }
}

fn judge(cases: &[Stored]) {
    for Stored(name, level, versions, lines, expected) in cases {
        let transactions: Vec<Recorded> = lines.iter().map(|line| recorded(line)).collect();
        expect(name, check(&dump(versions), &transactions, *level), expected);
    }
}

#[test]
fn all_are_found() {
    judge(CASES);
}

#[test]
fn sound_stores_pass() {
    judge(GOOD);
}

#[test]
fn a_retry_that_was_applied_again_shows_without_a_history() {
    expect("once", check_idempotence(&dump("1@5=1 1@6=2 2@6=2")), &[]);
    expect("twice", check_idempotence(&dump("1@5=1 1@6=2 1@9=1")), &[Kind::Duplicate]);
}

#[test]
fn collected_versions_are_not_missed() {
    let versions = BTreeMap::from([(1, vec![Version { timestamp: 20, value: Some(3) }])]);
    let transactions =
        ["1 ok@5 w1=1", "2 ok@10 r1=1 w1=2", "3 ok@20 r1=2 w1=3", "4 ok@25 r1=3"].map(recorded);
    let judge = |from| check(&Dump::new(versions.clone(), from), &transactions, SERIALIZABLE);
    expect("collected", judge(21), &[]);
    expect("not collected", judge(0), &[Kind::LostWrite, Kind::NotAtOneTimestamp]);
}
