//! Lists, registers and predicates in one graph: a cycle may lead over all of them.

use super::{
    anomaly::{Anomaly, Findings, Level},
    cycle,
    facts::Facts,
    graph::Graph,
    history::Transaction,
    internal, list_append, predicate,
    rw_register::{self, Inference},
};

/// Judges a history by everything that it shows.
pub fn check(history: &[Transaction], level: Level, inference: Inference) -> Vec<Anomaly> {
    let mut findings = Findings::default();
    let facts = Facts::new(history, &mut findings);
    for (_, transaction) in facts.effective() {
        internal::check(transaction, level, &mut findings);
    }
    let mut graph = Graph::new(history.len());
    list_append::add_dependencies(&facts, &mut graph, &mut findings);
    rw_register::add_dependencies(&facts, level, inference, &mut graph, &mut findings);
    predicate::add_dependencies(&facts, &mut graph, &mut findings);
    cycle::search(history, &graph, level, &mut findings);
    findings.into_anomalies()
}
