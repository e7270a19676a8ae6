//! The order of the versions of one register, as far as it can be known.
//!
//! Unlike a list, a register does not show what it was before. Three things do: a transaction that read one version and
//! wrote another put them in that order; nothing precedes the first version; and, where keys are linearizable, what a
//! transaction touched does not come before what was touched by one that had ended when it began. These relations are a
//! part of the true order, so every edge that follows from them is sound.

use std::collections::{BTreeMap, BTreeSet};

use super::real_time::{Stretch, precedence};

/// `None` is the state before the first write.
pub type Version = Option<u64>;

/// What one transaction did to the register.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub by: usize,
    pub stretch: Stretch,
    /// What it saw before its own writes.
    pub read: Option<Version>,
    /// What it left behind.
    pub written: Option<u64>,
}

impl Access {
    fn earliest(&self) -> Option<Version> {
        self.read.or(self.written.map(Some))
    }

    fn latest(&self) -> Option<Version> {
        self.written.map(Some).or(self.read)
    }
}

/// What the order is inferred from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inference {
    /// Transactions that read before they wrote.
    Transactions,
    /// Also the times of transactions: the register is linearizable.
    RealTime,
}

pub struct VersionOrder {
    /// Later versions, not necessarily the next.
    pub successors: BTreeMap<Version, BTreeSet<u64>>,
    /// Pairs of accesses whose times contradict what they read. Then times order only writes.
    pub contradicted: Vec<(usize, usize)>,
}

impl VersionOrder {
    /// `None`: the versions precede each other.
    pub fn infer(accesses: &[Access], inference: Inference) -> Option<Self> {
        let replaced = accesses.iter().filter_map(|access| Some((access.read?, access.written?)));
        let replaced: Vec<(Version, Version)> = replaced.map(|(from, to)| (from, Some(to))).collect();
        if inference == Inference::Transactions {
            return Self::build(accesses, replaced, Vec::new());
        }
        let stretches: Vec<Stretch> = accesses.iter().map(|access| access.stretch).collect();
        let pairs = precedence(&stretches);
        let mut relations = replaced.clone();
        for (from, to) in &pairs {
            if let (Some(from), Some(to)) = (accesses[*from].latest(), accesses[*to].earliest())
                && from != to
            {
                relations.push((from, to));
            }
        }
        if let Some(order) = Self::build(accesses, relations, Vec::new()) {
            return Some(order);
        }
        let mut relations = replaced;
        relations.extend(write_pairs(accesses));
        let conflicts = |(from, to): &(usize, usize)| {
            let (from, to) = (&accesses[*from], &accesses[*to]);
            from.written.is_some() || to.written.is_some() || from.read != to.read
        };
        Self::build(accesses, relations, pairs.into_iter().filter(conflicts).collect())
    }

    fn build(
        accesses: &[Access],
        relations: Vec<(Version, Version)>,
        contradicted: Vec<(usize, usize)>,
    ) -> Option<Self> {
        let mut successors: BTreeMap<Version, BTreeSet<u64>> = BTreeMap::new();
        for (from, to) in relations {
            // Nothing comes before the state without a version.
            successors.entry(from).or_default().insert(to?);
        }
        if is_cyclic(&successors) {
            return None;
        }
        let later: BTreeSet<u64> =
            successors.iter().filter(|(from, _)| from.is_some()).flat_map(|(_, to)| to).copied().collect();
        let firsts =
            accesses.iter().filter_map(|access| access.written).filter(|value| !later.contains(value));
        successors.entry(None).or_default().extend(firsts.collect::<Vec<_>>());
        Some(Self { successors, contradicted })
    }
}

/// The order of writes in time.
fn write_pairs(accesses: &[Access]) -> Vec<(Version, Version)> {
    let writers: Vec<&Access> = accesses.iter().filter(|access| access.written.is_some()).collect();
    let stretches: Vec<Stretch> = writers.iter().map(|access| access.stretch).collect();
    let pairs = precedence(&stretches);
    pairs.into_iter().map(|(from, to)| (writers[from].written, writers[to].written)).collect()
}

/// Takes away what nothing comes before, as long as there is any.
fn is_cyclic(successors: &BTreeMap<Version, BTreeSet<u64>>) -> bool {
    let mut before: BTreeMap<Version, usize> = BTreeMap::new();
    for (from, to) in successors {
        before.entry(*from).or_default();
        for to in to {
            *before.entry(Some(*to)).or_default() += 1;
        }
    }
    let mut open: Vec<Version> =
        before.iter().filter(|(_, count)| **count == 0).map(|(key, _)| *key).collect();
    let mut taken = 0;
    while let Some(version) = open.pop() {
        taken += 1;
        for to in successors.get(&version).into_iter().flatten() {
            let count = before.get_mut(&Some(*to)).expect("counted above");
            *count -= 1;
            if *count == 0 {
                open.push(Some(*to));
            }
        }
    }
    taken < before.len()
}
