use super::*;
use crate::{RefusalKind, RpcError, handshake, message::PURPOSE_MESSAGES};

/// Two nodes that should not talk: both must say why, and no message may pass.
async fn refused(first: Seat, second: Seat, reasons: &[&str]) {
    let second_id = second.node_id;
    let nodes = start_all(vec![first, second]).await;
    nodes[0].wire.send(second_id, Class::Raft, Bytes::from_static(b"secret"));
    for reason in reasons {
        for node in &nodes {
            node.must_complain(reason).await;
        }
    }
    assert!(nodes.iter().all(|node| node.inbox.got.lock().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_refused() {
    let mut second = Seat::new(2);
    second.cluster_id = 0xC2;
    let reasons = ["it belongs to cluster 000000000000000000000000000000c1, and node 2 to cluster \
         000000000000000000000000000000c2"];
    refused(Seat::new(1), second, &reasons).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_does_not_start_beside_another_cluster() {
    let ids = |node: u64| {
        format!("it belongs to cluster {:032x}, and node {node} to cluster {:032x}", 0xC2_u128, CLUSTER)
    };
    let first = Seat::new(1).start(&[]).await;
    // The same id, as that of a store that was once alone; and another; behind an address where nobody is.
    for node_id in [1, 2] {
        let mut second = Seat::new(node_id);
        second.cluster_id = 0xC2;
        second.seeds = vec![second.address(), "127.0.0.1:1".to_owned(), first.address.clone()];
        let Err(error) = in_time("the end", second.try_start(&[])).await else { panic!("it started") };
        assert!(matches!(error, RpcError::OtherCluster { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&first.address) && error.contains(&ids(1)), "{error}");
        first.must_complain(&ids(1)).await;
    }
    assert_eq!(first.wire.statuses().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_starts_when_its_seeds_say_nothing() {
    // The kernel takes the connection, and nobody answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut seat = Seat::new(1);
    seat.seeds = vec![silent.local_addr().unwrap().to_string(), "127.0.0.1:1".to_owned()];
    let node = in_time("the start", seat.start(&[])).await;
    node.must_complain("cannot reach 127.0.0.1:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_refused() {
    let mut second = Seat::new(2);
    second.options.protocol = (2, 3);
    refused(Seat::new(1), second, &["speaks versions 1 to 1 of the protocol, and node 2 versions 2 to 3"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clock_offset_is_refused() {
    let mut second = Seat::new(2);
    second.offset_max = Duration::from_millis(250);
    refused(Seat::new(1), second, &["its maximum clock offset is 500ms, and that of node 2 is 250ms"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_replicas_is_refused() {
    let mut second = Seat::new(2);
    second.replicas_wanted = 1;
    refused(Seat::new(1), second, &["it wants 3 replicas of everything, and node 2 wants 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_versions_need_only_meet() {
    let mut second = Seat::new(2);
    second.options.protocol = (1, 4);
    let nodes = start_all(vec![Seat::new(1), second]).await;
    for (from, to) in [(0, 1), (1, 0)] {
        assert!(nodes[from].wire.send(nodes[to].node_id, Class::Raft, Bytes::new()));
        nodes[to].inbox.wait(nodes[from].node_id, Class::Raft, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_at_the_address_of_another_is_not_mistaken_for_it() {
    let second = Seat::new(2).start(&[]).await;
    let first = Seat::new(1).start(&[(NodeId(3), second.address.clone())]).await;
    assert!(first.wire.send(NodeId(3), Class::Batch, Bytes::from_static(b"for three")));
    for node in [&first, &second] {
        node.must_complain("it looks for node 3 at the address of node 2").await;
    }
    assert!(second.inbox.got.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_one_id_notice() {
    let first = Seat::new(1).start(&[]).await;
    let mut twin = Seat::new(1);
    twin.seeds = vec![first.address.clone()];
    let twin = twin.start(&[]).await;
    for node in [&first, &twin] {
        node.must_complain("node id 1 is taken").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_told_so() {
    let nodes = start_all((1..=3).map(Seat::new).collect()).await;
    nodes[0].wire.remove_node(NodeId(3));
    until("the news", || {
        let removed = |node: &Node| node.wire.statuses().iter().any(|status| status.removed);
        removed(&nodes[0]) && removed(&nodes[1])
    })
    .await;
    in_time("the removed node hears of it", nodes[2].wire.until_cast_out()).await;
    assert!(!nodes[0].wire.send(NodeId(3), Class::Raft, Bytes::new()));
    assert_eq!(basalt_kv_api::Directory::nodes(&nodes[1].wire).len(), 2);
    let identity = handshake::Identity {
        cluster_id: CLUSTER,
        node_id: NodeId(3),
        offset_max: OFFSET_MAX,
        replicas_wanted: 0,
        protocol: crate::PROTOCOL,
    };
    let hello = identity.hello("127.0.0.1:1", PURPOSE_MESSAGES);
    let (env, address) = (os_env(""), &nodes[0].address);
    let opened = handshake::open(&env, &Security::Insecure, &quick(), address, &hello).await.ok().unwrap();
    let error = identity.check_answer(&opened, address, Some(NodeId(1))).unwrap_err();
    assert!(
        matches!(&error, RpcError::Refused { refusal, .. } if refusal.kind == RefusalKind::Removed),
        "{error}"
    );
}
