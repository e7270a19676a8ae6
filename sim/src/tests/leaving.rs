//! Draining, decommissioning, and ids of nodes.

use std::time::Duration;

use basalt_kv::NodeState;
use futures::future::join_all;

use super::fixture::{id, with_cluster};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_node_that_drains_serves_nothing_and_the_others_serve_on() {
    with_cluster(1, 3, |fixture| async move {
        fixture.spread(20).await;
        assert!(fixture.served()[0] > 5, "{:?}", fixture.served());
        let progress = fixture.store(1).drain(PATIENCE).await;
        assert!(progress.is_done(), "{progress:?}");
        // Others hold what it has held, in about equal parts, and go on at once, whichever node is asked.
        let begun = fixture.executor.now();
        for row in 0..20 {
            fixture.put(1 + row % 3, row).await;
        }
        let taken = fixture.executor.now() - begun;
        assert!(taken < Duration::from_secs(2), "the writes took {taken:?}");
        let served = fixture.served();
        assert!(served[0] == 0 && served[1] >= 5 && served[2] >= 5, "{served:?}");
        // It takes nothing while it drains, and keeps its replicas: it will be back.
        fixture.executor.sleep(Duration::from_secs(20)).await;
        assert_eq!(fixture.served()[0], 0);
        assert!(fixture.store(1).replicas().iter().all(|replica| replica.voters == 3));
    });
}

#[test]
fn a_store_without_peers_drains_at_once() {
    with_cluster(2, 1, |fixture| async move {
        fixture.put(1, 3).await;
        let progress = fixture.store(1).drain(Duration::ZERO).await;
        assert!(progress.is_done());
        fixture.put(1, 4).await;
    });
}

#[test]
fn a_node_that_drains_serves_what_nobody_else_can() {
    with_cluster(3, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        assert!(fixture.store(1).drain(PATIENCE).await.is_done());
        assert!(fixture.store(2).drain(PATIENCE).await.is_done());
        let progress = fixture.store(3).drain(Duration::from_secs(1)).await;
        assert!(!progress.is_done(), "somebody must serve");
        fixture.put(1, 1).await;
        fixture.store(1).undrain();
        assert!(fixture.store(3).drain(PATIENCE).await.is_done());
        fixture.put(3, 1).await;
    });
}

#[test]
fn a_decommissioned_node_gives_up_everything_and_never_comes_back() {
    with_cluster(4, 4, |fixture| async move {
        fixture.spread(6).await;
        let store = fixture.store(2);
        let counts = store.replica_counts().await.unwrap();
        let (leaver, count) = counts.iter().find(|(_, count)| **count > 0).map(|(n, c)| (*n, *c)).unwrap();
        assert_eq!(store.leave_progress(leaver).await.unwrap().replicas, count);
        let refused = store.set_node_state(leaver, NodeState::Removed).await;
        assert!(refused.is_err(), "it must be decommissioned first");
        store.set_node_state(leaver, NodeState::Decommissioning).await.unwrap();
        let refused = store.set_node_state(leaver, NodeState::Removed).await;
        assert!(refused.is_err(), "it has replicas");
        let mut last = usize::MAX;
        loop {
            let progress = store.leave_progress(leaver).await.unwrap();
            assert!(progress.nowhere_to_go == 0 && progress.replicas <= last, "{progress:?} after {last}");
            last = progress.replicas;
            if last == 0 {
                break;
            }
            fixture.executor.sleep(Duration::from_millis(500)).await;
        }
        fixture.until("its replicas are gone", || fixture.store(leaver.0).ranges().is_empty()).await;
        store.set_node_state(leaver, NodeState::Removed).await.unwrap();
        store.set_node_state(leaver, NodeState::Removed).await.unwrap();
        assert!(store.set_node_state(leaver, NodeState::Active).await.is_err());
        fixture
            .until("every node knows", || {
                (1..=4).all(|number| fixture.store(number).state_of(leaver) == NodeState::Removed)
            })
            .await;
        for row in 0..6 {
            fixture.put(1 + row % 4, row).await;
        }
    });
}

#[test]
fn of_three_nodes_none_can_leave_three_replicas_and_a_decommissioning_can_be_taken_back() {
    with_cluster(5, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        let store = fixture.store(1);
        store.set_node_state(id(1), NodeState::Decommissioning).await.unwrap();
        fixture.until("its leases move", || fixture.served()[0] == 0).await;
        fixture.executor.sleep(Duration::from_secs(20)).await;
        let progress = store.leave_progress(id(1)).await.unwrap();
        assert!(progress.replicas > 0 && progress.nowhere_to_go == progress.replicas, "{progress:?}");
        assert!(fixture.store(2).replicas().iter().all(|replica| replica.voters == 3));
        store.set_node_state(id(1), NodeState::Active).await.unwrap();
        assert_eq!(store.node_states().await.unwrap()[&id(1)], NodeState::Active);
        for (node, is_last) in [(2, false), (3, false), (1, true)] {
            let outcome = store.set_node_state(id(node), NodeState::Decommissioning).await;
            assert_eq!(outcome.is_err(), is_last, "{outcome:?}");
        }
        assert!(store.set_node_state(id(9), NodeState::Decommissioning).await.is_err());
    });
}

#[test]
fn the_only_replica_follows_a_decommissioning_through_one_node_to_another() {
    with_cluster(6, 2, |fixture| async move {
        fixture.put(1, 1).await;
        let store = fixture.store(1);
        store.set_node_state(id(1), NodeState::Decommissioning).await.unwrap();
        fixture
            .until("the range has moved", || {
                fixture.store(1).ranges().is_empty() && fixture.store(2).ranges().len() == 1
            })
            .await;
        fixture.put(1, 1).await;
        store.set_node_state(id(1), NodeState::Removed).await.unwrap();
    });
}

#[test]
fn a_joiner_gets_one_id_and_no_two_get_the_same() {
    with_cluster(7, 3, |fixture| async move {
        let store = fixture.store(1);
        // The same joiner asks several nodes at once, and again.
        let stores: Vec<_> = (0..6).map(|turn| fixture.store(1 + turn % 3)).collect();
        let asked = stores.iter().zip([1_u128, 1, 1, 2, 2, 3]);
        let ids = join_all(asked.map(|(store, joiner)| store.allocate_node_id(joiner))).await;
        let ids: Vec<u64> = ids.into_iter().map(|id| id.unwrap().0).collect();
        assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[3] == ids[4], "{ids:?}");
        assert!(ids[0] != ids[3] && ids[3] != ids[5] && ids[0] != ids[5], "{ids:?}");
        assert!(ids.iter().all(|id| *id > 3), "{ids:?}: ids in use");
        for (joiner, known) in [(1, ids[0]), (2, ids[3]), (3, ids[5])] {
            assert_eq!(store.allocate_node_id(joiner).await.unwrap(), id(known));
        }
        let next = store.allocate_node_id(u128::MAX).await.unwrap();
        assert!(ids.iter().all(|id| *id < next.0));
    });
}
