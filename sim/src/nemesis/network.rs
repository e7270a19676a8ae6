//! Messages that come late, twice or not at all, and links that are cut.

use std::time::Duration;

use basalt_env::sim::LinkFaults;

use super::{Nemesis, ranges::some_row, weather::Kind};
use crate::node::Node;

impl Nemesis {
    /// Faults of all links, in bad weather.
    pub(super) fn disturb_network(&self) {
        let faults = &self.context.parameters.network;
        if !self.weather.has(Kind::Links) {
            return self.context.cluster.network().set_link_faults(LinkFaults::default());
        }
        self.context.cluster.network().set_link_faults(LinkFaults {
            delay_max: faults.delay_max,
            slow_one_in: faults.slow_one_in,
            slow_max: faults.slow_max,
            drop_one_in: faults.drop_one_in,
            duplicate_one_in: faults.duplicate_one_in,
            in_order: faults.in_order,
            ..LinkFaults::default()
        });
    }

    /// Cuts some links, waits, and opens all.
    pub(super) async fn partition(&self, every: Duration) {
        let (cluster, network) = (&self.context.cluster, self.context.cluster.network());
        while self.due(Kind::Partition, every).await {
            let nodes: Vec<u64> = cluster.nodes().iter().map(Node::number).collect();
            let mut one = nodes[self.index(nodes.len())];
            let other = nodes[self.index(nodes.len())];
            let mut drawn = self.context.below(6);
            if self.context.parameters.leases_only
                && self.context.coin()
                && let Some(server) = cluster.server_of(&some_row(&self.context))
            {
                (one, drawn) = (server.number(), 0);
            }
            let (kind, what) = match drawn {
                0 => {
                    network.isolate(one);
                    ("partition: one node alone", format!("node {one} is cut off"))
                }
                1 => {
                    let (left, right) = nodes.split_at(nodes.len() / 2);
                    network.partition(&[left, right]);
                    ("partition: two halves", format!("{left:?} and {right:?} are apart"))
                }
                2 => {
                    network.majority_ring(&nodes);
                    (
                        "partition: everybody sees another majority",
                        "everybody sees another majority".to_owned(),
                    )
                }
                3 => {
                    network.block(one, other);
                    ("partition: one direction", format!("nothing comes from {one} to {other}"))
                }
                4 => {
                    network.block(one, other);
                    network.block(other, one);
                    ("partition: one pair", format!("{one} and {other} do not see each other"))
                }
                _ => {
                    network.clog(one, other);
                    ("partition: messages wait", format!("what {one} sends to {other} waits"))
                }
            };
            if drawn < 3 || one != other {
                self.context.reached.count(kind);
            }
            self.context.trace.line(|| what);
            self.wait(self.context.parameters.network.partition_for / 2).await;
            network.heal();
            self.context.trace.line(|| "all links are open".to_owned());
        }
    }
}
