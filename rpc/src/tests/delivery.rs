use super::*;

fn numbered(number: u32, length: usize) -> Bytes {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(length.max(4), 7);
    message.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_keeps_its_order_and_loses_nothing() {
    const COUNT: u32 = 500;
    let nodes = start_all((1..=3).map(Seat::new).collect()).await;
    for number in 0..COUNT {
        for from in &nodes {
            for to in nodes.iter().filter(|to| to.node_id != from.node_id) {
                for class in Class::ALL {
                    // Some alone, some in company, some in pieces.
                    let length =
                        [4, 100, 5000][number as usize % 3] + usize::from(number % 97 == 0) * 700_000;
                    let message = numbered(number, length);
                    while !from.wire.send(to.node_id, class, message.clone()) {
                        from.env.spawner.sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        }
    }
    for to in &nodes {
        let received = 2 * i64::from(COUNT);
        for class in Class::ALL {
            until("all counts", || {
                let problems: Vec<_> =
                    to.wire.statuses().into_iter().filter_map(|status| status.problem).collect();
                assert!(problems.is_empty(), "{problems:?}");
                let counts = to.wire.counts(class);
                (counts.messages_received, counts.messages_sent) == (received, received)
            })
            .await;
            let counts = to.wire.counts(class);
            assert_eq!((counts.messages_dropped, counts.connections), (0, 2));
            assert!(counts.frames_sent > 0 && counts.bytes_sent > 4 * received, "{counts:?}");
        }
        for from in nodes.iter().filter(|from| from.node_id != to.node_id) {
            for class in Class::ALL {
                let messages = to.inbox.wait(from.node_id, class, COUNT as usize).await;
                let numbers: Vec<_> = messages
                    .iter()
                    .map(|message| u32::from_be_bytes(message[..4].try_into().unwrap()))
                    .collect();
                assert!(numbers.iter().copied().eq(0..COUNT), "{class:?} from {}: {numbers:?}", from.node_id);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_reached_that_nobody_knows() {
    let node = Seat::new(1).start(&[]).await;
    assert!(!node.wire.send(NodeId(2), Class::Raft, Bytes::new()));
    assert!(!node.wire.send(NodeId(1), Class::Raft, Bytes::new()), "itself is not behind the wire");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_found_again_at_another_port() {
    let mut nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
    let second = nodes.pop().unwrap();
    let first = &nodes[0];
    assert!(first.wire.send(NodeId(2), Class::Batch, numbered(1, 4)));
    second.inbox.wait(NodeId(1), Class::Batch, 1).await;
    second.wire.close();
    let old_address = second.address.clone();
    until("the end of the connection", || !first.wire.is_connected(NodeId(2), Class::Batch)).await;

    // Only its store tells it where the first node is.
    let again = Seat::at(2, Security::Insecure, second.folder);
    let again = again.start(&[]).await;
    assert_ne!(again.address, old_address);
    until("the new address", || {
        first.wire.statuses().iter().any(|status| status.node.rpc_address == again.address)
    })
    .await;
    assert!(again.wire.send(NodeId(1), Class::Raft, numbered(2, 4)));
    first.inbox.wait(NodeId(2), Class::Raft, 1).await;
    // The first attempt may still go to the old port.
    let arrived = async {
        loop {
            first.wire.send(NodeId(2), Class::Batch, numbered(3, 4));
            if again.inbox.count(NodeId(1), Class::Batch) > 0 {
                return;
            }
            first.env.spawner.sleep(Duration::from_millis(10)).await;
        }
    };
    in_time("a message to the restarted node", arrived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_does_not_hold_up_requests() {
    let seats = (1..=2).map(|id| {
        let mut seat = Seat::new(id);
        seat.options.snapshot_bytes_per_second = 128 << 20;
        seat
    });
    let nodes = start_all(seats.collect()).await;
    let (first, second) = (&nodes[0], &nodes[1]);
    let snapshot = Bytes::from(b"sixteen odd bytes".repeat((64 << 20) / 17));
    assert!(first.wire.send(NodeId(2), Class::Batch, Bytes::new()));
    second.inbox.wait(NodeId(1), Class::Batch, 1).await;

    assert!(first.wire.send(NodeId(2), Class::Snapshot, snapshot.clone()));
    let began = first.env.clock.monotonic();
    let mut trips = Vec::new();
    for number in 0.. {
        let sent = first.env.clock.monotonic();
        assert!(first.wire.send(NodeId(2), Class::Batch, numbered(number, 100)));
        second.inbox.reach(NodeId(1), Class::Batch, number as usize + 2).await;
        trips.push(first.env.clock.monotonic() - sent);
        if second.inbox.count(NodeId(1), Class::Snapshot) > 0 {
            break;
        }
        let statuses = first.wire.statuses();
        assert_eq!(statuses[1].problem, None);
        assert!(first.env.clock.monotonic() - began < PATIENCE, "{statuses:?}");
    }
    let took = first.env.clock.monotonic() - began;
    assert!(took >= Duration::from_millis(450), "the throttle lets 128 MiB pass in a second: {took:?}");
    trips.sort();
    let (median, worst) = (trips[trips.len() / 2], trips[trips.len() - 1]);
    assert!(
        trips.len() > 10 && median < Duration::from_millis(50),
        "{} trips, {median:?}, {worst:?}",
        trips.len()
    );
    let arrived = second.inbox.wait(NodeId(1), Class::Snapshot, 1).await;
    assert!(arrived[0] == snapshot);
}
