//! Nodes that join a node that was alone.

use std::time::Duration;

use basalt_txn::ReadOptions;

use super::fixture::{Fixture, calm, key, with_parameters};
use crate::Parameters;

/// A cluster that begins with one node.
fn alone(seed: u64) -> Parameters {
    let mut parameters = calm(seed, 2);
    let mut long = calm(seed, 2).lasting(seed, Duration::from_secs(600)).long.expect("of a long run");
    long.nodes_later = 1;
    parameters.long = Some(long);
    parameters
}

impl Fixture {
    /// What a client of the node finds: whether the row is there.
    async fn finds(&self, number: u64, row: u64) -> bool {
        let txn = self.begin(number);
        let value = txn.get(&key(row), ReadOptions::default()).await.expect("the read succeeds");
        txn.rollback().await;
        value.is_some()
    }
}

#[test]
fn a_node_that_joins_one_just_restarted_reads_what_that_has_written() {
    for seed in 1..=4 {
        with_parameters(alone(seed), |fixture| async move {
            fixture.put(1, 1).await;
            let node = fixture.node(1);
            node.crash(&fixture.context());
            node.start();
            node.until_up().await;
            fixture.put(1, 2).await;
            let joiner = fixture.cluster.grow().await;
            joiner.until_up().await;
            fixture.put(1, 3).await;
            // The first read tells its node the time.
            for row in [2, 3, 1] {
                assert!(fixture.finds(2, row).await, "row {row} was acknowledged before");
            }
        });
    }
}

#[test]
fn a_node_whose_wall_clock_was_set_back_takes_nobody_in_until_that_has_passed() {
    with_parameters(alone(5), |fixture| async move {
        let set_back = Duration::from_secs(4);
        fixture.node(1).clock().set_offset(4_000_000);
        // Until its durable bound is there, too.
        fixture.executor.sleep(Duration::from_secs(5)).await;
        fixture.put(1, 1).await;
        fixture.node(1).clock().set_offset(0);
        fixture.put(1, 2).await;
        let begun = fixture.executor.now();
        fixture.cluster.grow().await.until_up().await;
        let taken = fixture.executor.now() - begun;
        assert!(taken >= set_back - Duration::from_secs(1), "only {taken:?}");
        assert!(fixture.finds(2, 2).await);
    });
}
