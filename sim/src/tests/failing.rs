//! Nodes whose clock is wrong or whose disk is full.

use std::time::Duration;

use basalt_kv::LocalSender;
use basalt_kv_api::{BatchHeader, BatchRequest, Request, Sender};
use futures::future::{Either, select};

use super::fixture::{Fixture, key, with_cluster};

/// Why the node ends itself, if it does within a few seconds.
async fn end_of(fixture: &Fixture, number: u64) -> Option<String> {
    let store = fixture.store(number);
    let (ended, patience) = (store.until_failed(), fixture.executor.sleep(Duration::from_secs(10)));
    match select(std::pin::pin!(ended), std::pin::pin!(patience)).await {
        Either::Left((cause, _)) => Some(cause),
        Either::Right(_) => None,
    }
}

#[test]
fn a_leaseholder_whose_clock_is_set_serves_nothing_more_and_ends() {
    for (seed, millis, word) in [(1, -5_000, "back"), (2, 5_000, "forward"), (3, -130, "back")] {
        with_cluster(seed, 3, |fixture| async move {
            fixture.until_replicated(3).await;
            fixture.put(1, 1).await;
            let old = fixture.store(1);
            assert!(old.replicas()[0].leads);
            fixture.node(1).clock().set_offset(millis * 1_000);
            // At once: before anybody could have noticed but who serves the request.
            let batch = BatchRequest {
                header: BatchHeader::default(),
                requests: vec![Request::Get { key: key(1), lock: None }],
            };
            let sender = LocalSender::new(old);
            let read = futures::poll!(std::pin::pin!(sender.send(batch)));
            assert!(!matches!(read, std::task::Poll::Ready(Ok(_))), "served by a wrong clock");
            let cause = end_of(&fixture, 1).await.expect("it ends");
            assert!(cause.contains(word), "{cause}");
            fixture.put(2, 1).await;
        });
    }
}

#[test]
fn a_clock_that_drifts_away_from_the_others_ends_its_node_and_no_other() {
    with_cluster(4, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        let others = [fixture.store(1), fixture.store(3)];
        fixture.node(2).clock().set_drift_ppm(-40_000);
        let cause = end_of(&fixture, 2).await.expect("it ends");
        assert!(cause.contains("differs from those of most others"), "{cause}");
        for (number, before) in [1, 3].into_iter().zip(others) {
            assert!(std::sync::Arc::ptr_eq(&before, &fixture.store(number)), "the right clocks stay");
        }
        fixture.put(1, 1).await;
    });
}

#[test]
fn small_steps_are_put_up_with() {
    with_cluster(5, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.node(1).clock().set_offset(-100_000);
        assert_eq!(end_of(&fixture, 1).await, None);
        fixture.put(1, 1).await;
    });
}

#[test]
fn a_leader_with_a_full_disk_hands_over_and_is_back_when_there_is_room() {
    with_cluster(6, 3, |fixture| async move {
        fixture.spread(6).await;
        fixture.node(1).set_disk_full(true);
        let begun = fixture.executor.now();
        for row in 0..6 {
            while !fixture.tries_to_put(2, row).await {
                assert!(fixture.executor.now() - begun < Duration::from_secs(10), "nobody takes over");
            }
        }
        fixture.until("it serves nothing", || fixture.served()[0] == 0).await;
        assert!(fixture.store(1).is_full());
        fixture.executor.sleep(Duration::from_secs(30)).await;
        assert_eq!(fixture.served()[0], 0, "it does not lead again");
        fixture.node(1).set_disk_full(false);
        let taken = fixture.until("it notices the room", || !fixture.store(1).is_full()).await;
        assert!(taken < Duration::from_secs(10), "{taken:?}");
        for number in [2, 3] {
            assert!(fixture.store(number).drain(Duration::from_secs(10)).await.is_done());
        }
        fixture.put(3, 1).await;
        assert!(fixture.served()[0] > 0);
    });
}

#[test]
fn a_split_that_the_log_does_not_decide_ends_and_may_be_tried_again() {
    with_cluster(8, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        let sender = LocalSender::new(fixture.store(1));
        let split = |row: u64| {
            let requests = vec![Request::AdminSplit { key: key(row) }];
            sender.send(BatchRequest { header: BatchHeader::default(), requests })
        };
        // So that ids of ranges are at hand.
        split(9).await.expect("nothing is in the way");
        fixture.put(1, 1).await;
        let network = fixture.cluster.network();
        for other in [2, 3] {
            network.block(1, other);
            network.block(other, 1);
        }
        let patience = fixture.executor.sleep(Duration::from_secs(30));
        match select(std::pin::pin!(split(5)), std::pin::pin!(patience)).await {
            Either::Left((outcome, _)) => assert!(outcome.is_err(), "{outcome:?}"),
            Either::Right(_) => panic!("it goes on for ever"),
        }
        fixture.cluster.heal();
        split(5).await.expect("the others are back");
        fixture.put(1, 5).await;
    });
}
