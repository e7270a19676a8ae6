//! No key is served by two nodes at once.
//!
//! Looked at while a run goes on, between two polls, whatever the nodes are doing: at no instant may two of them answer a
//! request for the same key, each by its own clock and by what it knows of the lease. Only where all clocks are right,
//! since a node whose clock was set serves nothing from its next reading on, but does not know it before.

use std::time::Duration;

use basalt_base::Span;

use crate::{Violations, cluster::Cluster};

/// Between two looks, in virtual time. Odd, so that it falls anywhere between the beats of the nodes.
const EVERY: Duration = Duration::from_micros(97_001);

pub struct Serving {
    cluster: Cluster,
    violations: Violations,
    next: Duration,
}

impl Serving {
    pub fn new(cluster: &Cluster, violations: &Violations) -> Self {
        Self { cluster: cluster.clone(), violations: violations.clone(), next: Duration::ZERO }
    }

    /// Looks, if it is time to.
    pub fn look(&mut self, now: Duration) {
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        let mut served: Vec<(Span, u64)> = Vec::new();
        for node in self.cluster.nodes() {
            served.extend(node.served_now().into_iter().map(|span| (span, node.number())));
        }
        if let Some((span, one, other)) = twice(&mut served) {
            self.violations
                .report(format!("nodes {one} and {other} serve {:02x?} at the same time", &span.start[..]));
        }
    }
}

/// The first span that overlaps one of another node.
fn twice(served: &mut [(Span, u64)]) -> Option<(&Span, u64, u64)> {
    served.sort_unstable_by(|(one, _), (other, _)| one.start.cmp(&other.start));
    let mut furthest: Option<(&Span, u64)> = None;
    for (span, node) in served.iter() {
        if let Some((before, holder)) = furthest
            && span.start < before.end
            && holder != *node
        {
            return Some((span, holder, *node));
        }
        if furthest.is_none_or(|(before, _)| before.end < span.end) {
            furthest = Some((span, *node));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use basalt_base::Key;

    use super::*;

    #[test]
    fn spans_of_two_nodes_must_not_overlap() {
        let span = |start: &'static str, end: &'static str| {
            Span::new(Key::from_static(start.as_bytes()), Key::from_static(end.as_bytes()))
        };
        let cases = [
            (vec![], None),
            (vec![(span("a", "c"), 1), (span("c", "f"), 2), (span("f", "z"), 1)], None),
            (vec![(span("c", "f"), 2), (span("a", "d"), 1)], Some((1, 2))),
            (vec![(span("a", "z"), 1), (span("b", "c"), 1), (span("d", "e"), 3)], Some((1, 3))),
            (vec![(span("a", "c"), 1), (span("a", "c"), 1)], None),
        ];
        for (mut served, expected) in cases {
            let found = twice(&mut served).map(|(_, one, other)| (one, other));
            assert_eq!(found, expected, "{served:?}");
        }
    }
}
