//! Transactions that read and write registers whose written values are unique, checked as by Elle (Kingsbury and Alvaro,
//! VLDB 2020), 4.2.
//!
//! A value names its writer, so reads are known exactly; of the order of versions only a part is known, see
//! [`super::version_order`]. For `v` before `w` in it: the writer of `v` comes before the writer of `w`, and so does
//! everybody who read `v`. What the known part does not order can't be judged, so a pass says less than one of
//! [`super::list_append`].

use std::collections::BTreeMap;

use super::{
    anomaly::{Anomaly, Findings, Kind, Level},
    cycle,
    facts::Facts,
    graph::{Dependency, Edge, Graph, Item},
    history::{Operation, Transaction},
    internal,
    real_time::Stretch,
    version_order::{Access, Version, VersionOrder},
};

pub use super::version_order::Inference;

/// Judges the registers of a history.
pub fn check(history: &[Transaction], level: Level, inference: Inference) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    let facts = Facts::new(history, &mut findings);
    for (_, transaction) in facts.effective() {
        internal::check(transaction, level, &mut findings);
    }
    let mut graph = Graph::new(history.len());
    add_dependencies(&facts, level, inference, &mut graph, &mut findings);
    cycle::search(history, &graph, level, &mut findings);
    findings.into_anomalies()
}

/// Adds the edges of all registers to a graph over the history, and reports what needs no cycle.
pub fn add_dependencies(
    facts: &Facts<'_>,
    level: Level,
    inference: Inference,
    graph: &mut Graph,
    findings: &mut Findings,
) {
    let mut keys: BTreeMap<u64, Vec<Access>> = BTreeMap::new();
    for (by, transaction) in facts.effective() {
        for (key, access) in accesses(facts, by, transaction, findings) {
            keys.entry(key).or_default().push(access);
        }
    }
    for (key, accesses) in keys {
        let register = Register { key, accesses, facts };
        register.add_reads(graph);
        match VersionOrder::infer(&register.accesses, inference) {
            Some(order) => {
                if level < Level::Serializable && !order.contradicted.is_empty() {
                    register.report_cyclic(findings);
                }
                register.add_order(&order, graph);
            }
            None => register.report_cyclic(findings),
        }
    }
}

/// What a transaction did to each register, once per register; a read that differs from an earlier one comes extra.
fn accesses(
    facts: &Facts<'_>,
    by: usize,
    transaction: &Transaction,
    findings: &mut Findings,
) -> Vec<(u64, Access)> {
    let stretch = Stretch { started: transaction.started, settled: transaction.settled() };
    let mut accesses: BTreeMap<u64, Access> = BTreeMap::new();
    let mut extra = Vec::new();
    for operation in &transaction.operations {
        let (Operation::Read { key, .. } | Operation::Write { key, .. }) = operation else { continue };
        let access = accesses.entry(*key).or_insert(Access { by, stretch, read: None, written: None });
        match operation {
            Operation::Write { value, .. } => access.written = Some(*value),
            Operation::Read { value, .. } if access.written.is_none() || access.written != *value => {
                let sound = value.is_none_or(|value| judge_read(facts, by, *key, value, findings));
                if sound && access.written.is_none() {
                    let first = *access.read.get_or_insert(*value);
                    if first != *value {
                        extra.push((*key, Access { by, stretch, read: Some(*value), written: None }));
                    }
                }
            }
            _ => {}
        }
    }
    accesses.into_iter().chain(extra).collect()
}

/// Whether a value that was read is a version.
fn judge_read(facts: &Facts<'_>, by: usize, key: u64, value: u64, findings: &mut Findings) -> bool {
    let reader = &facts.history[by];
    let place = || format!("T{} read {value} in register {key}\n    {reader}", reader.id);
    let Some(writer) = facts.writes.get(&(key, value)) else {
        findings.report(Kind::NeverWritten, place);
        return false;
    };
    let kind = match writer {
        writer if facts.failed(writer.by) => Kind::G1a,
        writer if !writer.last && writer.by != by => Kind::G1b,
        // Its own earlier value is for the internal check.
        writer => return writer.by != by,
    };
    findings.report(kind, || format!("{}\n    {}", place(), facts.history[writer.by]));
    false
}

struct Register<'a> {
    key: u64,
    accesses: Vec<Access>,
    facts: &'a Facts<'a>,
}

impl Register<'_> {
    fn edge(&self, to: usize, dependency: Dependency, from: Version, version: Version) -> Edge {
        Edge { to, dependency, item: Item::Register(self.key), from_version: from, to_version: version }
    }

    fn writer(&self, version: Version) -> Option<usize> {
        Some(self.facts.writes.get(&(self.key, version?))?.by)
    }

    fn add_reads(&self, graph: &mut Graph) {
        for access in &self.accesses {
            if let Some(version) = access.read
                && let Some(writer) = self.writer(version)
            {
                graph.add(writer, self.edge(access.by, Dependency::WriteRead, version, version));
                // Of two versions times say which came first; of one they may contradict the write itself.
                if self.facts.history[access.by].precedes(&self.facts.history[writer]) {
                    graph.add(access.by, self.edge(writer, Dependency::RealTime, None, None));
                }
            }
        }
    }

    fn add_order(&self, order: &VersionOrder, graph: &mut Graph) {
        let mut readers: BTreeMap<Version, Vec<usize>> = BTreeMap::new();
        for access in &self.accesses {
            if let Some(version) = access.read {
                readers.entry(version).or_default().push(access.by);
            }
        }
        for (from, successors) in &order.successors {
            let readers = readers.get(from).map_or(&[][..], Vec::as_slice);
            let pairs = successors.iter().flat_map(|to| readers.iter().map(move |reader| (*reader, *to)));
            for to in successors {
                if let (Some(before), Some(after)) = (self.writer(*from), self.writer(Some(*to))) {
                    graph.add(before, self.edge(after, Dependency::WriteWrite, *from, Some(*to)));
                }
            }
            for (reader, to) in pairs.take(EDGES_PER_VERSION_MAX) {
                if let Some(writer) = self.writer(Some(to)) {
                    graph.add(reader, self.edge(writer, Dependency::ReadWrite, *from, Some(to)));
                }
            }
        }
        for (from, to) in &order.contradicted {
            let to = self.accesses[*to].by;
            graph.add(self.accesses[*from].by, self.edge(to, Dependency::RealTime, None, None));
        }
    }

    fn report_cyclic(&self, findings: &mut Findings) {
        findings.report(Kind::CyclicVersions, || {
            let shown = self.accesses.iter().take(ACCESSES_SHOWN_MAX);
            let lines: Vec<String> =
                shown.map(|access| format!("\n    {}", self.facts.history[access.by])).collect();
            format!("no order of the versions of register {} explains{}", self.key, lines.concat())
        });
    }
}

/// Many transactions that read one version and all replaced it are lost updates, found by the first few.
const EDGES_PER_VERSION_MAX: usize = 10_000;
const ACCESSES_SHOWN_MAX: usize = 16;
