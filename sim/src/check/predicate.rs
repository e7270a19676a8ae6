//! Predicate reads and phantoms: G2 of Adya (1999), 4.4.
//!
//! A scan reads all versions that match its predicate, rows that do not exist yet included: a scan without a row comes
//! before the insert of that row, and one with a row before its delete. A key is used once, so a row has three states:
//! unborn, there, and dead. A scan can't tell unborn from dead; where a delete may have come first, times decide, or
//! nothing is concluded. A delete counts as one of the row only if its transaction has seen the row.
//!
//! Scans look at all rows of their set, so the work is the product of both: sets are meant to be small.

use std::collections::BTreeSet;

use super::{
    anomaly::{Anomaly, Findings, Kind, Level},
    cycle,
    facts::{Facts, Row},
    graph::{Dependency, Edge, Graph, Item},
    history::{Operation, Outcome, Transaction},
    internal,
};

/// Judges the scans of a history.
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

/// Adds the edges of all sets to a graph over the history, and reports what needs no cycle.
pub fn add_dependencies(facts: &Facts<'_>, graph: &mut Graph, findings: &mut Findings) {
    let deletes = real_deletes(facts);
    for (by, transaction) in facts.effective() {
        for operation in &transaction.operations {
            let Operation::Scan { set, rows } = operation else { continue };
            let keys = rows.iter().map(|(key, _)| *key).collect();
            let scan = Scan { by, set: *set, keys, facts, real_deletes: &deletes };
            scan.judge_rows(rows, findings);
            for ((_, key), row) in facts.inserts.range((*set, 0)..=(*set, u64::MAX)) {
                if row.by != by {
                    scan.add_row(*key, *row, graph);
                }
            }
        }
    }
}

/// Transaction, set and key of each delete of a row that its transaction has seen.
fn real_deletes(facts: &Facts<'_>) -> BTreeSet<(usize, u64, u64)> {
    let mut found = BTreeSet::new();
    for (by, transaction) in facts.effective() {
        for operation in &transaction.operations {
            let Operation::Delete { set, key } = operation else { continue };
            let sees = |operation: &Operation| {
                matches!(operation, Operation::Scan { set: scanned, rows }
                    if scanned == set && rows.iter().any(|(seen, _)| seen == key))
            };
            if transaction.operations.iter().any(sees) {
                found.insert((by, *set, *key));
            }
        }
    }
    found
}

struct Scan<'a> {
    by: usize,
    set: u64,
    /// Of the rows that it returned.
    keys: BTreeSet<u64>,
    facts: &'a Facts<'a>,
    real_deletes: &'a BTreeSet<(usize, u64, u64)>,
}

impl Scan<'_> {
    fn transaction(&self) -> &Transaction {
        &self.facts.history[self.by]
    }

    fn judge_rows(&self, rows: &[(u64, u64)], findings: &mut Findings) {
        let reader = self.transaction();
        for (key, value) in rows {
            let place =
                || format!("T{} saw row {key} = {value} of set {}\n    {reader}", reader.id, self.set);
            match self.facts.inserts.get(&(self.set, *key)) {
                Some(row) if row.value != *value => findings.report(Kind::NeverWritten, place),
                None => findings.report(Kind::NeverWritten, place),
                Some(row) if self.facts.failed(row.by) => {
                    findings.report(Kind::G1a, || format!("{}\n    {}", place(), self.facts.history[row.by]));
                }
                Some(_) => {}
            }
        }
    }

    fn edge(&self, to: usize, dependency: Dependency, key: u64, version: Option<u64>) -> Edge {
        Edge {
            to,
            dependency,
            item: Item::Row { set: self.set, key },
            from_version: None,
            to_version: version,
        }
    }

    fn add_row(&self, key: u64, row: Row, graph: &mut Graph) {
        if !self.facts.effective[row.by] {
            return;
        }
        let deletes = self.facts.deletes.get(&(self.set, key)).map_or(&[][..], Vec::as_slice);
        if deletes.contains(&self.by) {
            return;
        }
        if self.keys.contains(&key) {
            self.add_seen(key, row, deletes, graph);
        } else {
            self.add_missing(key, row, deletes, graph);
        }
    }

    fn add_seen(&self, key: u64, row: Row, deletes: &[usize], graph: &mut Graph) {
        let (history, reader) = (self.facts.history, self.transaction());
        graph.add(row.by, self.edge(self.by, Dependency::WriteRead, key, Some(row.value)));
        if reader.precedes(&history[row.by]) {
            graph.add(self.by, self.edge(row.by, Dependency::RealTime, key, None));
        }
        for delete in deletes {
            if self.real_deletes.contains(&(*delete, self.set, key)) {
                graph.add(self.by, self.edge(*delete, Dependency::PredicateReadWrite, key, None));
                if history[*delete].precedes(reader) {
                    graph.add(*delete, self.edge(self.by, Dependency::RealTime, key, None));
                }
            }
        }
    }

    fn add_missing(&self, key: u64, row: Row, deletes: &[usize], graph: &mut Graph) {
        let (history, reader) = (self.facts.history, self.transaction());
        let before_insert = history[row.by].precedes(reader);
        let possible: Vec<usize> =
            deletes.iter().filter(|delete| history[**delete].outcome != Outcome::Failed).copied().collect();
        if possible.iter().all(|delete| reader.precedes(&history[*delete])) {
            graph.add(self.by, self.edge(row.by, Dependency::PredicateReadWrite, key, Some(row.value)));
            if before_insert {
                graph.add(row.by, self.edge(self.by, Dependency::RealTime, key, None));
            }
        } else if let ([delete], true) = (possible.as_slice(), before_insert) {
            graph.add(*delete, self.edge(self.by, Dependency::WriteRead, key, None));
        }
    }
}
