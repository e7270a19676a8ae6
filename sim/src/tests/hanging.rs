//! Disks that do not answer, while everything else of their nodes works.

use std::{sync::atomic::Ordering, time::Duration};

use super::fixture::{Fixture, calm, id, with_cluster, with_parameters};

/// Nodes answer no pings after ten seconds, and are missed after two more.
const UNTIL_DOWN: Duration = Duration::from_secs(13);

#[test]
fn replicas_behind_a_hanging_disk_are_replaced() {
    let mut parameters = calm(1, 4);
    parameters.dead_after = Duration::from_secs(10);
    with_parameters(parameters, |fixture| async move {
        fixture.spread(6).await;
        let on_third = |fixture: &Fixture| {
            let others = [1, 2, 4].map(|number| fixture.store(number).replicas());
            others.iter().flatten().filter(|replica| replica.nodes.contains(&id(3))).count()
        };
        assert!(on_third(&fixture) > 0 && !fixture.store(3).replicas().is_empty());
        let hangs = fixture.node(3).hang_disk();
        fixture.executor.sleep(Duration::from_secs(8)).await;
        let is_up = |from: u64, to: u64| fixture.store(from).peers().is_up(id(to));
        assert!(is_up(1, 3), "a busy disk takes seconds");
        fixture.executor.sleep(UNTIL_DOWN - Duration::from_secs(8)).await;
        assert!([1, 2, 4].into_iter().all(|other| !is_up(other, 3) && is_up(3, other)));
        let replaced = || {
            let all = [1, 2, 4].into_iter().flat_map(|number| fixture.store(number).replicas());
            all.into_iter().all(|replica| replica.voters == 3 && replica.is_settled)
                && on_third(&fixture) == 0
        };
        fixture.until("its replicas are replaced", replaced).await;
        for row in 0..6 {
            fixture.put(1, row).await;
        }
        hangs.store(false, Ordering::Relaxed);
        fixture.until("it is back", || [1, 2, 4].into_iter().all(|other| is_up(other, 3))).await;
        fixture.until_replicated(3).await;
        for row in 0..6 {
            fixture.put(3, row).await;
        }
    });
}

#[test]
fn a_node_that_alone_has_something_stays_up() {
    // Two nodes have one replica of everything: all of it is on the first one.
    with_cluster(2, 2, |fixture| async move {
        fixture.put(1, 1).await;
        let hangs = fixture.node(1).hang_disk();
        fixture.executor.sleep(UNTIL_DOWN).await;
        assert!(fixture.store(1).held_up_for() > Duration::from_secs(10));
        assert!(fixture.store(2).peers().is_up(id(1)));
        hangs.store(false, Ordering::Relaxed);
        fixture.executor.sleep(Duration::from_secs(1)).await;
        fixture.put(2, 2).await;
    });
}

#[test]
fn a_store_without_peers_goes_on_when_its_disk_does() {
    with_cluster(3, 1, |fixture| async move {
        fixture.put(1, 1).await;
        let hangs = fixture.node(1).hang_disk();
        fixture.executor.sleep(UNTIL_DOWN).await;
        hangs.store(false, Ordering::Relaxed);
        fixture.executor.sleep(Duration::from_secs(1)).await;
        fixture.put(1, 2).await;
    });
}
