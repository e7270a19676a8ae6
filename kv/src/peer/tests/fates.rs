//! Nodes that die, freeze, restart, or lose sight of each other.

use std::time::Duration;

use basalt_base::NodeId;

use super::{
    cluster::{Options, reply, request, with_cluster},
    network::Faults,
};
use crate::peer::{CallError, PeerConfig, frame::Kind};

/// When a call must have failed, in milliseconds after the peer's end.
fn failure_ms_max() -> u64 {
    let config = PeerConfig::default();
    (config.silence_max + config.ping_interval / 2).as_millis() as u64
}

#[test]
fn calls_to_a_killed_node_are_lost_in_time() {
    with_cluster(1, 3, async |cluster| {
        let slot = cluster.call(1, 2, request(1, 60_000));
        cluster.sleep_ms(10).await;
        cluster.kill(2);
        cluster.sleep_ms(PeerConfig::default().ping_interval.as_millis() as u64).await;
        assert_eq!(slot.result(), None, "a pause is no death");
        cluster.sleep_ms(failure_ms_max()).await;
        assert_eq!(slot.result(), Some(Err(CallError::Lost)));
        let ended_at = slot.ended_at().unwrap().as_millis() as u64;
        assert!(ended_at <= 610 + failure_ms_max(), "{ended_at}");
        assert_eq!(cluster.peers(1).call(NodeId(2), request(2, 1)).await, Err(CallError::NotSent));
        assert!(cluster.peers(1).is_up(NodeId(3)));
        assert!(cluster.record.lock().liveness.contains(&(NodeId(1), NodeId(2), false)));
    });
}

#[test]
fn a_frozen_node_is_down_and_comes_back() {
    with_cluster(2, 2, async |cluster| {
        let slot = cluster.call(1, 2, request(1, 5_000));
        let other_way = cluster.call(2, 1, request(2, 60_000));
        cluster.sleep_ms(10).await;
        cluster.network.freeze(NodeId(2));
        cluster.sleep_ms(failure_ms_max()).await;
        assert_eq!(slot.result(), Some(Err(CallError::Lost)));
        assert_eq!(cluster.dropped(2), 1, "nobody waits for what a silent node asked");
        cluster.network.thaw(NodeId(2));
        cluster.sleep_ms(1_100).await;
        assert!(cluster.peers(1).is_up(NodeId(2)) && cluster.peers(2).is_up(NodeId(1)));
        assert_eq!(other_way.result(), Some(Err(CallError::Lost)));
        assert_eq!(cluster.peers(1).call(NodeId(2), request(3, 1)).await, Ok(reply(3)));
        assert_eq!(cluster.begun(1), 1);
    });
}

#[test]
fn late_answers_are_no_sign_of_life() {
    with_cluster(9, 2, async |cluster| {
        cluster.network.catch(Kind::Pong);
        cluster.sleep_ms(1_000).await;
        cluster.kill(2);
        cluster.sleep_ms(failure_ms_max()).await;
        assert!(!cluster.peers(1).is_up(NodeId(2)));
        cluster.network.release();
        assert!(!cluster.peers(1).is_up(NodeId(2)));
    });
}

#[test]
fn a_one_way_cut_is_a_cut() {
    for (from, to) in [(1, 2), (2, 1)] {
        with_cluster(3, 2, async |cluster| {
            let slot = cluster.call(1, 2, request(1, 60_000));
            cluster.sleep_ms(10).await;
            cluster.network.cut(NodeId(from), NodeId(to));
            cluster.sleep_ms(failure_ms_max()).await;
            assert_eq!(slot.result(), Some(Err(CallError::Lost)), "{from} to {to}");
            assert!(!cluster.peers(1).is_up(NodeId(2)) && !cluster.peers(2).is_up(NodeId(1)));
            cluster.sleep_ms(1_000).await;
            assert_eq!(cluster.dropped(1), 1, "{from} to {to}");
            cluster.network.heal();
            cluster.sleep_ms(1_100).await;
            assert_eq!(cluster.peers(1).call(NodeId(2), request(2, 1)).await, Ok(reply(2)));
        });
    }
}

#[test]
fn a_restart_ends_calls_at_once_and_is_told() {
    with_cluster(4, 2, async |cluster| {
        let slot = cluster.call(1, 2, request(1, 60_000));
        cluster.sleep_ms(10).await;
        cluster.kill(2);
        cluster.start(2, Options::default());
        cluster.sleep_ms(10).await;
        assert_eq!(slot.result(), Some(Err(CallError::Lost)), "the first ping of the new process tells");
        cluster.sleep_ms(600).await;
        let told: Vec<_> = {
            let record = cluster.record.lock();
            record.liveness.iter().filter(|(me, ..)| *me == NodeId(1)).map(|(.., is_up)| *is_up).collect()
        };
        assert_eq!(told, [true, false, true]);
        assert_eq!(cluster.peers(1).call(NodeId(2), request(2, 1)).await, Ok(reply(2)));
    });
}

#[test]
fn replies_of_an_earlier_life_are_ignored() {
    with_cluster(5, 2, async |cluster| {
        cluster.network.catch(Kind::Reply);
        let slot = cluster.call(1, 2, request(1, 1));
        cluster.sleep_ms(10).await;
        let replies = cluster.network.take_caught();
        assert_eq!((replies.len(), cluster.ended(1)), (1, 1));
        cluster.kill(2);
        cluster.start(2, Options::default());
        cluster.sleep_ms(600).await;
        assert_eq!(slot.result(), Some(Err(CallError::Lost)));
        let next = cluster.call(1, 2, request(2, 1_000));
        replies.into_iter().for_each(|reply| cluster.network.deliver(reply));
        assert_eq!(cluster.peers(1).counts().frames_stale, 1);
        cluster.sleep_ms(1_100).await;
        assert_eq!(next.result(), Some(Ok(reply(2))));
    });
}

#[test]
fn replies_to_an_earlier_life_are_ignored() {
    with_cluster(6, 2, async |cluster| {
        let first = cluster.call(1, 2, request(1, 700));
        cluster.sleep_ms(10).await;
        cluster.kill(1);
        cluster.start(1, Options::default());
        // The ids of the new process begin anew.
        cluster.sleep_ms(600).await;
        let second = cluster.call(1, 2, request(2, 700));
        cluster.sleep_ms(1_000).await;
        assert_eq!((first.result(), second.result()), (None, Some(Ok(reply(2)))));
        assert_eq!((cluster.dropped(1), cluster.ended(2)), (1, 1));
    });
}

#[test]
fn calls_to_an_earlier_life_are_not_executed() {
    with_cluster(7, 2, async |cluster| {
        cluster.network.catch(Kind::Call);
        let slot = cluster.call(1, 2, request(1, 1));
        cluster.sleep_ms(10).await;
        let calls = cluster.network.take_caught();
        cluster.kill(2);
        cluster.start(2, Options::default());
        calls.into_iter().for_each(|call| cluster.network.deliver(call));
        cluster.sleep_ms(2_000).await;
        assert_eq!((slot.result(), cluster.begun(1)), (Some(Err(CallError::Lost)), 0));
    });
}

#[test]
fn a_peer_that_stops_finishes_what_it_has_begun_and_nobody_has_to_guess() {
    with_cluster(8, 2, async |cluster| {
        let begun = cluster.call(1, 2, request(1, 300));
        cluster.sleep_ms(100).await;
        let stopping = cluster.peers(2);
        stopping.refuse_calls();
        let late = cluster.call(1, 2, request(2, 1));
        cluster.sleep_ms(100).await;
        assert!(matches!(late.result(), Some(Err(CallError::Refused(_)))), "{:?}", late.result());
        let caller = cluster.peers(1);
        caller.note_leaving(NodeId(2), stopping.incarnation() + 1);
        assert!(matches!(caller.call(NodeId(2), request(3, 1)).await, Err(CallError::Refused(_))));
        caller.note_leaving(NodeId(2), stopping.incarnation());
        let sent = caller.counts().calls_sent;
        assert_eq!(caller.call(NodeId(2), request(4, 1)).await, Err(CallError::NotSent));
        assert_eq!(caller.counts().calls_sent, sent);
        cluster.sleep_ms(300).await;
        assert_eq!(begun.result(), Some(Ok(reply(1))));
        assert!((2..=4).all(|id| cluster.begun(id) == 0));
        drop(stopping);
        cluster.kill(2);
        cluster.start(2, Options::default());
        cluster.sleep_ms(1_000).await;
        assert_eq!(caller.call(NodeId(2), request(5, 1)).await, Ok(reply(5)));
    });
}

#[test]
fn a_bad_link_delays_calls_and_no_more() {
    with_cluster(9, 2, async |cluster| {
        cluster.network.set_faults(Faults { loss_percent: 15, repeat_percent: 15, delay_max_ms: 100 });
        let slots: Vec<_> = (1..=200).map(|id| cluster.call(1, 2, request(id, id * 10))).collect();
        cluster.sleep_ms(20_000).await;
        let answered = slots.iter().filter(|slot| matches!(slot.result(), Some(Ok(_)))).count();
        assert_eq!(answered, 200);
        assert!((1..=200).all(|id| cluster.begun(id) == 1));
    });
}

#[test]
fn a_node_whose_disk_hangs_is_down_until_it_answers() {
    with_cluster(12, 3, async |cluster| {
        let limit = PeerConfig::default().held_up_max;
        let sees = |node: u64, other: u64| cluster.peers(node).is_up(NodeId(other));
        // A busy disk is no dead one.
        cluster.hold_up(2, limit - Duration::from_millis(1));
        cluster.sleep_ms(5_000).await;
        assert!(sees(1, 2) && sees(3, 2));
        let (slot, other_way) =
            (cluster.call(1, 2, request(1, 60_000)), cluster.call(2, 1, request(2, 4_000)));
        cluster.hold_up(2, limit);
        cluster.sleep_ms(failure_ms_max() + 1_000).await;
        assert!(!sees(1, 2) && !sees(3, 2) && sees(1, 3));
        assert_eq!(slot.result(), Some(Err(CallError::Lost)));
        assert_eq!(cluster.peers(1).call(NodeId(2), request(3, 1)).await, Err(CallError::NotSent));
        // It can still ask on behalf of its clients.
        assert!(sees(2, 1) && sees(2, 3));
        cluster.sleep_ms(1_000).await;
        assert_eq!(other_way.result(), Some(Ok(reply(2))));
        cluster.hold_up(2, Duration::ZERO);
        cluster.sleep_ms(1_100).await;
        assert!(sees(1, 2) && sees(3, 2));
        assert_eq!(cluster.peers(1).call(NodeId(2), request(4, 1)).await, Ok(reply(4)));
    });
}
