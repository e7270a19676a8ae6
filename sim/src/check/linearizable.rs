//! Is the history of one register explained by some order of its operations?
//!
//! Each operation takes effect at one instant between its invocation and its response. The search (Wing and Gong, with
//! the memory of Lowe) tries the operations that may come next and remembers every pair of "operations done" and
//! "value" it has seen fail. An operation whose outcome is unknown may take effect at any time after its invocation,
//! or never.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasherDefault, DefaultHasher},
};

/// What an operation did to the register. Values are unique per write; `None` is "never written".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read(Option<u64>),
    Write(u64),
    /// Read `from` and wrote `to` in one transaction.
    Swap {
        from: Option<u64>,
        to: u64,
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
    let operations = prune(history);
    let mut search = Search { operations: &operations, failed: HashSet::default(), deepest: 0 };
    let required = operations.iter().filter(|operation| operation.completed.is_some()).count();
    let mut done = vec![0_u64; operations.len().div_ceil(64)];
    match search.explore(&mut done, initial, required) {
        Some(true) => Ok(()),
        Some(false) => Err(describe(&operations, search.deepest)),
        None => Err(format!("search gave up after {STATES_MAX} states over {} operations", operations.len())),
    }
}

/// Drops unknown operations that nobody can have seen: leaving them out of the order explains just as much.
fn prune(history: &[Operation]) -> Vec<Operation> {
    let seen: BTreeSet<u64> = history
        .iter()
        .filter_map(|operation| match operation.action {
            Action::Read(value) => value,
            Action::Swap { from, .. } => from,
            Action::Write(_) => None,
        })
        .collect();
    let visible = |operation: &&Operation| match operation.action {
        _ if operation.completed.is_some() => true,
        Action::Read(_) => false,
        Action::Write(value) | Action::Swap { to: value, .. } => seen.contains(&value),
    };
    let mut kept: Vec<Operation> = history.iter().filter(visible).copied().collect();
    kept.sort_by_key(|operation| operation.invoked);
    kept
}

/// Without a random seed, so that a run does not depend on it.
type UnseededState = BuildHasherDefault<DefaultHasher>;

struct Search<'a> {
    operations: &'a [Operation],
    failed: HashSet<(Vec<u64>, Option<u64>), UnseededState>,
    deepest: usize,
}

impl Search<'_> {
    /// `None`: too many states.
    fn explore(&mut self, done: &mut [u64], value: Option<u64>, required: usize) -> Option<bool> {
        // An explicit stack: histories are long.
        struct Frame {
            chosen: Option<usize>,
            value: Option<u64>,
            candidates: Vec<usize>,
            required: usize,
        }
        let mut stack = vec![Frame { chosen: None, value, candidates: self.candidates(done), required }];
        loop {
            let frame = stack.last_mut()?;
            if frame.required == 0 {
                return Some(true);
            }
            let (value, left) = (frame.value, frame.required);
            if let Some(next) = frame.candidates.pop() {
                let operation = &self.operations[next];
                let Some(after) = step(operation.action, value) else { continue };
                done[next / 64] |= 1 << (next % 64);
                if self.failed.contains(&(done.to_vec(), after)) {
                    done[next / 64] &= !(1 << (next % 64));
                    continue;
                }
                let required = left - usize::from(operation.completed.is_some());
                self.deepest = self.deepest.max(self.operations.len() - required);
                let candidates = self.candidates(done);
                stack.push(Frame { chosen: Some(next), value: after, candidates, required });
                continue;
            }
            let frame = stack.pop()?;
            self.failed.insert((done.to_vec(), frame.value));
            if self.failed.len() > STATES_MAX {
                return None;
            }
            match frame.chosen {
                Some(chosen) => done[chosen / 64] &= !(1 << (chosen % 64)),
                None => return Some(false),
            }
        }
    }

    /// Operations that may come next: invoked before every response that is still missing.
    fn candidates(&self, done: &[u64]) -> Vec<usize> {
        let open = |index: &usize| done[index / 64] & (1 << (index % 64)) == 0;
        let mut earliest = u64::MAX;
        let mut candidates = Vec::new();
        for index in (0..self.operations.len()).filter(open) {
            let operation = &self.operations[index];
            if operation.invoked > earliest {
                break;
            }
            earliest = earliest.min(operation.completed.unwrap_or(u64::MAX));
            candidates.push(index);
        }
        candidates.retain(|index| self.operations[*index].invoked < earliest);
        candidates.reverse();
        candidates
    }
}

fn step(action: Action, value: Option<u64>) -> Option<Option<u64>> {
    match action {
        Action::Read(seen) => (seen == value).then_some(value),
        Action::Write(written) => Some(Some(written)),
        Action::Swap { from, to } => (from == value).then_some(Some(to)),
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
