//! Transactions that append to lists and read them whole, checked as by Elle (Kingsbury and Alvaro, VLDB 2020).
//!
//! A list is its own history: a read of `[3 1 2]` shows three versions and their order, without any guess. The longest
//! read of a key is its version order, every other read must be a prefix of it, and the elements name their writers;
//! from there on all dependencies are known:
//!
//! ```text
//! order of key 7:  [3 1 2]      3 by T1, 1 by T2, 2 by T2;  T4 read [3]
//! ww: T1 -> T2          wr: T1 -> T4          rw: T4 -> T2
//! ```
//!
//! An append that was acknowledged and that no read shows comes after everything that was read: whoever read the whole
//! order did so before it. A read that began after the acknowledgement makes it a lost write.
//!
//! Real time is promised per key only. What a transaction touched of a key (the length that it read, the place where it
//! appended) may not lie before what an earlier one touched, one that had ended when it began. Where that holds, the
//! real-time edge says no more than the dependencies between the two already do; so only contradictions get an edge, and
//! their number does not matter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    anomaly::{Anomaly, Findings, Kind, Level},
    cycle,
    facts::{Facts, shared_prefix},
    graph::{Dependency, Edge, Graph, Item},
    history::{List, Operation, Transaction},
    internal,
    real_time::{Touch, contradictions},
};

/// Judges the lists of a history.
pub fn check(history: &[Transaction], level: Level) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    let facts = Facts::new(history, &mut findings);
    for (_, transaction) in facts.effective() {
        internal::check(transaction, level, &mut findings);
    }
    let mut graph = Graph::new(history.len());
    add_dependencies(&facts, &mut graph, &mut findings);
    cycle::search(history, &graph, level, &mut findings);
    findings.into_anomalies()
}

/// What was done to one key.
#[derive(Default)]
struct Uses<'a> {
    /// By transactions that took effect, in the order of the history.
    reads: Vec<(usize, &'a [u64])>,
    appends: Vec<(usize, u64)>,
}

/// Adds the edges of all lists to a graph over the history, and reports what needs no cycle.
pub fn add_dependencies(facts: &Facts<'_>, graph: &mut Graph, findings: &mut Findings) {
    let mut keys: BTreeMap<u64, Uses<'_>> = BTreeMap::new();
    for (by, transaction) in facts.effective() {
        for operation in &transaction.operations {
            match operation {
                Operation::Append { key, value } => {
                    keys.entry(*key).or_default().appends.push((by, *value));
                }
                Operation::ReadList { key, values } => {
                    keys.entry(*key).or_default().reads.push((by, values.as_deref().unwrap_or_default()));
                }
                _ => {}
            }
        }
    }
    for (key, uses) in &keys {
        ListOrder::new(*key, uses, facts).judge(graph, findings);
    }
}

struct ListOrder<'a, 'b> {
    key: u64,
    uses: &'b Uses<'a>,
    facts: &'b Facts<'a>,
    /// The longest read, and who did it first.
    order: &'a [u64],
    longest_by: usize,
    positions: BTreeMap<u64, usize>,
}

impl<'a, 'b> ListOrder<'a, 'b> {
    fn new(key: u64, uses: &'b Uses<'a>, facts: &'b Facts<'a>) -> Self {
        let mut longest: (usize, &[u64]) = (0, &[]);
        for (by, values) in &uses.reads {
            if values.len() > longest.1.len() {
                longest = (*by, values);
            }
        }
        let mut positions = BTreeMap::new();
        for (position, value) in longest.1.iter().enumerate() {
            positions.entry(*value).or_insert(position);
        }
        Self { key, uses, facts, order: longest.1, longest_by: longest.0, positions }
    }

    fn judge(&self, graph: &mut Graph, findings: &mut Findings) {
        let mut shown: BTreeSet<u64> = BTreeSet::new();
        self.judge_elements(self.longest_by, self.order, findings);
        for (by, values) in &self.uses.reads {
            if self.is_prefix(values) {
                continue;
            }
            let (one, other) = (&self.facts.history[*by], &self.facts.history[self.longest_by]);
            findings.report(Kind::IncompatibleOrder, || {
                let shared = shared_prefix(self.order, values);
                format!(
                    "list {}, alike up to {shared} elements: T{} read {}, T{} read {}",
                    self.key,
                    one.id,
                    List(values),
                    other.id,
                    List(self.order)
                )
            });
            self.judge_elements(*by, values, findings);
            shown.extend(*values);
        }
        self.judge_last_elements(findings);
        self.add_order(graph);
        self.add_reads(graph);
        self.judge_unseen(&shown, graph, findings);
        self.add_contradictions(graph);
    }

    fn is_prefix(&self, values: &[u64]) -> bool {
        values.len() <= self.order.len() && self.order[..values.len()] == *values
    }

    /// Who wrote the elements of a read, each once?
    fn judge_elements(&self, reader: usize, values: &[u64], findings: &mut Findings) {
        let reader = &self.facts.history[reader];
        let mut met = BTreeSet::new();
        for value in values {
            let place = || format!("T{} saw {value} in list {}", reader.id, self.key);
            if !met.insert(*value) {
                findings.report(Kind::Duplicate, || format!("{} twice\n    {reader}", place()));
            }
            match self.facts.appends.get(&(self.key, *value)) {
                None => findings.report(Kind::NeverWritten, || format!("{}\n    {reader}", place())),
                Some(writer) if self.facts.failed(writer.by) => findings.report(Kind::G1a, || {
                    format!("{}\n    {reader}\n    {}", place(), self.facts.history[writer.by])
                }),
                Some(_) => {}
            }
        }
    }

    /// A list that ends within the appends of another transaction.
    fn judge_last_elements(&self, findings: &mut Findings) {
        for (by, values) in &self.uses.reads {
            let Some(last) = values.last() else { continue };
            let Some(writer) = self.facts.appends.get(&(self.key, *last)) else { continue };
            if !writer.last && writer.by != *by && !self.facts.failed(writer.by) {
                let (reader, writer) = (&self.facts.history[*by], &self.facts.history[writer.by]);
                findings.report(Kind::G1b, || {
                    format!(
                        "T{} read up to {last} in list {}\n    {reader}\n    {writer}",
                        reader.id, self.key
                    )
                });
            }
        }
    }

    /// The transaction that appended an element, if there is one that took effect.
    fn writer(&self, value: u64) -> Option<usize> {
        let writer = self.facts.appends.get(&(self.key, value))?;
        self.facts.effective[writer.by].then_some(writer.by)
    }

    fn edge(&self, to: usize, dependency: Dependency, from: Option<u64>, version: Option<u64>) -> Edge {
        Edge { to, dependency, item: Item::List(self.key), from_version: from, to_version: version }
    }

    fn add_order(&self, graph: &mut Graph) {
        for pair in self.order.windows(2) {
            if let (Some(from), Some(to)) = (self.writer(pair[0]), self.writer(pair[1])) {
                graph.add(from, self.edge(to, Dependency::WriteWrite, Some(pair[0]), Some(pair[1])));
            }
        }
    }

    fn add_reads(&self, graph: &mut Graph) {
        for (by, values) in &self.uses.reads {
            if !self.is_prefix(values) {
                continue;
            }
            let last = values.last().copied();
            if let Some(writer) = last.and_then(|last| self.writer(last)) {
                graph.add(writer, self.edge(*by, Dependency::WriteRead, last, last));
            }
            let next = self.order.get(values.len()).copied();
            if let Some(writer) = next.and_then(|next| self.writer(next)) {
                graph.add(*by, self.edge(writer, Dependency::ReadWrite, last, next));
            }
        }
    }

    /// Acknowledged appends that no read shows.
    fn judge_unseen(&self, shown: &BTreeSet<u64>, graph: &mut Graph, findings: &mut Findings) {
        let history = self.facts.history;
        let unseen = self
            .uses
            .appends
            .iter()
            .filter(|(_, value)| !self.positions.contains_key(value) && !shown.contains(value));
        let readers = || self.uses.reads.iter().filter(|(_, values)| values.len() == self.order.len());
        let last = self.order.last().copied();
        for (by, value) in unseen.take(UNSEEN_MAX) {
            let writer = &history[*by];
            let late = self.uses.reads.iter().find(|(reader, _)| writer.precedes(&history[*reader]));
            if let Some((reader, values)) = late {
                findings.report(Kind::LostWrite, || {
                    format!(
                        "T{} appended {value} to list {}, which T{} read as {} later\n    {writer}\n    {}",
                        writer.id,
                        self.key,
                        history[*reader].id,
                        List(values),
                        history[*reader]
                    )
                });
            }
            if let Some(before) = last.and_then(|last| self.writer(last)) {
                graph.add(before, self.edge(*by, Dependency::WriteWrite, last, Some(*value)));
            }
            for (reader, values) in readers().take(UNSEEN_MAX) {
                if self.is_prefix(values) {
                    graph.add(*reader, self.edge(*by, Dependency::ReadWrite, last, Some(*value)));
                }
            }
        }
    }

    fn add_contradictions(&self, graph: &mut Graph) {
        let mut touches: BTreeMap<usize, Touch> = BTreeMap::new();
        let mut touch = |by: usize, low: usize, high: usize| {
            let transaction = &self.facts.history[by];
            let touch = touches.entry(by).or_insert_with(|| Touch::new(by, transaction));
            touch.low = touch.low.min(low);
            touch.high = touch.high.max(high);
        };
        for (by, values) in &self.uses.reads {
            let own = values.iter().rev().take_while(|value| self.writer(**value) == Some(*by)).count();
            if self.is_prefix(values) {
                touch(*by, values.len() - own, values.len());
            }
        }
        for (by, value) in &self.uses.appends {
            if let Some(position) = self.positions.get(value) {
                touch(*by, *position, position + 1);
            }
        }
        for (from, to) in contradictions(touches.into_values().collect()) {
            graph.add(from, self.edge(to, Dependency::RealTime, None, None));
        }
    }
}

/// Unseen appends per key, and reads for each of them, that get edges.
const UNSEEN_MAX: usize = 200;
