//! What the clients of a run did, for the checkers, and when they were answered, for people.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use basalt_sim::check::history::{Operation, Outcome, Transaction};

use super::failure::Failure;

#[derive(Default)]
pub struct Recorder {
    events: AtomicU64,
    history: Mutex<Vec<Transaction>>,
    /// By client, when it was answered with success.
    answers: Mutex<BTreeMap<usize, Vec<Instant>>>,
    /// What clients were told instead.
    failures: Mutex<BTreeMap<Failure, u64>>,
}

/// How many transactions ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub acknowledged: usize,
    pub failed: usize,
    pub unknown: usize,
}

impl Tally {
    pub fn all(self) -> usize {
        self.acknowledged + self.failed + self.unknown
    }
}

impl Recorder {
    /// A position in the order of all events; never the same twice.
    pub fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn record(&self, process: usize, started: u64, outcome: Outcome, operations: Vec<Operation>) {
        let ended = (outcome != Outcome::Unknown).then(|| self.event());
        if outcome == Outcome::Committed {
            let mut answers = self.answers.lock().expect("nobody panics with it");
            answers.entry(process).or_default().push(Instant::now());
        }
        let transaction = Transaction { id: started, process, started, ended, outcome, operations };
        self.history.lock().expect("nobody panics with it").push(transaction);
    }

    pub fn note(&self, failure: Failure) {
        *self.failures.lock().expect("nobody panics with it").entry(failure).or_default() += 1;
    }

    /// What clients were told so far, and how often.
    pub fn failures(&self) -> Vec<(Failure, u64)> {
        let failures = self.failures.lock().expect("nobody panics with it");
        failures.iter().map(|(failure, count)| (failure.clone(), *count)).collect()
    }

    pub fn history(&self) -> Vec<Transaction> {
        self.history.lock().expect("nobody panics with it").clone()
    }

    pub fn tally(&self) -> Tally {
        let history = self.history.lock().expect("nobody panics with it");
        let count = |outcome| history.iter().filter(|transaction| transaction.outcome == outcome).count();
        Tally {
            acknowledged: count(Outcome::Committed),
            failed: count(Outcome::Failed),
            unknown: count(Outcome::Unknown),
        }
    }

    /// The longest time in which one of `clients` was not answered, between `from` and `to`.
    pub fn longest_stall(&self, clients: &[usize], from: Instant, to: Instant) -> Duration {
        let answers = self.answers.lock().expect("nobody panics with it");
        let none = Vec::new();
        let stall = |client: &usize| longest_gap(answers.get(client).unwrap_or(&none), from, to);
        clients.iter().map(stall).max().unwrap_or_default()
    }
}

fn longest_gap(answers: &[Instant], from: Instant, to: Instant) -> Duration {
    let within = answers.iter().copied().filter(|at| (from..to).contains(at));
    let (last, longest) = within.fold((from, Duration::ZERO), |(last, longest), at| {
        (at, longest.max(at.saturating_duration_since(last)))
    });
    longest.max(to.saturating_duration_since(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_begins_and_ends_with_answers_or_the_window() {
        let from = Instant::now();
        let at = |millis| from + Duration::from_millis(millis);
        let cases: &[(&[u64], u64)] =
            &[(&[], 1_000), (&[100], 900), (&[900], 900), (&[100, 500, 900], 400), (&[100, 2_000], 900)];
        for (answers, expected) in cases {
            let answers: Vec<Instant> = answers.iter().map(|millis| at(*millis)).collect();
            assert_eq!(
                longest_gap(&answers, from, at(1_000)),
                Duration::from_millis(*expected),
                "{answers:?}"
            );
        }
    }

    #[test]
    fn a_client_without_answers_stalls_all_the_time() {
        let recorder = Recorder::default();
        let begun = Instant::now();
        recorder.record(1, recorder.event(), Outcome::Committed, Vec::new());
        let end = begun + Duration::from_secs(1);
        assert_eq!(recorder.longest_stall(&[2], begun, end), Duration::from_secs(1));
        assert!(recorder.longest_stall(&[1], begun, end) <= Duration::from_secs(1));
        assert_eq!(recorder.tally(), Tally { acknowledged: 1, ..Tally::default() });
    }
}
