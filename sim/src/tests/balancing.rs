//! Leases and replicas in equal parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use basalt_base::{NodeId, RangeId};
use basalt_kv::KvCounts;
use futures::future::join_all;

use super::fixture::{Fixture, calm, with_cluster, with_parameters};

/// In which a load that does not change is spread.
const SPREAD: Duration = Duration::from_secs(60);
const WATCHED: Duration = Duration::from_secs(120);
/// Moves that a load brings about which does not change, in a minute.
const STRAY_MOVES: u64 = 3;

impl Fixture {
    fn numbers(&self) -> Vec<u64> {
        self.cluster.nodes().iter().map(crate::node::Node::number).collect()
    }

    fn each(&self, of: impl Fn(&KvCounts) -> u64) -> Vec<u64> {
        self.numbers().into_iter().map(|number| of(&self.store(number).counts())).collect()
    }

    fn moves(&self) -> u64 {
        self.each(|counts| counts.leases_balanced + counts.replicas_balanced).iter().sum()
    }

    fn leases(&self) -> Vec<u64> {
        self.numbers().into_iter().map(|number| self.store(number).node_load().leases).collect()
    }

    /// Thousandths of requests a second, and a little for each lease.
    fn loads(&self) -> Vec<u64> {
        self.numbers().into_iter().map(|number| self.store(number).node_load().load).collect()
    }

    fn replica_counts(&self) -> Vec<u64> {
        self.numbers().into_iter().map(|number| self.store(number).node_load().replicas).collect()
    }

    /// Who of these leads each range.
    fn leaders_by(&self, numbers: &[u64]) -> BTreeMap<RangeId, u64> {
        let leads = |number: &u64| {
            let number = *number;
            let replicas = self.store(number).replicas().into_iter().filter(|replica| replica.leads);
            replicas.map(move |replica| (replica.range_id, number)).collect::<Vec<_>>()
        };
        numbers.iter().flat_map(leads).collect()
    }

    /// Writes for so long, to rows that `pick` draws.
    async fn work(&self, time: Duration, pick: impl Fn(u64) -> u64) {
        let end = self.executor.now() + time;
        let mut turn = 0;
        while self.executor.now() < end {
            // From every node, at once.
            let writes = (0..6).map(|_| {
                turn += 1;
                self.tries_to_put(1 + turn % 3, pick(turn))
            });
            join_all(writes.collect::<Vec<_>>()).await;
            self.executor.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn split_into(&self, ranges: u64) {
        for row in 1..ranges {
            self.split(row).await;
        }
    }
}

fn assert_even(what: &str, counts: &[u64]) {
    let mean = counts.iter().sum::<u64>() / counts.len() as u64;
    assert!(counts.iter().all(|count| count.abs_diff(mean) * 100 <= 25 * mean), "{what}: {counts:?}");
}

fn difference(after: Vec<u64>, before: &[u64]) -> Vec<u64> {
    after.into_iter().zip(before).map(|(after, before)| after - before).collect()
}

#[test]
fn a_uniform_load_is_shared_by_three_nodes_and_then_next_to_nothing_moves() {
    with_cluster(1, 3, |fixture| async move {
        fixture.split_into(36).await;
        fixture.until_replicated(3).await;
        assert!(fixture.leases()[0] >= 36, "{:?}", fixture.leases());
        let random = |_| fixture.executor.rng().below(36) as u64;
        fixture.work(SPREAD, random).await;
        assert_even("leases", &fixture.leases());
        let (moves, before) = (fixture.moves(), fixture.each(|counts| counts.puts));
        assert!(moves >= 20, "{moves} moves");
        fixture.work(WATCHED, random).await;
        assert_even("leases, later", &fixture.leases());
        assert_even("requests", &difference(fixture.each(|counts| counts.puts), &before));
        let stray = fixture.moves() - moves;
        assert!(stray <= STRAY_MOVES * WATCHED.as_secs() / 60, "{stray} moves of a steady load");
    });
}

#[test]
fn busy_ranges_are_apart_and_idle_ones_make_up_for_them() {
    with_cluster(2, 3, |fixture| async move {
        fixture.split_into(33).await;
        fixture.until_replicated(3).await;
        // Nine of ten writes go to three rows.
        let pick = |turn: u64| if turn.is_multiple_of(10) { turn % 33 } else { 10 * (1 + turn % 3) };
        fixture.work(SPREAD, pick).await;
        let (moves, before) = (fixture.moves(), fixture.each(|counts| counts.puts));
        fixture.work(WATCHED, pick).await;
        assert_even("requests", &difference(fixture.each(|counts| counts.puts), &before));
        let stray = fixture.moves() - moves;
        assert!(stray <= STRAY_MOVES * WATCHED.as_secs() / 60, "{stray} moves of a steady load");
        // And when there is no load any more, leases count.
        fixture.executor.sleep(4 * SPREAD).await;
        assert_even("leases", &fixture.leases());
    });
}

#[test]
fn a_busy_range_splits_until_the_nodes_can_share_it() {
    let mut parameters = calm(7, 3);
    parameters.split_requests = 15;
    with_parameters(parameters, |fixture| async move {
        fixture.until_replicated(3).await;
        let splits = || fixture.each(|counts| counts.splits_by_load).iter().sum::<u64>();
        // All goes to one row, or ever further up: no key would divide it.
        fixture.work(SPREAD, |_| 5_000).await;
        fixture.work(2 * SPREAD, |turn| 10_000 + turn).await;
        assert_eq!(splits(), 0);
        let random = |_| fixture.executor.rng().below(1_000) as u64;
        fixture.work(3 * SPREAD, random).await;
        let (split, before) = (splits(), fixture.each(|counts| counts.puts));
        assert!((3..16).contains(&split), "{split} splits");
        fixture.work(WATCHED, random).await;
        let puts = difference(fixture.each(|counts| counts.puts), &before);
        assert!(splits() <= split + 2, "{split} splits, then {}", splits());
        assert!(puts.iter().all(|puts| puts * 6 >= before.iter().sum::<u64>() / 10), "{puts:?}");
    });
}

#[test]
fn idle_ranges_are_spread_and_sleep_on() {
    with_cluster(3, 3, |fixture| async move {
        fixture.split_into(60).await;
        fixture.until_replicated(3).await;
        // What the splits have cost is forgotten by then.
        fixture.executor.sleep(4 * SPREAD).await;
        assert_even("loads", &fixture.loads());
        assert!(fixture.leases().iter().all(|leases| (13..28).contains(leases)), "{:?}", fixture.leases());
        let sent = || {
            let numbers = fixture.numbers();
            numbers.into_iter().map(|number| fixture.store(number).raft_counts().messages).sum::<u64>()
        };
        let (moves, before) = (fixture.moves(), sent());
        fixture.executor.sleep(WATCHED).await;
        assert_eq!(fixture.moves(), moves);
        let rate = (sent() - before) * 60 / WATCHED.as_secs();
        assert!(rate < 120, "{rate} messages of Raft a minute");
    });
}

#[test]
fn who_drains_or_is_down_gets_nothing_and_gets_its_part_when_it_is_back() {
    with_cluster(4, 3, |fixture| async move {
        fixture.split_into(30).await;
        fixture.until_replicated(3).await;
        assert!(fixture.store(3).drain(Duration::from_secs(10)).await.is_done());
        fixture.executor.sleep(4 * SPREAD).await;
        assert_eq!(fixture.leases()[2], 0, "{:?}", fixture.leases());
        assert_even("loads of those who stay", &fixture.loads()[..2]);
        fixture.store(3).undrain();
        fixture.executor.sleep(2 * SPREAD).await;
        assert_even("loads", &fixture.loads());
        fixture.cluster.network().isolate(2);
        fixture.executor.sleep(4 * SPREAD).await;
        let loads = fixture.loads();
        assert_even("loads without the second", &[loads[0], loads[2]]);
        let leaders: BTreeSet<u64> = fixture.leaders_by(&[1, 3]).into_values().collect();
        assert_eq!(leaders, BTreeSet::from([1, 3]));
        assert_eq!(fixture.leaders_by(&[1, 3]).len(), fixture.store(1).replicas().len());
        fixture.cluster.network().heal();
        fixture.executor.sleep(4 * SPREAD).await;
        assert_even("loads", &fixture.loads());
        assert!(fixture.leases().iter().all(|leases| *leases >= 5), "{:?}", fixture.leases());
    });
}

#[test]
fn nodes_that_join_get_their_part_of_leases_and_replicas() {
    with_cluster(5, 3, |fixture| async move {
        fixture.split_into(30).await;
        fixture.until_replicated(3).await;
        for _ in 0..2 {
            fixture.cluster.grow().await.until_up().await;
        }
        fixture.executor.sleep(5 * WATCHED).await;
        fixture.until_replicated(3).await;
        assert_even("replicas", &fixture.replica_counts());
        assert_even("leases", &fixture.leases());
        let moves = fixture.moves();
        fixture.executor.sleep(WATCHED).await;
        assert_eq!(fixture.moves(), moves);
    });
}

#[test]
fn zones_come_before_equal_parts() {
    with_parameters(calm(6, 3), |fixture| async move {
        let members = fixture.cluster.members().clone();
        (1..=3).for_each(|number| members.set_zone(number, number));
        fixture.split_into(30).await;
        fixture.until_replicated(3).await;
        for (number, zone) in [(4, 1), (5, 2)] {
            members.set_zone(number, zone);
            fixture.cluster.grow().await.until_up().await;
        }
        let zone = |node: &NodeId| [1, 2, 3, 1, 2][usize::try_from(node.0).unwrap() - 1];
        let end = fixture.executor.now() + 5 * WATCHED;
        while fixture.executor.now() < end {
            fixture.executor.sleep(Duration::from_millis(100)).await;
            for replica in fixture.numbers().into_iter().flat_map(|number| fixture.store(number).replicas()) {
                let zones: BTreeSet<u64> = replica.nodes.iter().map(zone).collect();
                assert_eq!(zones.len(), 3, "{replica:?}");
            }
        }
        fixture.until_replicated(3).await;
        // One replica in each zone, in equal parts within it.
        let counts = fixture.replica_counts();
        assert_eq!(counts[2], counts.iter().sum::<u64>() / 3, "{counts:?}");
        for (one, other) in [(0, 3), (1, 4)] {
            assert_even("replicas in a zone", &[counts[one], counts[other]]);
        }
        let moves = fixture.moves();
        fixture.executor.sleep(WATCHED).await;
        assert_eq!(fixture.moves(), moves);
    });
}
