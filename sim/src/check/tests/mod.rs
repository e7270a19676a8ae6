//! Hand-written histories, bad and good, and what each checker must say of them.

mod bad_lists;
mod bad_operations;
mod bad_predicates;
mod bad_registers;
mod bad_versions;
mod good;
mod notation;
mod random;

use std::collections::BTreeSet;

use super::{
    Anomaly, Kind, Level, bank, dependencies, linearizable, list_append, long_fork, monotonic, predicate,
    rw_register::{self, Inference},
    sets,
};

/// Which checker judges, and what for.
#[derive(Clone, Copy, Debug)]
enum Check {
    Lists(Level),
    Registers(Level, Inference),
    Predicates(Level),
    Everything(Level),
    LongFork,
    Sets,
    /// The accounts 1 to the first number hold the second.
    Bank(u64, u128),
    GrowingReads,
    Linearizable,
}

/// A name, a checker, a history (a transaction per line, see [`notation`]), and the kinds that must be found: these and
/// no others.
struct Case(&'static str, Check, &'static [&'static str], &'static [Kind]);

impl Check {
    fn judge(self, lines: &[&str]) -> Vec<Anomaly> {
        let history = notation::history(lines);
        match self {
            Self::Lists(level) => list_append::check(&history, level),
            Self::Registers(level, inference) => rw_register::check(&history, level, inference),
            Self::Predicates(level) => predicate::check(&history, level),
            Self::Everything(level) => dependencies::check(&history, level, Inference::RealTime),
            Self::LongFork => long_fork::check(&history),
            Self::Sets => sets::check(&history),
            Self::Bank(accounts, total) => bank::check(&history, &(1..=accounts).collect(), total),
            Self::GrowingReads => monotonic::check_reads(&history),
            Self::Linearizable => linearizable::check_keys(None, &linearizable::by_key(&history)),
        }
    }
}

fn judge_all(cases: &[Case]) {
    let mut names = BTreeSet::new();
    for Case(name, check, lines, expected) in cases {
        assert!(names.insert(name), "two cases are called {name}");
        expect(name, check.judge(lines), expected);
    }
}

fn expect(name: &str, found: Vec<Anomaly>, expected: &[Kind]) {
    let text: Vec<String> = found.iter().map(|anomaly| anomaly.to_string()).collect();
    let kinds: BTreeSet<Kind> = found.iter().map(|anomaly| anomaly.kind).collect();
    assert_eq!(kinds, expected.iter().copied().collect(), "{name}:\n{}", text.join("\n"));
    assert!(found.iter().all(|anomaly| !anomaly.explanation.is_empty()), "{name}: unexplained");
}

/// The number that the issue demands, counted where the cases are.
#[test]
fn there_are_enough_histories() {
    let bad = bad_lists::CASES.len()
        + bad_registers::CASES.len()
        + bad_predicates::CASES.len()
        + bad_operations::CASES.len()
        + bad_versions::CASES.len();
    assert!(bad >= 40 && good::CASES.len() >= 15, "{bad} bad, {} good", good::CASES.len());
}

#[test]
fn a_cycle_is_explained_by_its_operations() {
    let lines = ["1 0-9 ok a1=1 a2=1", "2 0-9 ok r1=[] r2=[1]"];
    let found = Check::Lists(Level::Serializable).judge(&lines);
    let expected = "G-single (read skew): T2 -rw-> T1 -wr-> T2\n    \
        T2 (client 2, committed, 0 to 9): read 1 as [], read 2 as [1]\n        \
        T2 saw nothing in list 1, before T1 wrote 1\n    \
        T1 (client 1, committed, 0 to 9): append 1 to 1, append 1 to 2\n        \
        T1 wrote 1 to list 2, and T2 saw it";
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), expected);
}
