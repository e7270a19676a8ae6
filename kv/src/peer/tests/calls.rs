//! Calls and messages while nothing breaks but single frames.

use basalt_base::NodeId;
use basalt_kv_api::Class;
use bytes::Bytes;

use super::{
    cluster::{Options, reply, request, with_cluster},
    network::Faults,
};
use crate::peer::{CallError, PeerConfig, frame::Kind};

#[test]
fn nodes_find_and_answer_each_other() {
    with_cluster(1, 3, async |cluster| {
        for (from, to) in [(1, 2), (2, 3), (3, 1)] {
            let id = from * 10 + to;
            assert!(cluster.peers(from).is_up(NodeId(to)));
            let answer = cluster.peers(from).call(NodeId(to), request(id, 5)).await;
            assert_eq!((answer, cluster.ended(id)), (Ok(reply(id)), 1));
        }
        let one = cluster.peers(1);
        assert!(one.send(NodeId(2), Class::Snapshot, Bytes::from_static(b"piece")));
        cluster.sleep_ms(1).await;
        let record = cluster.record.lock();
        let piece = (NodeId(1), NodeId(2), Class::Snapshot, Bytes::from_static(b"piece"));
        assert_eq!(record.messages, [piece]);
        assert_eq!(record.liveness.len(), 6, "each hears once of two others: {:?}", record.liveness);
        assert!(one.last_heard(NodeId(3)).unwrap() <= PeerConfig::default().ping_interval);
        assert_eq!(one.last_heard(NodeId(9)), None);
        assert_eq!(one.counts().frames_malformed + one.counts().frames_stale + one.counts().calls_lost, 0);
    });
}

#[test]
fn a_call_may_last_as_long_as_it_takes() {
    with_cluster(2, 2, async |cluster| {
        let answer = cluster.peers(1).call(NodeId(2), request(1, 3_600_000)).await;
        assert_eq!(answer, Ok(reply(1)));
        assert_eq!(cluster.peers(1).counts().frames_resent, 0);
    });
}

#[test]
fn repeated_calls_are_executed_once() {
    with_cluster(3, 2, async |cluster| {
        cluster.network.set_faults(Faults { repeat_percent: 100, delay_max_ms: 900, ..Faults::default() });
        for id in 1..=50 {
            let answer = cluster.peers(1).call(NodeId(2), request(id, id % 7 * 100)).await;
            assert_eq!(answer, Ok(reply(id)));
        }
        cluster.sleep_ms(5_000).await;
        assert!((1..=50).all(|id| cluster.begun(id) == 1));
        assert!(cluster.peers(2).counts().calls_repeated >= 40);
    });
}

#[test]
fn what_the_link_lost_is_sent_again() {
    for kind in [Kind::Call, Kind::Reply] {
        with_cluster(4, 2, async |cluster| {
            cluster.network.catch(kind);
            let slot = cluster.call(1, 2, request(1, 10));
            cluster.sleep_ms(100).await;
            assert_eq!((cluster.network.take_caught().len(), slot.result()), (1, None));
            cluster.sleep_ms(1_000).await;
            assert_eq!(slot.result(), Some(Ok(reply(1))), "without its {kind:?}");
            assert_eq!((cluster.begun(1), cluster.ended(1)), (1, 1));
        });
    }
}

#[test]
fn a_call_that_never_gets_through_is_lost() {
    with_cluster(5, 2, async |cluster| {
        cluster.network.catch(Kind::Call);
        let slot = cluster.call(1, 2, request(1, 10));
        cluster.sleep_ms(5_000).await;
        assert_eq!(slot.result(), None);
        cluster.sleep_ms(5_000).await;
        assert_eq!(slot.result(), Some(Err(CallError::Lost)));
        // Whatever was under way comes too late: nobody waits for it.
        cluster.network.release();
        cluster.sleep_ms(1_000).await;
        assert_eq!((cluster.begun(1), cluster.peers(1).is_up(NodeId(2))), (0, true));
    });
}

#[test]
fn a_call_that_is_given_up_is_dropped_there() {
    for cancel_is_lost in [false, true] {
        with_cluster(6, 2, async |cluster| {
            if cancel_is_lost {
                cluster.network.catch(Kind::Cancel);
            }
            let (one, executor) = (cluster.peers(1), cluster.executor.clone());
            let patience = executor.sleep(std::time::Duration::from_millis(50));
            let gave_up = tokio::select! {
                biased;
                _ = one.call(NodeId(2), request(1, 60_000)) => false,
                () = patience => true,
            };
            assert!(gave_up);
            cluster.sleep_ms(if cancel_is_lost { 1_100 } else { 1 }).await;
            assert_eq!((cluster.begun(1), cluster.dropped(1), cluster.ended(1)), (1, 1, 0));
            assert_eq!(cluster.peers(2).counts().calls_cancelled, 1);
        });
    }
}

#[test]
fn a_cancel_that_overtakes_its_call_prevents_it() {
    with_cluster(7, 2, async |cluster| {
        cluster.network.catch(Kind::Call);
        let one = cluster.peers(1);
        tokio::select! {
            biased;
            _ = one.call(NodeId(2), request(1, 10)) => unreachable!("its frame is held"),
            () = cluster.sleep_ms(1) => {}
        }
        cluster.sleep_ms(1).await;
        cluster.network.release();
        cluster.sleep_ms(1_000).await;
        assert_eq!(cluster.begun(1), 0);
    });
}

#[test]
fn calls_and_messages_are_bounded() {
    with_cluster(8, 2, async |cluster| {
        let config = PeerConfig { calls_max: 2, message_bytes_max: 200, ..PeerConfig::default() };
        cluster.kill(1);
        let one = cluster.start(1, Options { config, ..Options::default() });
        cluster.sleep_ms(600).await;
        let calls: Vec<_> = (1..=2).map(|id| cluster.call(1, 2, request(id, 100))).collect();
        cluster.sleep_ms(10).await;
        assert_eq!(one.call(NodeId(2), request(3, 1)).await, Err(CallError::NotSent));
        let large = Bytes::from(vec![0; 200]);
        assert!(matches!(one.call(NodeId(2), large.clone()).await, Err(CallError::Refused(_))));
        assert!(!one.send(NodeId(2), Class::Raft, large.clone()));
        cluster.sleep_ms(200).await;
        assert!(calls.iter().all(|call| matches!(call.result(), Some(Ok(_)))));
        // Snapshots have a limit of their own.
        assert!(one.call_as(Class::Snapshot, NodeId(2), large).await.is_ok());

        // The other way round: the node refuses what exceeds its limit.
        let calls: Vec<_> = (11..=14).map(|id| cluster.call(2, 1, request(id, 100))).collect();
        cluster.sleep_ms(200).await;
        let refused = calls.iter().filter(|call| matches!(call.result(), Some(Err(CallError::Refused(_)))));
        assert_eq!(refused.count(), 2);
        assert_eq!((11..=14).map(|id| cluster.begun(id)).sum::<u32>(), 2);
    });
}

#[test]
fn a_refused_call_is_refused_for_ever() {
    with_cluster(11, 2, async |cluster| {
        cluster.kill(2);
        let config = PeerConfig { calls_max: 1, ..PeerConfig::default() };
        cluster.start(2, Options { config, ..Options::default() });
        cluster.sleep_ms(10).await;
        let first = cluster.call(1, 2, request(1, 100));
        cluster.sleep_ms(1).await;
        let refused = cluster.peers(1).call(NodeId(2), request(2, 1)).await;
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        cluster.sleep_ms(200).await;
        assert_eq!(first.result(), Some(Ok(reply(1))));
        // There would be room now.
        let calls = cluster.network.log().into_iter().filter(|transit| transit.kind() == Kind::Call);
        calls.for_each(|call| cluster.network.deliver(call));
        cluster.sleep_ms(200).await;
        assert_eq!((cluster.begun(1), cluster.begun(2)), (1, 0));
    });
}

#[test]
fn what_the_link_does_not_take_is_not_sent() {
    with_cluster(12, 2, async |cluster| {
        cluster.network.clog(NodeId(1));
        assert_eq!(cluster.peers(1).call(NodeId(2), request(1, 1)).await, Err(CallError::NotSent));
        assert!(!cluster.peers(1).send(NodeId(2), Class::Raft, Bytes::new()));
        assert_eq!(cluster.peers(1).calls_open(), (0, 0));
        assert_eq!(cluster.peers(1).call(NodeId(1), request(1, 1)).await, Err(CallError::NotSent), "itself");
    });
}

#[test]
fn nothing_holds_a_node_that_was_dropped() {
    with_cluster(9, 2, async |cluster| {
        let one = std::sync::Arc::downgrade(&cluster.peers(1));
        cluster.kill(2);
        let slot = cluster.call(1, 2, request(1, 1));
        cluster.sleep_ms(5_000).await;
        assert!(slot.result().is_some_and(|result| result.is_err()));
        // Only the test's own handles are left; the tasks of the node still run.
        cluster.forget(1);
        cluster.sleep_ms(1_000).await;
        assert!(one.upgrade().is_none());
    });
}

#[test]
fn a_stopped_node_ends_its_calls_and_falls_silent() {
    with_cluster(10, 2, async |cluster| {
        let slot = cluster.call(1, 2, request(1, 60_000));
        let served = cluster.call(2, 1, request(2, 60_000));
        cluster.sleep_ms(10).await;
        cluster.peers(1).stop();
        cluster.sleep_ms(10).await;
        assert_eq!(slot.result(), Some(Err(CallError::Lost)));
        assert_eq!(cluster.dropped(2), 1);
        cluster.sleep_ms(3_000).await;
        assert_eq!(served.result(), Some(Err(CallError::Lost)));
        assert!(!cluster.peers(2).is_up(NodeId(1)));
    });
}
