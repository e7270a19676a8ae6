//! Frames that nobody sent so, strangers, and wrong clocks.

use std::time::Duration;

use basalt_base::NodeId;
use basalt_env::{Rng, sim::SimRng};
use basalt_kv_api::Class;
use bytes::{Bytes, BytesMut};

use super::{
    cluster::{Cluster, Options, reply, request, with_cluster},
    network::Faults,
};
use crate::peer::{CallError, PeerConfig, frame::HEADER_BYTES};

const MS: Duration = Duration::from_millis(1);

#[test]
fn mutated_frames_do_no_harm() {
    with_cluster(2, 2, async |cluster| {
        cluster.network.set_faults(Faults { loss_percent: 30, ..Faults::default() });
        for id in 1..=20 {
            drop(cluster.call(1, 2, request(id, 700)));
        }
        cluster.sleep_ms(3_000).await;
        let log = cluster.network.log();
        let rng = SimRng::new(1);
        for round in 0..50_000 {
            let transit = &log[rng.below(log.len())];
            let mut frame = BytesMut::from(&transit.frame[..]);
            for _ in 0..=rng.below(3) {
                match rng.below(5) {
                    0 => frame.truncate(rng.below(frame.len() + 1)),
                    1 => frame.extend_from_slice(&rng.next_u64().to_be_bytes()),
                    // Beyond the checks of cluster and incarnations.
                    2 if frame.len() > HEADER_BYTES => {
                        let at = HEADER_BYTES + rng.below(frame.len() - HEADER_BYTES);
                        frame[at] = [0, 0xff, rng.next_u64() as u8][rng.below(3)];
                    }
                    _ if !frame.is_empty() => {
                        let at = rng.below(frame.len());
                        frame[at] ^= 1 << rng.below(8);
                    }
                    _ => {}
                }
            }
            cluster.network.deliver(super::network::Transit { frame: frame.freeze(), ..transit.clone() });
            if round % 100 == 0 {
                cluster.sleep_ms(1).await;
            }
        }
        assert!(cluster.peers(2).counts().frames_malformed > 1_000);
        cluster.sleep_ms(5_000).await;
        cluster.network.set_faults(Faults::default());
        // Some frames named incarnations to come; a later one than all of them is heard.
        cluster.set_incarnation(1, u64::MAX - 2);
        cluster.set_incarnation(2, u64::MAX - 2);
        for node in [1, 2] {
            cluster.kill(node);
            cluster.start(node, Options::default());
        }
        cluster.sleep_ms(1_100).await;
        assert_eq!(cluster.peers(1).call(NodeId(2), request(99, 1)).await, Ok(reply(99)));
    });
}

#[test]
fn another_cluster_is_refused() {
    let cluster = Cluster::new(2, 2);
    cluster.executor.run(async {
        let one = cluster.start(1, Options::default());
        cluster.start(2, Options { cluster_id: 7, ..Options::default() });
        cluster.sleep_ms(1_100).await;
        let answer = one.call(NodeId(2), request(1, 1)).await;
        assert_eq!(answer, Err(CallError::Refused("it belongs to another cluster".to_owned())));
        one.send(NodeId(2), Class::Raft, Bytes::from_static(b"vote"));
        cluster.sleep_ms(10).await;
        assert!(cluster.record.lock().messages.is_empty());
    });
    cluster.executor.clear();
}

#[test]
fn another_version_is_refused_and_told() {
    with_cluster(3, 2, async |cluster| {
        let ping = cluster.network.log().into_iter().find(|transit| transit.from == NodeId(1)).unwrap();
        let mut frame = BytesMut::from(&ping.frame[..]);
        frame[0] = 99;
        let before = cluster.network.log().len();
        cluster.network.deliver(super::network::Transit { frame: frame.freeze(), ..ping });
        let log = cluster.network.log();
        let (header, payload) = crate::peer::frame::Header::decode(log[before].frame.clone()).unwrap();
        assert_eq!(header.kind, crate::peer::frame::Kind::Refusal);
        let refusal = crate::peer::frame::Refusal::decode(payload).unwrap();
        assert_eq!(refusal.reason, "it speaks version 1 of the protocol between nodes");
    });
}

#[test]
fn clocks_may_differ_by_the_same_everywhere() {
    let cluster = Cluster::new(4, 2);
    cluster.executor.run(async {
        let one = cluster.start(1, Options::default());
        let config = PeerConfig { clock_offset_max: 500 * MS, ..PeerConfig::default() };
        cluster.start(2, Options { config, ..Options::default() });
        cluster.sleep_ms(1_100).await;
        let answer = one.call(NodeId(2), request(1, 1)).await;
        assert!(matches!(answer, Err(CallError::Refused(reason)) if reason.contains("500ms") && reason.contains("250ms")));
    });
    cluster.executor.clear();
}

#[test]
fn offsets_are_measured() {
    let cluster = Cluster::new(5, 3);
    cluster.executor.run(async {
        cluster.network.set_faults(Faults { delay_max_ms: 60, ..Faults::default() });
        for (node, clock_ahead_ms) in [(1, 0), (2, 120), (3, -90)] {
            cluster.start(node, Options { clock_ahead_ms, ..Options::default() });
        }
        cluster.sleep_ms(6_000).await;
        let truth = |from: u64, to: u64| {
            [0, 0, 120_000, -90_000][to as usize] - [0, 0, 120_000, -90_000][from as usize]
        };
        for (from, to) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)] {
            let offset = cluster.peers(from).offsets()[&NodeId(to)];
            let error = (offset.micros - truth(from, to)).unsigned_abs();
            assert!(error <= offset.uncertainty_micros, "{from} to {to}: {offset:?}");
            assert!(offset.uncertainty_micros <= 60_000);
        }
        assert!(!cluster.peers(1).offset_exceeds(200 * MS));
        let answer = cluster.peers(3).call(NodeId(2), request(1, 1)).await;
        assert_eq!(answer, Ok(reply(1)), "within what is allowed");
    });
    cluster.executor.clear();
}

#[test]
fn a_clock_too_far_ahead_is_not_believed_and_finds_out() {
    let cluster = Cluster::new(6, 3);
    cluster.executor.run(async {
        for (node, clock_ahead_ms) in [(1, 0), (2, 0), (3, 900)] {
            cluster.start(node, Options { clock_ahead_ms, ..Options::default() });
        }
        cluster.sleep_ms(3_000).await;
        let (one, three) = (cluster.peers(1), cluster.peers(3));
        assert!(one.is_up(NodeId(2)) && !one.is_up(NodeId(3)));
        assert!(one.counts().clocks_too_far_ahead > 0);
        assert!(three.offset_exceeds(200 * MS), "{:?}", three.offsets());
        assert!(!one.offset_exceeds(200 * MS), "one of two is no majority");
        let answer = three.call(NodeId(1), request(1, 1)).await;
        assert!(matches!(answer, Err(CallError::Refused(_))), "{answer:?}");
        three.send(NodeId(1), Class::Raft, Bytes::from_static(b"vote"));
        cluster.sleep_ms(10).await;
        assert!(cluster.record.lock().messages.is_empty() && cluster.begun(1) == 0);
    });
    cluster.executor.clear();
}
