//! Is the history of one register explained by some order of its operations?
//!
//! Each operation takes effect at one instant between its invocation and its response (Herlihy and Wing 1990). The
//! search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory of Lowe ("Testing
//! for linearizability", 2017): it walks the list of invocations and responses, takes out an operation that may come
//! next, and goes back when it meets the response of one that it did not take. A pair of "operations taken" and "value"
//! that was met before is not tried again. Registers are independent of each other, so each key is searched alone.
//!
//! An operation whose outcome is unknown may take effect at any time after its invocation, or never: it has no response,
//! and the search ends without it when everything else is explained.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{BuildHasherDefault, DefaultHasher},
};

use super::{
    anomaly::{Anomaly, Kind},
    history::{self, Outcome, Transaction},
};

/// What an operation did to the register. `None` is "never written".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read(Option<u64>),
    Write(u64),
    /// Read `from` and wrote `to` in one transaction, or a compare-and-set that was done.
    Swap {
        from: Option<u64>,
        to: u64,
    },
    /// A compare-and-set that found something else than `expected`.
    Refused {
        expected: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub client: usize,
    pub action: Action,
    /// Positions in the run's total order of events.
    pub invoked: u64,
    /// `None`: the outcome is unknown.
    pub completed: Option<u64>,
}

/// A search that grows beyond this many states is given up (and reported, not passed).
const STATES_MAX: usize = 2_000_000;

/// Why a history is not linearizable.
pub fn check(initial: Option<u64>, history: &[Operation]) -> Result<(), String> {
    judge(initial, history).map_err(|anomaly| anomaly.explanation)
}

/// Judges every key alone.
pub fn check_keys(initial: Option<u64>, histories: &BTreeMap<u64, Vec<Operation>>) -> Vec<Anomaly> {
    let judged = histories.iter().filter_map(|(key, history)| Some((key, judge(initial, history).err()?)));
    let named = judged.map(|(key, anomaly)| {
        let explanation = format!("register {key}: {}", anomaly.explanation);
        Anomaly { explanation, ..anomaly }
    });
    named.collect()
}

/// What each transaction did to each register: one that takes effect at one instant does so on every key. What it read
/// before its own writes counts, and what it left behind. Failed ones are left out.
pub fn by_key(history: &[Transaction]) -> BTreeMap<u64, Vec<Operation>> {
    let mut histories: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for transaction in history.iter().filter(|transaction| transaction.outcome != Outcome::Failed) {
        let mut actions: BTreeMap<u64, Action> = BTreeMap::new();
        for operation in &transaction.operations {
            match *operation {
                history::Operation::Read { key, value } => {
                    actions.entry(key).or_insert(Action::Read(value));
                }
                history::Operation::Write { key, value: to } => {
                    let action = match actions.get(&key) {
                        Some(Action::Read(from) | Action::Swap { from, .. }) => {
                            Action::Swap { from: *from, to }
                        }
                        _ => Action::Write(to),
                    };
                    actions.insert(key, action);
                }
                _ => {}
            }
        }
        let (client, invoked, completed) = (transaction.process, transaction.started, transaction.settled());
        for (key, action) in actions {
            histories.entry(key).or_default().push(Operation { client, action, invoked, completed });
        }
    }
    histories
}

fn judge(initial: Option<u64>, history: &[Operation]) -> Result<(), Anomaly> {
    let operations = prune(history);
    let mut search = Search::new(&operations);
    let (kind, explanation) = match search.explore(initial) {
        Some(true) => return Ok(()),
        Some(false) => (Kind::NotLinearizable, describe(&operations, search.deepest)),
        None => {
            let text =
                format!("search gave up after {STATES_MAX} states over {} operations", operations.len());
            (Kind::Undecided, text)
        }
    };
    Err(Anomaly { kind, explanation })
}

/// Drops unknown operations that nobody can have seen: leaving them out of the order explains just as much. An answer
/// "something else" can have seen any of them.
fn prune(history: &[Operation]) -> Vec<Operation> {
    let refused = history.iter().any(|operation| matches!(operation.action, Action::Refused { .. }));
    let seen: BTreeSet<u64> = history
        .iter()
        .filter_map(|operation| match operation.action {
            Action::Read(value) => value,
            Action::Swap { from, .. } => from,
            Action::Write(_) | Action::Refused { .. } => None,
        })
        .collect();
    let visible = |operation: &&Operation| match operation.action {
        _ if operation.completed.is_some() => true,
        Action::Read(_) | Action::Refused { .. } => false,
        Action::Write(value) | Action::Swap { to: value, .. } => refused || seen.contains(&value),
    };
    let mut kept: Vec<Operation> = history.iter().filter(visible).copied().collect();
    kept.sort_by_key(|operation| operation.invoked);
    kept
}

/// Without a random seed, so that a run does not depend on it.
type UnseededState = BuildHasherDefault<DefaultHasher>;

/// An invocation or a response.
#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    is_invocation: bool,
}

/// Before the first event.
const HEAD: usize = 0;

/// The events are a linked list, in which taking an operation out and putting it back costs nothing.
struct Search<'a> {
    operations: &'a [Operation],
    /// From position 1 on.
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Of each operation's response.
    responses: Vec<Option<usize>>,
    /// The set of operations taken, as the exclusive or of random numbers, and the value.
    met: HashSet<(u128, Option<u64>), UnseededState>,
    deepest: usize,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        // At one time, responses come first: the two operations do not overlap.
        let mut times: Vec<(u64, bool, usize)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            times.push((operation.invoked, true, index));
            times.extend(operation.completed.map(|at| (at, false, index)));
        }
        times.sort_unstable();
        let length = times.len() + 1;
        let mut events = vec![Event { operation: usize::MAX, is_invocation: true }];
        let mut responses = vec![None; operations.len()];
        for (_, is_invocation, operation) in times {
            if !is_invocation {
                responses[operation] = Some(events.len());
            }
            events.push(Event { operation, is_invocation });
        }
        let next = (1..=length).map(|position| position % length).collect();
        let previous = (0..length).map(|position| (position + length - 1) % length).collect();
        Self { operations, events, next, previous, responses, met: HashSet::default(), deepest: 0 }
    }

    /// `None`: too many states.
    fn explore(&mut self, initial: Option<u64>) -> Option<bool> {
        let mut missing = self.operations.iter().filter(|operation| operation.completed.is_some()).count();
        let mut taken: Vec<(usize, Option<u64>)> = Vec::new();
        let (mut value, mut set) = (initial, 0_u128);
        let mut position = self.next[HEAD];
        while missing > 0 {
            let event = self.events[position];
            if position != HEAD && event.is_invocation {
                let operation = &self.operations[event.operation];
                let after = step(operation.action, value);
                let set_after = set ^ mark(event.operation);
                if let Some(after) = after
                    && self.met.insert((set_after, after))
                {
                    if self.met.len() > STATES_MAX {
                        return None;
                    }
                    taken.push((position, value));
                    self.deepest = self.deepest.max(taken.len());
                    missing -= usize::from(operation.completed.is_some());
                    (value, set) = (after, set_after);
                    self.take_out(position);
                    position = self.next[HEAD];
                } else {
                    position = self.next[position];
                }
                continue;
            }
            let Some((last, before)) = taken.pop() else { return Some(false) };
            let operation = self.events[last].operation;
            missing += usize::from(self.operations[operation].completed.is_some());
            (value, set) = (before, set ^ mark(operation));
            self.put_back(last);
            position = self.next[last];
        }
        Some(true)
    }

    fn take_out(&mut self, invocation: usize) {
        let response = self.responses[self.events[invocation].operation];
        for position in [Some(invocation), response].into_iter().flatten() {
            let (previous, next) = (self.previous[position], self.next[position]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
    }

    /// In the opposite order of taking out.
    fn put_back(&mut self, invocation: usize) {
        let response = self.responses[self.events[invocation].operation];
        for position in [response, Some(invocation)].into_iter().flatten() {
            let (previous, next) = (self.previous[position], self.next[position]);
            self.next[previous] = position;
            self.previous[next] = position;
        }
    }
}

/// A fixed random number per operation. Two sets that differ are taken for one with a chance of 2^-128.
fn mark(operation: usize) -> u128 {
    let low = mix(operation as u64);
    u128::from(mix(low ^ 0x5851_f42d_4c95_7f2d)) << 64 | u128::from(low)
}

/// SplitMix64.
fn mix(number: u64) -> u64 {
    let state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn step(action: Action, value: Option<u64>) -> Option<Option<u64>> {
    match action {
        Action::Read(seen) => (seen == value).then_some(value),
        Action::Write(written) => Some(Some(written)),
        Action::Swap { from, to } => (from == value).then_some(Some(to)),
        Action::Refused { expected } => (expected != value).then_some(value),
    }
}

fn describe(operations: &[Operation], explained: usize) -> String {
    let mut text = format!("not linearizable (about {explained} of {} explained):", operations.len());
    let from = explained.saturating_sub(12);
    for operation in operations.iter().skip(from).take(24) {
        text.push_str(&format!(
            "\n    client {} {:?} [{}, {}]",
            operation.client,
            operation.action,
            operation.invoked,
            operation.completed.map_or("?".to_owned(), |at| at.to_string())
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(action: Action, invoked: u64, completed: impl Into<Option<u64>>) -> Operation {
        Operation { client: 0, action, invoked, completed: completed.into() }
    }

    #[test]
    fn histories_are_judged_right() {
        use Action::{Read, Swap, Write};
        let cases: [(&str, bool, Vec<Operation>); 8] = [
            ("sequential", true, vec![op(Write(1), 0, 1), op(Read(Some(1)), 2, 3)]),
            ("stale read", false, vec![op(Write(1), 0, 1), op(Write(2), 2, 3), op(Read(Some(1)), 4, 5)]),
            ("overlapping", true, vec![op(Write(1), 0, 9), op(Read(None), 1, 2), op(Read(Some(1)), 3, 4)]),
            (
                "seen, then unseen",
                false,
                vec![op(Write(1), 0, 9), op(Read(Some(1)), 1, 2), op(Read(None), 3, 4)],
            ),
            (
                "unknown took effect late",
                true,
                vec![op(Write(1), 0, None), op(Read(None), 2, 3), op(Read(Some(1)), 4, 5)],
            ),
            ("unknown never took effect", true, vec![op(Write(1), 0, None), op(Read(None), 2, 3)]),
            (
                "lost update",
                false,
                vec![op(Swap { from: None, to: 1 }, 0, 5), op(Swap { from: None, to: 2 }, 0, 5)],
            ),
            ("lost write", false, vec![op(Write(1), 0, 1), op(Read(None), 2, 3)]),
        ];
        for (name, linearizable, history) in cases {
            assert_eq!(check(None, &history).is_ok(), linearizable, "{name}");
        }
    }

    #[test]
    fn long_histories_with_unknown_outcomes_stay_cheap() {
        let mut history = Vec::new();
        for round in 0..400_u64 {
            history.push(op(Action::Write(round + 1), round * 10, round * 10 + 5));
            history.push(op(Action::Write(10_000 + round), round * 10 + 1, None));
            history.push(op(Action::Read(Some(round + 1)), round * 10 + 6, round * 10 + 8));
        }
        check(None, &history).unwrap();
    }
}
