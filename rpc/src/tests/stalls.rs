use tokio::net::TcpListener;

use super::*;
use crate::{
    frame::FrameReader,
    handshake::{Identity, MAGIC, answer_bytes},
    message::Hello,
};

const SILENCE_MAX: Duration = Duration::from_millis(1500);

/// Sends until the queue is full; how many messages it took.
fn fill(node: &Node, to: NodeId) -> usize {
    let message = Bytes::from(vec![0; 1000]);
    (0..1_000_000).take_while(|_| node.wire.send(to, Class::Batch, message.clone())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so() {
    // Somebody who accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut seat = Seat::new(1);
    seat.options.batch = small_queue();
    seat.options.handshake_timeout = Duration::from_millis(300);
    let node = seat.start(&[(NodeId(2), address)]).await;
    let fits = fill(&node, NodeId(2));
    assert!((900..=1000).contains(&fits), "{fits}");
    // After the attempt has failed there is room again, and a reason.
    until("room", || node.wire.send(NodeId(2), Class::Batch, Bytes::from(vec![0; 1000]))).await;
    assert!(node.complains("no answer to the handshake"), "{:?}", node.wire.complaints());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_costs_a_bounded_amount() {
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = frozen.local_addr().unwrap().to_string();
    let identity = Identity {
        cluster_id: CLUSTER,
        node_id: NodeId(2),
        offset_max: OFFSET_MAX,
        replicas_wanted: 0,
        protocol: crate::PROTOCOL,
    };
    let mut seat = Seat::new(1);
    seat.options.batch = small_queue();
    seat.options.silence_max = SILENCE_MAX;
    let node = seat.start(&[(NodeId(2), address)]).await;
    // Behaves until the handshake is over, and never reads or writes again. Keeps the connections open.
    let freeze = async {
        let mut kept = Vec::new();
        loop {
            let (stream, _) = frozen.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut reader = FrameReader::new(reader, 1 << 20);
            reader.prefix(MAGIC.len()).await.unwrap();
            let (hello, _) = reader.next::<Hello>().await.unwrap().unwrap();
            let bytes = answer_bytes(&identity.welcome(&hello));
            tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await.unwrap();
            kept.push((reader, writer));
        }
    };
    let test = async {
        assert!(node.wire.send(NodeId(2), Class::Batch, Bytes::new()));
        until("a connection", || node.wire.is_connected(NodeId(2), Class::Batch)).await;
        // What the sockets of both sides hold goes through first.
        let mut sent = 0;
        let mut full_turns = 0;
        while full_turns < 10 {
            let more = fill(&node, NodeId(2));
            sent += more;
            full_turns = if more == 0 { full_turns + 1 } else { 0 };
            node.env.spawner.sleep(Duration::from_millis(10)).await;
        }
        assert!(sent < 64_000, "{sent} messages of 1000 bytes were taken");
        until("the connection is given up", || {
            let statuses = node.wire.statuses();
            statuses[1].problem.as_deref().is_some_and(|problem| problem.contains("no sign of life"))
        })
        .await;
    };
    tokio::select! {
        biased;
        () = test => {}
        () = freeze => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_connection_lives() {
    let seats = (1..=2).map(|id| {
        let mut seat = Seat::new(id);
        seat.options.silence_max = SILENCE_MAX;
        seat
    });
    let nodes = start_all(seats.collect()).await;
    assert!(nodes[0].wire.send(NodeId(2), Class::Snapshot, Bytes::new()));
    nodes[1].inbox.wait(NodeId(1), Class::Snapshot, 1).await;
    // Longer than a silent one would.
    nodes[0].env.spawner.sleep(SILENCE_MAX + Duration::from_millis(700)).await;
    assert!(nodes[0].wire.is_connected(NodeId(2), Class::Snapshot));
    until("a round trip", || nodes[0].wire.statuses()[1].round_trip.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_snapshot_does_not_look_dead() {
    let seats = (1..=5).map(|id| {
        let mut seat = Seat::new(id);
        // The least there is, and four that share it: a piece each second to each, and less patience than that.
        seat.options.snapshot_bytes_per_second = 1;
        seat.options.silence_max = Duration::from_millis(900);
        seat
    });
    let nodes = start_all(seats.collect()).await;
    let message = Bytes::from(vec![1; 512 << 10]);
    for node in &nodes[1..] {
        assert!(nodes[0].wire.send(node.node_id, Class::Snapshot, message.clone()));
    }
    for node in &nodes[1..] {
        assert_eq!(node.inbox.wait(NodeId(1), Class::Snapshot, 1).await[0], message);
    }
    let counts = nodes[0].wire.counts(Class::Snapshot);
    assert_eq!((counts.connections, counts.messages_dropped), (4, 0));
}
